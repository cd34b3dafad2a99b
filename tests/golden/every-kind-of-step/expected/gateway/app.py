"""The HTTP edge of `trip`: who calls, and what is answered beside the contract's routes.

`sagagen generate` created this file once; from now on it is yours.
"""

from generated.mesh import MESH
from sagagen.runtime import Gateway, HttpRequest


async def caller(request: HttpRequest) -> str:
    """Who sends the request: sagas and idempotency keys belong to a caller. Check credentials here."""
    return "anonymous"


gateway = Gateway(MESH, caller=caller)
