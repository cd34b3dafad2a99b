"""From path, query and body to a request message: what arrives, and what is refused and where."""

import asyncio
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from edge_library import library
from google.protobuf.json_format import MessageToDict

from sagagen.contract import read_contract
from sagagen.runtime.edge.paths.template import Template, parse_template
from sagagen.runtime.edge.problem import Problem, ProblemError
from sagagen.runtime.edge.transcoding.request import RequestReader, RouteError
from sagagen.runtime.messages.schema import Schema


@cache
def compiled(rpc: str, binding: int) -> tuple[RequestReader, Template]:
    route = library().routes(rpc)[binding]
    template = parse_template(route.template)
    return RequestReader(route, template, library().schema), template


def read(rpc: str, path: str, query: str = "", body: str | bytes = b"", binding: int = 0) -> dict[str, Any]:
    reader, template = compiled(rpc, binding)
    values = template.match(path)
    assert values is not None, f"{path} does not match {template.text}"
    data = body.encode() if isinstance(body, str) else body
    encoded = asyncio.run(reader.read(values, query.encode("latin-1"), data))
    message = (
        library().schema.message_type(library().routes(rpc)[binding].method.request_name).FromString(encoded)
    )
    return MessageToDict(message, preserving_proto_field_name=True)


def refusal(rpc: str, path: str, query: str = "", body: str | bytes = b"") -> Problem:
    with pytest.raises(ProblemError) as caught:
        read(rpc, path, query, body)
    assert caught.value.problem.status == 400
    return caught.value.problem


def refused_fields(rpc: str, path: str, query: str = "", body: str | bytes = b"") -> list[str]:
    return [violation.field for violation in refusal(rpc, path, query, body).violations]


LIST = "/v1/shelves/1/books"
CREATE = "/v1/shelves/1/books"
UPDATE = "/v1/shelves/1/books/2"


def test_a_variable_may_cover_several_segments() -> None:
    assert read("GetBook", "/v1/shelves/1/books/2%203") == {"name": "shelves/1/books/2 3"}


def test_an_additional_binding_has_its_own_template() -> None:
    assert read("GetBook", "/files/a/b%2Fc/d", binding=1) == {"name": "a/b%2Fc/d"}
    assert read("GetBook", "/files", binding=1) == {}


def test_a_variable_may_be_nested_while_the_body_fills_its_message() -> None:
    assert read("UpdateBook", UPDATE, body='{"title": "T"}') == {
        "book": {"name": "shelves/1/books/2", "title": "T"}
    }


def test_a_body_fills_one_field_and_the_query_the_rest() -> None:
    assert read("CreateBook", CREATE, "book_id=b1", '{"title": "T"}') == {
        "parent": "shelves/1",
        "book_id": "b1",
        "book": {"title": "T"},
    }


def test_a_whole_body_fills_everything_but_the_path() -> None:
    assert read("ArchiveBook", UPDATE + ":archive", body='{"reason": "old"}') == {
        "name": "shelves/1/books/2",
        "reason": "old",
    }


@pytest.mark.parametrize("body", ["", "  \n", "{}"])
def test_an_empty_body_is_an_empty_object(body: str) -> None:
    assert read("ArchiveBook", UPDATE + ":archive", body=body) == {"name": "shelves/1/books/2"}


def test_a_body_without_a_place_is_ignored_as_grpc_gateway_ignores_it() -> None:
    assert read("GetBook", UPDATE, body="{broken") == {"name": "shelves/1/books/2"}


def test_a_variable_wins_and_a_body_that_agrees_is_fine() -> None:
    body = '{"name": "shelves/1/books/2"}'
    assert read("ArchiveBook", UPDATE + ":archive", body=body) == {"name": "shelves/1/books/2"}


