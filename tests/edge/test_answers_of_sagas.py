"""What HTTP makes of results: pure, and the same bytes for the same result."""

import json
from dataclasses import replace

import pytest
from edge_library import library

from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.problem import HTTP_STATUS, Problem, ProblemError, from_rpc_error
from sagagen.runtime.edge.responder import HttpResponder
from sagagen.runtime.edge.transcoding.request import RouteError
from sagagen.runtime.rpc.errors import Code, FieldViolation, RpcError
from sagagen.runtime.saga.result import (
    SagaResult,
    StoredAnswer,
    Succeeded,
    Superseded,
    Unsuccessful,
    of_columns,
    to_columns,
)
from sagagen.runtime.scope import Failure

SAGA_ID, TRACE_ID = "00000000-0000-5000-8000-000000000001", "0af7651916cd43dd8448eb211c80319c"


def answer_of(result: SagaResult) -> Answer:
    """To a request that started the first saga."""
    mesh = library().mesh
    trigger = mesh.sagas[0].trigger.path
    return HttpResponder(mesh, library().schema).answer(trigger, result, SAGA_ID, TRACE_ID)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("FAILED_PRECONDITION", 400),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("RESOURCE_EXHAUSTED", 429),
        ("UNKNOWN", 409),
        ("OK", 409),
        ("NO_CODE_OF_GRPC", 409),
    ],
)
def test_a_refusal_is_always_a_4xx(code: str, status: int) -> None:
    failure = Failure(code, "OUT_OF_STOCK", "none left", "take_book")
    answer = answer_of(Unsuccessful(failure, is_refused=True))
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": json.loads(answer.body)["title"],
        "status": status,
        "detail": "none left",
        "code": code,
        "reason": "OUT_OF_STOCK",
        "step": "take_book",
        "saga_id": SAGA_ID,
        "trace_id": TRACE_ID,
    }
    assert answer.status == status


def test_anything_else_is_502_without_retry_after() -> None:
    failure = Failure("UNAVAILABLE", "UNAVAILABLE", "", "take_book")
    answer = answer_of(Unsuccessful(failure, is_refused=False))
    assert (answer.status, json.loads(answer.body)["reason"]) == (502, "SAGA_COMPENSATED")
    assert [name for name, _ in answer.headers] == ["content-type"]


def test_a_saga_that_a_client_cancelled_says_so_in_the_contracts_words() -> None:
    failure = Failure("CANCELLED", "READER_CHANGED_MIND", "the client cancelled it", "take_book")
    cancelled = Unsuccessful(failure, is_refused=False, is_cancelled=True)
    answer = answer_of(of_columns(*to_columns(cancelled)))
    problem = json.loads(answer.body)
    assert (answer.status, problem["reason"], problem["step"]) == (409, "READER_CHANGED_MIND", "take_book")
    assert [name for name, _ in answer.headers] == ["content-type"], "it is final: no Retry-After"


def test_what_was_stored_before_there_were_cancels_is_read() -> None:
    text = '{"kind":"UNSUCCESSFUL","is_refused":false,"failure":["UNAVAILABLE","LATE","","take_book"]}'
    assert of_columns(None, text, None) == Unsuccessful(
        Failure("UNAVAILABLE", "LATE", "", "take_book"), False
    )
    assert to_columns(of_columns(None, text, None)) == (None, text, None)


@pytest.mark.parametrize(
    ("is_other_payload", "status", "reason"),
    [(False, 409, "SAGA_ELSEWHERE"), (True, 422, "IDEMPOTENCY_KEY_REUSED")],
)
def test_a_superseded_run_says_where_the_saga_is(is_other_payload: bool, status: int, reason: str) -> None:
    answer = answer_of(Superseded("", is_other_payload))
    assert (answer.status, json.loads(answer.body)["reason"]) == (status, reason)


def test_a_success_is_the_field_that_the_route_names() -> None:
    mesh = library().mesh
    start = next(route for route in mesh.routes if route.target == "lend_book")
    named = replace(mesh, routes=(replace(start, response_body="loan_id"),))
    loan = library().schema.message_type(start.method.response_name)
    result = Succeeded(201, start.method.response_name, loan(loan_id="7").SerializeToString())
    answer = HttpResponder(named, library().schema).answer(start.method.path, result, SAGA_ID, TRACE_ID)
    assert (answer.status, answer.body) == (201, b'"7"')


def test_a_result_of_a_message_that_the_trigger_has_no_more_is_an_expired_key() -> None:
    with pytest.raises(ProblemError) as refused:
        answer_of(Succeeded(201, "library.v0.Loan", b"\x0a\x017"))
    problem = refused.value.problem
    assert (problem.status, problem.reason, problem.saga_id) == (409, "KEY_EXPIRED", SAGA_ID)


def test_an_answer_that_an_earlier_version_stored_leaves_as_it_is() -> None:
    stored = StoredAnswer(207, (("x-old", "1"),), b"as it was")
    assert answer_of(stored) == Answer(207, (("x-old", "1"),), b"as it was")


def test_routes_of_one_trigger_must_answer_alike() -> None:
    mesh = library().mesh
    start = next(route for route in mesh.routes if route.target == "lend_book")
    torn = replace(mesh, routes=(start, replace(start, template="/other", response_body="loan_id")))
    with pytest.raises(RouteError, match="same response_body"):
        HttpResponder(torn, library().schema)


def test_every_code_of_grpc_has_a_status() -> None:
    assert set(HTTP_STATUS) == set(Code)


def test_an_error_of_a_service_keeps_its_details() -> None:
    error = RpcError(
        Code.INVALID_ARGUMENT,
        "no",
        reason="BAD",
        violations=[FieldViolation("a.b", "must be set", "required")],
    )
    document = json.loads(from_rpc_error(error).body())
    assert document["violations"] == [{"field": "a.b", "description": "must be set", "rule": "required"}]
    assert (document["status"], document["code"], document["reason"]) == (400, "INVALID_ARGUMENT", "BAD")


def test_a_document_is_json_even_where_a_client_sent_half_a_character() -> None:
    assert json.loads(Problem(400, "X", "Y", "\ud800").body())["detail"] == "\ud800"


def test_a_response_that_json_cannot_express_is_said_to_be_one() -> None:
    mesh, schema = library().mesh, library().schema
    method = replace(mesh.sagas[0].trigger, response_name="google.protobuf.Duration")
    endless = schema.message_type("google.protobuf.Duration")(seconds=10**12).SerializeToString()
    odd = replace(mesh, sagas=(replace(mesh.sagas[0], trigger=method),), routes=())
    with pytest.raises(ProblemError) as refused:
        HttpResponder(odd, schema).answer(
            method.path, Succeeded(201, method.response_name, endless), SAGA_ID, ""
        )
    problem = refused.value.problem
    assert (problem.status, problem.reason, problem.saga_id) == (500, "ANSWER_NOT_WRITTEN", SAGA_ID)
