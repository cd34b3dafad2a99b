"""What emitted expressions are handed: each value once decoded, and an error where nothing is known."""

from datetime import UTC, datetime
from typing import Any

import pytest
from expression_lab import Lab

from sagagen.runtime.rpc.errors import ExpressionError
from sagagen.runtime.scope import AnswerScope, CompensationScope, EventScope, Failure, NoResponse, Scope

FAILURE = Failure("ABORTED", "TOO_LATE", "", "later")


def test_a_scope_of_today_needs_no_more_than_it_did(lab: Lab) -> None:
    everything = lab.python_class("Everything")
    scope = Scope("saga-1", everything, bytes(everything(text="a")), {})
    assert (scope.saga_id, scope.input.text, scope.caller) == ("saga-1", "a", "")
    assert scope.started_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert not scope.has("earlier")


def test_caller_and_start_are_as_logged(lab: Lab) -> None:
    everything = lab.python_class("Everything")
    scope = Scope("saga-1", everything, b"", {}, caller="ann", started_ms=1_700_000_000_123)
    assert scope.caller == "ann"
    assert scope.started_at == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
    message = everything(when=scope.started_at)
    assert everything.parse(bytes(message)).when == scope.started_at


def test_a_loops_responses_are_in_the_order_of_its_list(lab: Lab) -> None:
    item, everything = lab.python_class("Item"), lab.python_class("Everything")
    logged = {f"each[{name}]": bytes(item(name=name)) for name in ("b", "a", "c")}
    scope = Scope("saga-1", everything, b"", logged, loops={"each": ["c", "a", "b"]})
    assert [each.name for each in scope.responses("each", item)] == ["c", "a", "b"]
    assert scope.has("each")
    assert scope.response("each[a]", item) is scope.responses("each", item)[1], "decoded once"


def test_a_loop_is_there_when_all_its_items_are(lab: Lab) -> None:
    item, everything = lab.python_class("Item"), lab.python_class("Everything")
    logged = {"each[a]": b""}
    scope = Scope("saga-1", everything, b"", logged, loops={"each": ["a", "b"], "empty": []})
    assert not scope.has("each")
    with pytest.raises(NoResponse, match=r"each\[b\]"):
        scope.responses("each", item)
    logged["each[b]"] = b""
    assert scope.has("each"), "a scope sees what is added to the responses that it was made of"
    assert scope.has("empty")
    assert scope.responses("empty", item) == []
    assert not scope.has("skipped")
    with pytest.raises(NoResponse, match="skipped"):
        scope.responses("skipped", item)


def test_an_answer_reads_defaults_of_what_was_skipped(lab: Lab) -> None:
    item, everything = lab.python_class("Item"), lab.python_class("Everything")
    scope = AnswerScope(
        "saga-1", everything, b"", {"each[b]": bytes(item(name="b"))}, loops={"each": ["a", "b"]}
    )
    assert scope.response("gone", item) == item()
    assert [each.name for each in scope.responses("each", item)] == ["", "b"]
    assert scope.responses("gone", item) == []
    assert not scope.has("gone"), "has tells what the log says, whatever is read in place of it"


def test_views_of_items_share_what_is_decoded(lab: Lab) -> None:
    everything = lab.python_class("Everything")
    scope = CompensationScope("saga-1", everything, b"", {}, FAILURE, caller="ann")
    first, second = scope.of_item("a"), scope.of_item(7)
    assert (first.item(str), second.item(int)) == ("a", 7)
    assert first.input is second.input
    assert first.input is scope.input
    assert (first.failure, first.caller) == (FAILURE, "ann")
    with pytest.raises(AssertionError, match="loop"):
        scope.item(str)


def test_an_event_is_read_with_its_sender_and_its_saga(lab: Lab) -> None:
    item, everything = lab.python_class("Item"), lab.python_class("Everything")
    scope = EventScope(
        item,
        bytes(item(name="yes")),
        caller="chef",
        saga_id="saga-1",
        started_ms=1_000,
        input_type=everything,
        input=bytes(everything(text="order")),
    )
    assert (scope.event.name, scope.input.text) == ("yes", "order")
    assert (scope.caller, scope.saga_id, scope.started_at.timestamp()) == ("chef", "saga-1", 1.0)
    assert scope.event is scope.event
    assert scope.input is scope.input


def test_before_its_saga_is_known_an_event_has_no_input(lab: Lab) -> None:
    item = lab.python_class("Item")
    scope = EventScope[Any, Any](item, b"", caller="chef")
    with pytest.raises(AssertionError, match="before its input is known"):
        _ = scope.input


def test_a_response_that_is_not_there_is_no_mistake_of_an_expression() -> None:
    assert not issubclass(NoResponse, ExpressionError)
