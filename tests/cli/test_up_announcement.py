"""What `sagagen up` says of each route."""

import pytest
from small_mesh import method

from sagagen.cli.up_announcement import purpose
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
