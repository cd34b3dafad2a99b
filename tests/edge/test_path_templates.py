"""Path templates: what is one, what it matches, and where it goes wrong."""

import pytest

from sagagen.runtime.edge.paths.template import PathError, TemplateError, parse_template

LEGAL = {
    "/": ((), ()),
    "/orders": (("orders",), ()),
    "/orders/{order_id}": (("orders", "*"), ("order_id",)),
    "/v1/{book.name=shelves/*/books/*}": (("v1", "shelves", "*", "books", "*"), ("book.name",)),
    "/{a}/{b}": (("*", "*"), ("a", "b")),
    "/files/{path=**}": (("files", "**"), ("path",)),
    "/*/x/**": (("*", "x", "**"), ()),
    "/v1/{name}:archive": (("v1", "*", ":archive"), ("name",)),
    "/v1/{name=a/*}:go": (("v1", "a", "*", ":go"), ("name",)),
    "/a:b:c": (("a:b", ":c"), ()),
    "/a:b/c": (("a:b", "c"), ()),
    "/caf%C3%A9": (("café",), ()),
    "/a.b-c_d~e": (("a.b-c_d~e",), ()),
}


@pytest.mark.parametrize("text", LEGAL)
def test_a_template_has_a_shape_and_variables(text: str) -> None:
    template = parse_template(text)
    assert (template.shape, template.variables) == LEGAL[text]


def test_names_of_variables_do_not_change_the_shape() -> None:
    assert parse_template("/a/{x}").shape == parse_template("/a/{y.z=*}").shape
    assert parse_template("/a/{x}").shape != parse_template("/a/{x=**}").shape
    assert parse_template("/a/{x}").shape != parse_template("/a/{x}:v").shape


ILLEGAL = {
    "": (0, "starts with"),
    "orders": (0, "starts with"),
    "//a": (1, "missing"),
    "/a/": (3, "missing"),
    "/a//b": (3, "missing"),
    "/a b": (2, "' '"),
    "/a?b": (2, "'?'"),
    "/a#b": (2, "'#'"),
    "/a%zz": (2, "'%'"),
    "/a%ff": (1, "UTF-8"),
    "/a*": (2, "stands alone"),
    "/***": (1, "stands alone"),
    "/%2A": (1, "encoded '*'"),
    "/{": (2, "named after a field"),
    "/{}": (2, "named after a field"),
    "/{1a}": (2, "named after a field"),
    "/{a.}": (3, "unexpected '.'"),
    "/a/{x": (3, "not closed"),
    "/a/{x=b": (3, "not closed"),
    "/{x=}": (4, "missing"),
    "/{x=a/{y}}": (6, "another variable"),
    "/{x}y": (4, "unexpected 'y'"),
    "/a}": (2, "unexpected '}'"),
    "/**/a": (1, "last segment"),
    "/{x=**}/{y}": (4, "last segment"),
    "/{x}/{x}": (6, "twice"),
    "/a:": (3, "verb"),
    "/a:b c": (3, "verb"),
}


@pytest.mark.parametrize("text", ILLEGAL)
def test_a_broken_template_is_reported_with_its_place(text: str) -> None:
    offset, message = ILLEGAL[text]
    with pytest.raises(TemplateError) as caught:
        parse_template(text)
    assert (caught.value.offset, message in caught.value.message) == (offset, True), caught.value.message


MATCHES: list[tuple[str, str, dict[str, str] | None]] = [
    ("/", "/", {}),
    ("/orders", "/orders", {}),
    ("/orders", "/%6Frders", {}),
    ("/orders", "/orders/", None),
    ("/orders", "/Orders", None),
    ("/orders", "orders", None),
    ("/orders/{id}", "/orders/7", {"id": "7"}),
    ("/orders/{id}", "/orders/", None),
    ("/orders/{id}", "/orders//", None),
    ("/orders/{id}", "/orders/7/8", None),
    ("/orders/{id}", "/orders/a%20b", {"id": "a b"}),
    ("/orders/{id}", "/orders/a+b", {"id": "a+b"}),
    ("/orders/{id}", "/orders/caf%C3%A9", {"id": "café"}),
    ("/orders/{id}", "/orders/a%2Fb", {"id": "a/b"}),
    ("/orders/{id}", "/orders/%2e%2e", {"id": ".."}),
    ("/orders/{id}", "/orders/a:b", {"id": "a:b"}),
    ("/orders/{id}", "/orders/*", {"id": "*"}),
    ("/v/{n=s/*/b/*}", "/v/s/1/b/2", {"n": "s/1/b/2"}),
    ("/v/{n=s/*/b/*}", "/v/s/a%2Fb/b/%20", {"n": "s/a%2Fb/b/ "}),
    ("/v/{n=s/*/b/*}", "/v/s/1/c/2", None),
    ("/f/{p=**}", "/f/a/b/c", {"p": "a/b/c"}),
    ("/f/{p=**}", "/f", {"p": ""}),
    ("/f/{p=**}", "/f/", None),
    ("/f/{p=**}", "/f/a%2fb", {"p": "a%2fb"}),
    ("/v/{n}:go", "/v/7:go", {"n": "7"}),
    ("/v/{n}:go", "/v/7:stop", None),
    ("/v/{n}:go", "/v/:go", None),
    ("/v/{n}:go", "/v/a:b:go", {"n": "a:b"}),
    ("/v/{n=**}:go", "/v/a/b:go", {"n": "a/b"}),
]


@pytest.mark.parametrize(("text", "path", "values"), MATCHES)
def test_a_path_matches_or_not(text: str, path: str, values: dict[str, str] | None) -> None:
    assert parse_template(text).match(path) == values


@pytest.mark.parametrize("path", ["/orders/%", "/orders/%4", "/orders/%zz", "/orders/%ff", "/orders/%c3"])
def test_a_path_that_cannot_be_decoded_is_an_error(path: str) -> None:
    with pytest.raises(PathError):
        parse_template("/orders/{id}").match(path)
