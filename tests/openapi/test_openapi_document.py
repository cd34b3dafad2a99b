"""The emitted document: valid OpenAPI 3.1, and true of the routes that it describes."""

import json
from typing import Any

import pytest
from openapi_lab import REPOSITORY, ROOTS, document_of
from openapi_spec_validator import OpenAPIV31SpecValidator

from sagagen.emit.openapi import first_sentence


def operation(document: dict[str, Any], verb: str, path: str) -> dict[str, Any]:
    return document["paths"][path][verb]


def key_of(document: dict[str, Any], verb: str, path: str) -> list[bool]:
    """Whether the idempotency key is required; nothing where there is none."""
    prefix = "#/components/parameters/"
    names = [
        each["$ref"].removeprefix(prefix)
        for each in operation(document, verb, path)["parameters"]
        if "$ref" in each
    ]
    return [document["components"]["parameters"][name]["required"] for name in names]


@pytest.mark.parametrize("name", ROOTS)
def test_it_is_valid(name: str) -> None:
    document = json.loads(json.dumps(document_of(name)))
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@pytest.mark.parametrize("name", ROOTS)
def test_every_component_is_used_and_every_reference_has_one(name: str) -> None:
    document = document_of(name)
    text = json.dumps(document)
    for kind, components in document["components"].items():
        if kind != "parameters":
            unused = [each for each in components if f'"#/components/{kind}/{each}"' not in text]
            assert unused in ([], ["Retry-After"])
    assert "-Input" not in json.dumps(document_of("shop"))


def test_the_shop_s_own_is_the_one_in_the_repository() -> None:
    assert json.loads((REPOSITORY / "generated" / "openapi.json").read_text()) == document_of("shop")


def test_a_saga_needs_its_key_says_what_it_answers_and_where_it_is_watched() -> None:
    document = document_of("shop")
    place = operation(document, "post", "/orders")
    assert place["operationId"] == "CheckoutService_PlaceOrder"
    assert place["description"].startswith("Places an order")
    summary = "Places an order: it ends CONFIRMED, or CANCELLED with nothing reserved and nothing charged"
    assert place["summary"] == summary
    assert key_of(document, "post", "/orders") == [True]
    assert place["requestBody"]["required"] is True
    answers = place["responses"]
    assert set(answers) == {"201", "202", "400", "408", "409", "413", "415", "422", "502", "503", "default"}
    assert answers["201"]["content"]["application/json"]["schema"]["$ref"].endswith("/shop.order.v1.Order")
    assert "Location" in answers["202"]["headers"]
    assert answers["202"]["links"]["saga"]["operationId"] == "getSaga"
    assert "Retry-After" in answers["409"]["headers"]
    assert "Retry-After" in answers["503"]["headers"]
    assert "Retry-After" not in answers["502"]["headers"]
    assert set(answers["422"]["content"]) == {"application/problem+json"}


def test_keys_are_as_the_contract_wants_them() -> None:
    document = document_of("library")
    assert key_of(document, "post", "/loans") == [True]
    assert key_of(document, "post", "/loans/{loan_id}:renew") == [False]
    assert key_of(document, "post", "/v1/shelves/{parent_1}/books") == [False]
    assert key_of(document, "get", "/v1/shelves/{parent_1}/books") == []


def test_a_final_answer_is_never_202() -> None:
    answers = operation(document_of("library"), "delete", "/loans/{loan_id}")["responses"]
    assert {"200", "202"} <= set(answers)


def test_wildcards_are_parameters_of_their_own_and_one_shape_is_one_path() -> None:
    book = document_of("library")["paths"]["/v1/shelves/{name_1}/books/{name_2}"]
    assert set(book) == {"get", "patch"}
    for each in book.values():
        assert [p["name"] for p in each["parameters"] if p.get("in") == "path"] == ["name_1", "name_2"]


def test_the_query_has_what_neither_path_nor_body_has() -> None:
    document = document_of("library")
    listing = operation(document, "get", "/v1/shelves/{parent_1}/books")["parameters"]
    query = {each["name"]: each["schema"] for each in listing if each.get("in") == "query"}
    assert query["page_size"]["maximum"] == 100
    assert query["filter.min_pages"]["minimum"] == 0
    assert query["tags"]["type"] == "array"
    assert not {"parent", "extras", "weights", "filter"} & set(query)
    assert not [name for name in query if name.startswith("filter.inner.inner")]
    creating = operation(document, "post", "/v1/shelves/{parent_1}/books")["parameters"]
    assert [each["name"] for each in creating if each.get("in") == "query"] == ["book_id"]


def test_a_message_that_is_sent_and_answered_has_two_forms() -> None:
    schemas = document_of("library")["components"]["schemas"]
    sent, answered = schemas["library.v1.Book-Input"], schemas["library.v1.Book"]
    assert "required" not in sent
    assert sent["additionalProperties"] is False
    assert sent["properties"]["title"]["maxLength"] == 200
    assert "maxLength" not in answered["properties"]["title"]
    assert {"copies", "tags", "is_lent", "genre"} <= set(answered["required"])
    assert not {"subtitle", "publish_time", "publisher", "edition"} & set(answered["required"])
    assert sent["properties"]["sequels"]["items"]["$ref"].endswith("Book-Input")
    assert answered["properties"]["sequels"]["items"]["$ref"].endswith("Book")


@pytest.mark.parametrize(
    ("told", "summary"),
    [
        ("Places an order.", "Places an order"),
        ("Places an order. It may fail.", "Places an order"),
        ("Moves money, e.g. Dollars or 1.5 pounds.\n\nNot cents.", "Moves money, e.g. Dollars or 1.5 pounds"),
        ("Reads\n  one order\n\nof many", "Reads one order"),
        ("Starts the saga `place_order`.", "Starts the saga place_order"),
        ("Is it there? Says so.", "Is it there?"),
        ("", ""),
    ],
)
def test_an_operation_s_summary_is_the_first_sentence_of_its_comment(told: str, summary: str) -> None:
    assert first_sentence(told) == summary