@pytest.mark.parametrize(
    ("rpc", "path", "query", "body", "field"),
    [
        ("ArchiveBook", UPDATE + ":archive", "", '{"name": "shelves/9/books/9"}', "name"),
        ("UpdateBook", UPDATE, "", '{"name": "other"}', "book.name"),
        ("CreateBook", CREATE, "parent=shelves/2", "{}", "parent"),
        ("ListBooks", LIST, "parent=shelves/2", "", "parent"),
    ],
)
def test_whatever_disagrees_with_a_variable_is_refused(
    rpc: str, path: str, query: str, body: str, field: str
) -> None:
    problem = refusal(rpc, path, query, body)
    assert [(v.field, v.description) for v in problem.violations] == [
        (field, "differs from the value in the path")
    ]


QUERIES: dict[str, dict[str, Any]] = {
    "page_size=7": {"page_size": 7},
    "pageSize=7": {"page_size": 7},
    "page_size=-7": {"page_size": -7},
    "page_size=%2B7": {"page_size": 7},
    "tags=a&tags=b": {"tags": ["a", "b"]},
    "tags=": {"tags": [""]},
    "tags=a%26b+c&": {"tags": ["a&b c"]},
    "tags=caf%C3%A9": {"tags": ["café"]},
    "genres=NOVEL&genres=2": {"genres": ["NOVEL", "ESSAY"]},
    "filter.genre=ESSAY": {"filter": {"genre": "ESSAY"}},
    "filter.genre=1": {"filter": {"genre": "NOVEL"}},
    "filter.min_pages=3&filter.isLent=true": {"filter": {"min_pages": 3, "is_lent": True}},
    "filter.is_lent=false": {"filter": {"is_lent": False}},
    "filter.is_lent=0": {"filter": {"is_lent": False}},
    "filter.inner.inner.min_pages=1": {"filter": {"inner": {"inner": {"min_pages": 1}}}},
    "filter.min_pages=0": {"filter": {}},
    "filter.publishedAfter=2026-01-02T03:04:05Z": {"filter": {"published_after": "2026-01-02T03:04:05Z"}},
    "max_age=1.5s": {"max_age": "1.500s"},
    "edition=3": {"edition": 3},
    "edition=0": {"edition": 0},
    "ascending=title": {"ascending": "title"},
    "weights[a]=1&weights[b.c]=2": {"weights": {"a": 1, "b.c": 2}},
    "cursor=aGk%3D": {"cursor": "aGk="},
    "cursor=aGk": {"cursor": "aGk="},
    "cursor=_-8": {"cursor": "/+8="},
    "max_price=1e3": {"max_price": 1000.0},
    "max_price=Infinity": {"max_price": "Infinity"},
    "with_lent=True": {"with_lent": True},
    "parent=shelves/1": {},
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_fills_fields(query: str) -> None:
    assert read("ListBooks", LIST, query) == {"parent": "shelves/1", **QUERIES[query]}


BAD_QUERIES = {
    "unknown=1": "unknown",
    "unknown": "unknown",
    "filter.unknown=1": "filter.unknown",
    "tags.x=1": "tags.x",
    "page_size.x=1": "page_size.x",
    ".=1": ".",
    "filter=1": "filter",
    "filter.inner={}": "filter.inner",
    "extras={}": "extras",
    "weights=1": "weights",
    "weights[a]=1&weights[a]=2": "weights[a]",
    "weights[a]=x": "weights[a]",
    "tags[0]=a": "tags[0]",
    "page_size=7&page_size=7": "page_size",
    "page_size=7&pageSize=8": "page_size",
    "page_size=": "page_size",
    "page_size=1.5": "page_size",
    "page_size=0x10": "page_size",
    "page_size=1_0": "page_size",
    "page_size=3000000000": "page_size",
    "page_size=" + "9" * 5000: "page_size",
    "page_size=%D9%A3": "page_size",
    "genres=POEM": "genres",
    "genres=77": "genres",
    "genres=novel": "genres",
    "with_lent=yes": "with_lent",
    "max_price=1e309": "max_price",
    "max_price=abc": "max_price",
    "filter.published_after=yesterday": "filter.published_after",
    "max_age=5": "max_age",
    "cursor=!": "cursor",
    "ascending=a&descending=b": "descending",
}


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_a_bad_query_is_refused_with_the_parameters_name(query: str) -> None:
    assert refused_fields("ListBooks", LIST, query) == [BAD_QUERIES[query]]


@pytest.mark.parametrize("query", ["tags=%ff", "tags=\xff"])
def test_a_query_that_is_no_utf_8_is_refused(query: str) -> None:
    assert refusal("ListBooks", LIST, query).reason == "INVALID_PARAMETERS"


def test_a_query_beside_a_whole_body_is_refused() -> None:
    assert refused_fields("ArchiveBook", UPDATE + ":archive", "reason=x", "{}") == ["reason"]


def test_a_query_cannot_reach_into_the_body() -> None:
    assert refused_fields("CreateBook", CREATE, "book.title=x", "{}") == ["book.title"]


def test_thousands_of_parameters_are_refused() -> None:
    assert refusal("ListBooks", LIST, "tags=a&" * 1001).reason == "INVALID_PARAMETERS"


def test_rules_of_the_contract_are_checked_after_transcoding() -> None:
    problem = refusal("ListBooks", LIST, "page_size=101&filter.min_pages=-1")
    assert problem.reason == "VALIDATION_FAILED"
    assert {violation.field: violation.rule for violation in problem.violations} == {
        "page_size": "int32.lte",
        "filter.min_pages": "int32.gte",
    }


@pytest.mark.parametrize(
    ("template", "body", "message"),
    [
        ("/v1/{nothing}", "", "has no field nothing"),
        ("/v1/{filter}", "", "no single value"),
        ("/v1/{tags}", "", "no single value"),
        ("/v1/{weights}", "", "no single value"),
        ("/v1/{filter.nothing}", "", "has no field filter.nothing"),
        ("/v1/x", "nothing", "has no field nothing"),
    ],
)
def test_a_route_that_does_not_fit_its_messages_is_an_error_at_start(
    template: str, body: str, message: str
) -> None:
    broken = replace(library().routes("ListBooks")[0], template=template, body=body)
    with pytest.raises(RouteError, match=message):
        RequestReader(broken, parse_template(template), library().schema)


# JSON in the body

GOOD_BOOKS: dict[str, dict[str, Any]] = {
    '{"title": null}': {},
    '{"isLent": true}': {"is_lent": True},
    '{"is_lent": true}': {"is_lent": True},
    '{"pages": "12", "copies": 9223372036854775807}': {"pages": 12, "copies": "9223372036854775807"},
    '{"pages": 12.0, "copies": "1e3"}': {"pages": 12, "copies": "1000"},
    '{"serial": 18446744073709551615}': {"serial": "18446744073709551615"},
    '{"genre": 77}': {"genre": 77},
    '{"genre": "ESSAY"}': {"genre": "ESSAY"},
    '{"price": "-1.5e3", "weight": "NaN"}': {"price": -1500.0, "weight": "NaN"},
    '{"price": 5}': {"price": 5.0},
    '{"cover": "_-8="}': {"cover": "/+8="},
    '{"tags": []}': {},
    '{"stockByBranch": {"a": 1}, "flags": {"-7": true}}': {
        "stock_by_branch": {"a": 1},
        "flags": {"-7": True},
    },
    '{"publish_time": "2026-01-02T03:04:05.5+01:00"}': {"publish_time": "2026-01-02T02:04:05.500Z"},
    '{"loan_period": "3s"}': {"loan_period": "3s"},
    '{"extras": {"a": [1, "x", null, {"b": true}]}}': {"extras": {"a": [1.0, "x", None, {"b": True}]}},
    '{"note": null}': {"note": None},
    '{"note": [1]}': {"note": [1.0]},
    '{"edition": 0}': {"edition": 0},
    '{"publisher": "P", "donor": null}': {"publisher": "P"},
    '{"sequels": [{"title": "II"}, {}]}': {"sequels": [{"title": "II"}, {}]},
    '{"title": "\\ud83d\\ude00"}': {"title": "\N{GRINNING FACE}"},
}


@pytest.mark.parametrize("body", GOOD_BOOKS)
def test_protojson_is_read(body: str) -> None:
    assert read("CreateBook", CREATE, body=body)["book"] == GOOD_BOOKS[body]


BAD_BOOKS: dict[str, str] = {
    "[]": "book",
    '""': "book",
    "false": "book",
    "0": "book",
    '{"colour": 1}': "book.colour",
    '{"no name": 1}': 'book."no name"',
    '{"title": 5}': "book.title",
    '{"title": "\\ud800"}': "book.title",
    '{"title": {}}': "book.title",
    '{"title": "a", "title": "b"}': "book.title",
    '{"sequels": [{}, {"title": "a", "title": "b"}]}': "book.sequels[1].title",
    '{"is_lent": true, "isLent": true}': "book.is_lent",
    '{"is_lent": "true"}': "book.is_lent",
    '{"is_lent": 1}': "book.is_lent",
    '{"pages": -1}': "book.pages",
    '{"pages": 1.5}': "book.pages",
    '{"pages": true}': "book.pages",
    '{"pages": 4294967296}': "book.pages",
    '{"pages": "1_0"}': "book.pages",
    '{"pages": " 1"}': "book.pages",
    '{"pages": "01"}': "book.pages",
    '{"pages": "\u0663"}': "book.pages",
    '{"pages": 1e400}': "book.pages",
    '{"pages": "%s"}' % ("9" * 5000): "book.pages",
    '{"copies": 9223372036854775808}': "book.copies",
    '{"copies": "-9223372036854775809"}': "book.copies",
    '{"serial": -1}': "book.serial",
    '{"price": NaN}': "book.price",
    '{"price": Infinity}': "book.price",
    '{"price": 1e309}': "book.price",
    '{"price": %s}' % ("9" * 400): "book.price",
    '{"price": true}': "book.price",
    '{"price": "inf"}': "book.price",
    '{"price": "1_0"}': "book.price",
    '{"weight": 1e39}': "book.weight",
    '{"weight": "-1e39"}': "book.weight",
    '{"genre": "POEM"}': "book.genre",
    '{"genre": 1.5}': "book.genre",
    '{"genre": true}': "book.genre",
    '{"genre": "1"}': "book.genre",
    '{"genre": 2147483648}': "book.genre",
    '{"genre": []}': "book.genre",
    '{"cover": "!!"}': "book.cover",
    '{"cover": "a"}': "book.cover",
    '{"cover": [1]}': "book.cover",
    '{"tags": "a"}': "book.tags",
    '{"tags": ["a", null]}': "book.tags[1]",
    '{"tags": ["a", 1]}': "book.tags[1]",
    '{"sequels": [null]}': "book.sequels[0]",
    '{"sequels": [{"sequels": [{"pages": "x"}]}]}': "book.sequels[0].sequels[0].pages",
    '{"stock_by_branch": []}': "book.stock_by_branch",
    '{"stock_by_branch": {"a": "x"}}': 'book.stock_by_branch["a"]',
    '{"stock_by_branch": {"a": null}}': 'book.stock_by_branch["a"]',
    '{"stock_by_branch": {"a": 1, "a": 2}}': "book.stock_by_branch.a",
    '{"flags": {"x": true}}': 'book.flags["x"]',
    '{"publish_time": "yesterday"}': "book.publish_time",
    '{"publish_time": 5}': "book.publish_time",
    '{"publish_time": "9999999-01-01T00:00:00Z"}': "book.publish_time",
    '{"loan_period": "3"}': "book.loan_period",
    '{"extras": []}': "book.extras",
    '{"extras": {"a": NaN}}': "book.extras.a",
    '{"extras": {"a": [{"b": 1, "b": 2}]}}': "book.extras.a[0].b",
    '{"edition": "x"}': "book.edition",
    '{"edition": {}}': "book.edition",
    '{"publisher": "P", "donor": "D"}': "book.donor",
}


@pytest.mark.parametrize("body", BAD_BOOKS)
def test_what_is_no_protojson_is_refused_with_its_path(body: str) -> None:
    problem = refusal("CreateBook", CREATE, body=body)
    assert [v.field for v in problem.violations] == [BAD_BOOKS[body]], problem.detail
    assert problem.reason == "INVALID_BODY"


@pytest.mark.parametrize(
    "body",
    [
        "{",
        '{"title": }',
        "{'title': 1}",
        '{"title": "a"} x',
        "\ufeff{}",
        b"\xff\xfe",
        '{"title": "\x01"}',
        "[" * 100_000,
        '{"extras":' * 50_000,
        '{"copies": %s}' % ("9" * 5000),
        '{"sequels":[' * 150 + "]}" * 150,
    ],
)
def test_what_is_no_json_is_refused(body: str | bytes) -> None:
    assert refusal("CreateBook", CREATE, body=body).reason == "INVALID_BODY"


def test_all_mistakes_of_a_body_are_reported_at_once_but_not_thousands() -> None:
    body = json.dumps({"title": 1, "pages": -1, "tags": [None] * 500})
    problem = refusal("CreateBook", CREATE, body=body)
    fields = [violation["field"] for violation in json.loads(problem.body())["violations"]]
    assert fields[:3] == ["book.title", "book.pages", "book.tags[0]"]
    assert len(fields) == 20


def test_repeated_keys_do_not_cost_quadratic_time() -> None:
    members = ", ".join(f'"k{number}": 0' for number in range(100_000))
    assert refused_fields("CreateBook", CREATE, body=f'{{{members}, "k99999": 0}}') == ["book.k99999"]


# -- AIP-134: masks of updates -------------------------------------------------------------------------------------


@cache
def masks() -> Schema:
    mesh, findings = read_contract(Path(__file__).parents[1] / "golden" / "http-field-masks")
    assert mesh, findings
    return Schema(mesh.descriptors)


def mask(body: str, query: str = "", verb: str = "PATCH", body_field: str = "sale") -> str:
    """Of the request that the body and the query of an update become."""
    template = parse_template("/sales/{name}")
    route = library().routes("UpdateBook")[0]
    method = replace(route.method, request_name="case.UpdateRequest")
    route = replace(route, verb=verb, template=template.text, body=body_field, method=method)
    reader = RequestReader(route, template, masks())
    encoded = asyncio.run(reader.read({"name": "7"}, query.encode(), body.encode()))
    request: Any = masks().message_type("case.UpdateRequest").FromString(encoded)
    return ",".join(request.update_mask.paths)


@pytest.mark.parametrize(
    ("body", "query", "told"),
    [
        ('{"first_name": "Ann"}', "", "first_name"),
        ('{"firstName": "", "last_name": null}', "", "first_name,last_name"),
        ("{}", "", ""),
        ("", "", ""),
        ('{"first_name": "Ann"}', "update_mask=last_name", "last_name"),
        ('{"first_name": "Ann"}', "updateMask=lastName,first_name", "last_name,first_name"),
        ('{"first_name": "Ann"}', "update_mask=", ""),
    ],
)
def test_a_mask_that_was_not_sent_names_what_the_body_has(body: str, query: str, told: str) -> None:
    assert mask(body, query) == told


def test_only_a_patch_of_one_field_is_masked() -> None:
    assert mask('{"first_name": "Ann"}', verb="PUT") == ""
    assert mask('{"sale": {"first_name": "Ann"}}', body_field="*") == ""


@pytest.mark.parametrize("text", ["a b", "a,,b", "a,", "1a", "a..b"])
def test_what_is_no_mask_in_a_query_is_refused(text: str) -> None:
    with pytest.raises(ProblemError) as caught:
        mask("{}", f"update_mask={text.replace(' ', '%20')}")
    assert [violation.field for violation in caught.value.problem.violations] == ["update_mask"]
