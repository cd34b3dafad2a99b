"""The HTTP edge of `trip`: how callers are identified, and routes of your own.

`sagagen generate` created this file once; from now on it is yours.
"""

from generated.mesh import MESH
from sagagen.runtime import Gateway, HttpRequest


async def caller(request: HttpRequest) -> str:
    """The caller that sent the request; sagas and idempotency keys belong to it. Check credentials here."""
    return "anonymous"


gateway = Gateway(MESH, caller=caller)
