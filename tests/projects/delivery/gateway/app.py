"""The HTTP edge of `delivery`: a caller is who the header says. It stands for a real login, behind which tests look."""

from generated.mesh import MESH
from sagagen.runtime import Gateway, HttpRequest


async def caller(request: HttpRequest) -> str:
    """A customer, a restaurant or a courier."""
    return request.headers.get("x-caller", "anonymous")


gateway = Gateway(MESH, caller=caller)
