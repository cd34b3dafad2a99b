"""What `sagagen up` says of each route, and to whom the requests that it prints belong."""

import pytest
from small_mesh import method
from starlette.exceptions import HTTPException

from generated.mesh import MESH
from sagagen.cli.up_announcement import purpose
from sagagen.cli.up_callers import REFUSED, Callers, found
from sagagen.cli.up_samples import Samples
from sagagen.runtime import Gateway, HttpRequest
from sagagen.runtime.model.definition import Route


@pytest.mark.parametrize(
    ("event", "starts_saga", "says"),
    [
        ("", True, "starts saga place"),
        ("", False, "answered by place"),
        ("answered", False, "brings answered to saga place"),
        ("cancel", False, "cancels saga place"),
    ],
)
def test_a_route_is_told_by_what_it_does(event: str, starts_saga: bool, says: str) -> None:
    route = Route("POST", "/orders", method("Place"), "place", starts_saga=starts_saga, event=event)
    assert purpose(route) == says


async def by_header(request: HttpRequest) -> str:
    if "authorization" in request.headers:
        raise HTTPException(401)
    return request.headers.get("X-User", "anybody")


def by_token(request: HttpRequest) -> str:
    if request.headers["authorization"] != "secret":
        raise HTTPException(401)
    return "ann"


async def test_the_header_that_names_the_caller_is_found() -> None:
    assert await found(Gateway(MESH)) == Callers("anonymous", "")
    assert await found(Gateway(MESH, caller=by_header)) == Callers("anybody", "x-user")
    assert await found(Gateway(MESH, caller=by_token)) == Callers(None, "")


def test_no_request_is_shown_that_would_be_refused() -> None:
    def lines(callers: Callers) -> list[str]:
        return list(Samples(MESH, callers, "http://localhost:8080", 1, "word").lines())

    assert lines(Callers(None, "")) == [REFUSED]
    place, look = lines(Callers(None, "x-user"))
    assert "-H 'X-User: somebody'" in place
    assert "-H 'X-User: somebody'" in look
    assert "X-User" not in lines(Callers("anybody", "x-user"))[0]
