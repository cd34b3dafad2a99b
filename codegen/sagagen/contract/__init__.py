"""The contract: protos through a buf image and saga.yaml -> one frozen, fully resolved, typed model, or diagnostics.

    load (all I/O) -> Sources -> resolve (pure) -> Mesh

`load` runs buf and reads files. `resolve` links the descriptors (protos), reads the YAML with its places (document) and
its shape (shape, reading), binds the names (services, calls, sagas), checks the rules (checks, routes) and compiles the
expressions. Each stage reports what it finds and goes on with the rest, so that one run shows every mistake.
"""

from sagagen.contract.buf import BufMissing
from sagagen.contract.loading import Sources, load
from sagagen.contract.model import Mesh
from sagagen.contract.resolving import read_contract, resolve
from sagagen.contract.shape import saga_schema

__all__ = ["BufMissing", "Mesh", "Sources", "load", "read_contract", "resolve", "saga_schema"]
