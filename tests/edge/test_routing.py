"""Which of several routes a path takes."""

import pytest

from sagagen.runtime.edge.paths.router import Found, Missing, Router
from sagagen.runtime.edge.paths.template import parse_template

ROUTES = [
    ("GET", "/books/{id}"),
    ("GET", "/books/new"),
    ("POST", "/books"),
    ("GET", "/books/{id}/pages/{page}"),
    ("GET", "/books/new/pages/first"),
    ("GET", "/{rest=**}"),
    ("GET", "/files/{path=**}"),
    ("POST", "/books/{id}:archive"),
    ("POST", "/books/{id}"),
    ("GET", "/"),
    ("DELETE", "/books/{id}"),
]


@pytest.fixture(scope="module")
def router() -> Router[str]:
    return Router((method, parse_template(text), text) for method, text in ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "route", "values"),
    [
        ("GET", "/", "/", {}),
        ("GET", "/books/7", "/books/{id}", {"id": "7"}),
        ("GET", "/books/new", "/books/new", {}),
        ("GET", "/books/new/pages/first", "/books/new/pages/first", {}),
        ("GET", "/books/new/pages/2", "/books/{id}/pages/{page}", {"id": "new", "page": "2"}),
        ("GET", "/books/new/index", "/{rest=**}", {"rest": "books/new/index"}),
        ("GET", "/files", "/files/{path=**}", {"path": ""}),
        ("GET", "/files/a/b", "/files/{path=**}", {"path": "a/b"}),
        ("POST", "/books/7:archive", "/books/{id}:archive", {"id": "7"}),
        ("POST", "/books/7:burn", "/books/{id}", {"id": "7:burn"}),
        ("HEAD", "/books/7", "/books/{id}", {"id": "7"}),
    ],
)
def test_the_most_specific_route_wins(
    router: Router[str], method: str, path: str, route: str, values: dict[str, str]
) -> None:
    assert router.find(method, path) == Found(route, route, values)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/books/7", ("DELETE", "GET", "HEAD", "POST")),
        ("DELETE", "/books", ("GET", "HEAD", "POST")),
        ("PUT", "/books/7:archive", ("DELETE", "GET", "HEAD", "POST")),
        ("BREW", "/", ("GET", "HEAD")),
        ("GET", "/books//", ()),
    ],
)
def test_a_miss_names_the_methods_that_would_do(
    router: Router[str], method: str, path: str, allowed: tuple[str, ...]
) -> None:
    assert router.find(method, path) == Missing(allowed)


def test_two_routes_of_one_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="same paths"):
        Router([("GET", parse_template("/a/{x}"), 1), ("GET", parse_template("/a/{y}"), 2)])
