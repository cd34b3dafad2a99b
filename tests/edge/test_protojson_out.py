"""How answers are written."""

import json
from typing import Any

from edge_library import library

from sagagen.runtime.edge.json.protojson import JsonWriter


def test_fields_without_presence_are_always_there_in_proto_names() -> None:
    response = library().schema.message_type("library.v1.GetBookResponse")
    written = json.loads(JsonWriter(response).write(response().SerializeToString()))
    assert written == {}
    filled: Any = response()
    filled.book.copies = 2**60
    book = json.loads(JsonWriter(response).write(filled.SerializeToString()))["book"]
    assert (book["copies"], book["is_lent"], book["genre"], book["tags"]) == (
        "1152921504606846976",
        False,
        "GENRE_UNSPECIFIED",
        [],
    )
    assert "subtitle" not in book
    assert "publish_time" not in book


def test_one_field_of_a_response_may_be_the_body() -> None:
    response = library().schema.message_type("library.v1.GetBookResponse")
    filled: Any = response()
    filled.book.title = "Ü"
    data = JsonWriter(response, "book").write(filled.SerializeToString())
    assert json.loads(data)["title"] == "Ü"
    assert "Ü".encode() in data


def test_an_unset_message_as_the_body_reads_as_its_default() -> None:
    response = library().schema.message_type("library.v1.GetBookResponse")
    assert json.loads(JsonWriter(response, "book").write(b""))["title"] == ""


def test_a_list_or_a_scalar_may_be_the_body() -> None:
    response = library().schema.message_type("library.v1.ListBooksResponse")
    assert JsonWriter(response, "books").write(b"") == b"[]"
    loan = library().schema.message_type("library.v1.LendBookResponse")
    assert JsonWriter(loan, "loan_id").write(loan(loan_id="7").SerializeToString()) == b'"7"'
