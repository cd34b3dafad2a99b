"""The HTTP edge of the mesh: how callers are identified, and routes of your own."""

from generated.mesh import MESH
from sagagen.runtime import Gateway, HttpRequest

LOGIN = "x-forwarded-user"
"""The header in which a login proxy (oauth2-proxy, for example) says who its user is.

Whoever reaches this gateway without that proxy can be anybody: the proxy has to be the only way here, and to take the
header off what clients send.
"""


async def caller(request: HttpRequest) -> str:
    """A customer, a restaurant or a courier; sagas and idempotency keys belong to them."""
    return request.headers.get(LOGIN, "anonymous")


gateway = Gateway(MESH, caller=caller)
