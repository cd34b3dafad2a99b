"""The question which database a process has: whoever calls several processes of one service asks each of them.

    rpc        /sagagen.v1.ReplicaService/Database, which every service has besides those of its contract
    request    empty
    response   UTF-8: what names the database among all, the same from each process that shares it; empty where it is
               a file of this process alone

A service of before, which says UNIMPLEMENTED, has a file of its own.
"""

DATABASE_PATH = "/sagagen.v1.ReplicaService/Database"
"""Not in a service's reflection, nor named by its health service: it belongs to sagagen, not to the contract."""
