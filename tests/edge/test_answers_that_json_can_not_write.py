"""Values that are none by their own proto files, and messages that have no JSON: where they are told, and to whom."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from edge_library import Served, library, served

from sagagen.runtime.edge.json.protojson import AnswerNotWritten, JsonWriter
from sagagen.runtime.messages.valid_values import invalid_value, may_be_invalid

pytestmark = pytest.mark.asyncio(loop_scope="module")
MAX_S = 315_576_000_000


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with served(tmp_path_factory.mktemp("unwritten")) as started:
        yield started


async def echoed(running: Served, name: str, **book: Any) -> httpx.Response:
    """The service answers with the book that it is sent, changed as its name says."""
    return await running.client.patch(f"/v1/shelves/1/books/{name}", json=book)


@pytest.mark.parametrize(
    "text", [f"{MAX_S}.999999999s", f"-{MAX_S}.999999999s", "-0.000000001s", "0.000000001s", "0s"]
)
async def test_the_longest_and_the_shortest_duration_come_back(running: Served, text: str) -> None:
    """DurationMaxValue and DurationMinValue of protobuf's conformance suite."""
    answer = await echoed(running, "any", loan_period=text)
    assert (answer.status_code, answer.json()["book"]["loan_period"]) == (200, text)


@pytest.mark.parametrize("text", ["-0.0", "-0", '"-0"'])
async def test_a_zero_below_zero_comes_back(running: Served, text: str) -> None:
    """DoubleFieldNegativeZero: it is another value than zero."""
    answer = await running.client.patch(
        "/v1/shelves/1/books/any",
        content=f'{{"price": {text}, "weight": {text}}}',
        headers={"content-type": "application/json"},
    )
    assert '"price":-0.0' in answer.text
    assert '"weight":-0.0' in answer.text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("forever", "UpdateBookResponse where book.loan_period is no google.protobuf.Duration"),
        ("nested", "UpdateBookResponse where book.sequels[0].loan_period is no google.protobuf.Duration"),
        ("unheard", "UpdateBookResponse where book.note is no google.protobuf.Value"),
    ],
)
async def test_a_handler_that_answers_what_is_no_value_has_failed(
    running: Served,
    name: str,
    told: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = await echoed(running, name)
    assert (answer.status_code, answer.json()["reason"]) == (500, "INTERNAL")
    # Wherever log lines go in this process: other tests may have set that.
    logged = "".join(capfd.readouterr()) + caplog.text
    assert told in " ".join(logged.split()).replace("\\n", " ")


async def test_what_has_no_json_is_a_problem_of_its_own(running: Served) -> None:
    """FieldMaskPathsDontRoundTrip: a mask on the wire may have paths that JSON has no spelling for."""
    answer = await echoed(running, "masked")
    assert (answer.status_code, answer.json()["reason"]) == (500, "ANSWER_NOT_WRITTEN")
    assert "the service has answered, but JSON can't express it" in answer.json()["detail"]


async def test_an_any_of_an_unknown_type_has_no_json() -> None:
    book_type: Any = library().schema.message_type("library.v1.Book")
    book = book_type(attached={"type_url": "type.googleapis.com/nobody.knows.It", "value": b"1"})
    with pytest.raises(AnswerNotWritten, match=r"nobody\.knows\.It"):
        JsonWriter(book_type).write(book.SerializeToString())


async def test_only_types_that_can_hold_such_a_value_are_looked_at() -> None:
    schema = library().schema
    assert may_be_invalid(schema.descriptor("library.v1.ListBooksResponse"))
    assert not may_be_invalid(schema.descriptor("library.v1.ReturnBookRequest"))
    assert not may_be_invalid(schema.descriptor("google.protobuf.Timestamp"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"loan_period": {"seconds": MAX_S, "nanos": 999_999_999}}, ""),
        ({"loan_period": {"seconds": MAX_S + 1}}, "loan_period is no"),
        ({"loan_period": {"seconds": 1, "nanos": -1}}, "loan_period is no"),
        ({"loan_period": {"nanos": 1_000_000_000}}, "loan_period is no"),
        ({"publish_time": {"seconds": -62_135_596_801}}, "publish_time is no"),
        ({"publish_time": {"nanos": -1}}, "publish_time is no"),
        ({"note": {"number_value": float("inf")}}, "note is no"),
        ({"extras": {"a": [1, {"b": float("nan")}]}}, "extras.fields['a'].list_value.values[1]"),
        ({"sequels": [{}, {"note": {"number_value": float("nan")}}]}, "sequels[1].note is no"),
        ({"extras": {"a": None}, "note": {"bool_value": False}}, ""),
    ],
)
async def test_the_first_value_that_is_none_is_named(fields: dict[str, Any], told: str) -> None:
    book_type: Any = library().schema.message_type("library.v1.Book")
    found = invalid_value(book_type(**fields))
    assert found.startswith(told) if told else found == ""
