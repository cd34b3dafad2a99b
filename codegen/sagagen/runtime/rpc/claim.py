"""The claim: how a saga makes itself known at one service before it has an effect anywhere.

Two gateways that accept one key make two runs of one saga, and whichever has the first write at a service owns the saga
there. Where branches, conditions or events decide which write is first, two runs could each be first at another
service. So a saga that does not begin with one write that is always made claims its id before anything else: by a call
without handler, which the barrier of one fixed service records as a step of its own.

    rpc        /sagagen.v1.ClaimService/Claim, which every service has besides those of its contract
    step       ~claim, as an action of a compensatable step; nothing compensates it
    request    bytes that are the same for equal inputs; a run with others is told that its payload differs
    response   empty

What a call of a saga is told holds for it too: its repeat is answered again, another run is OTHER_RUN, and the row is
forgotten with the saga's others. A service of before says UNIMPLEMENTED: it has to be deployed first.
"""

from sagagen.runtime.rpc.metadata import CLAIM as CLAIM

CLAIM_PATH = "/sagagen.v1.ClaimService/Claim"
"""Not in a service's reflection, nor named by its health service: it belongs to sagagen, not to the contract."""
