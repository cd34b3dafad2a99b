"""The barrier's decision: each of the seven rules, alone and against those after it."""

import sqlite3

import pytest
from grpclib.const import Status as Code
from small_mesh import saga_call

from sagagen.runtime.identity import owner_digest
from sagagen.runtime.model.definition import Direction, StepKind
from sagagen.runtime.rpc.errors import DOMAIN
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import Record
from sagagen.runtime.service.barrier.rules import (
    OTHER_PAYLOAD,
    OWNER_RUN,
    ActionState,
    BarrierDecision,
    BarrierRow,
    RecordEmpty,
    Replay,
    RunHandler,
    State,
    StepRows,
    TurnDown,
    records_refusal,
    rule,
)
from sagagen.runtime.service.sqlite_store.table import DDL, insert

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
ACT, UNDO = saga_call(), saga_call(direction=COMPENSATION)


def row(state: State = State.DONE, *, run: str = "run-1", digest: bytes = b"same") -> BarrierRow:
    return BarrierRow(run, digest, state, b"outcome")


def rows(
    action: BarrierRow | None = None, compensation: BarrierRow | None = None, other: BarrierRow | None = None
) -> StepRows:
    """`other` is of another step: all that is read of it is its run."""
    owner = action or compensation or other
    return StepRows(owner.run if owner else None, action, compensation)


LATE = ACT._replace(not_after_ms=4_999)
OLD, OLD_UNDO = ACT._replace(started_ms=500), UNDO._replace(started_ms=500)


@pytest.mark.parametrize(
    ("call", "found", "reason", "code"),
    [
        pytest.param(LATE, rows(), "EXPIRED", Code.DEADLINE_EXCEEDED, id="1 late"),
        pytest.param(LATE, rows(row()), "EXPIRED", Code.DEADLINE_EXCEEDED, id="1 late, though recorded"),
        pytest.param(ACT, rows(other=row(run="x")), "OTHER_RUN", Code.ABORTED, id="2 another run elsewhere"),
        pytest.param(
            ACT, rows(row(run="x", digest=b"other")), "OTHER_RUN", Code.ABORTED, id="2 another run here"
        ),
        pytest.param(OLD, rows(other=row(run="x")), "OTHER_RUN", Code.ABORTED, id="2 before 3"),
        pytest.param(OLD, rows(), "FORGOTTEN", Code.FAILED_PRECONDITION, id="3 forgotten"),
        pytest.param(OLD_UNDO, rows(), "FORGOTTEN", Code.FAILED_PRECONDITION, id="3 never empty"),
        pytest.param(OLD, rows(other=row()), "FORGOTTEN", Code.FAILED_PRECONDITION, id="3 other steps' rows"),
        pytest.param(
            ACT._replace(started_ms=700),
            rows(),
            "FORGOTTEN",
            Code.FAILED_PRECONDITION,
            id="3 up to and including",
        ),
        pytest.param(
            ACT, rows(None, row(State.EMPTY)), "STEP_COMPENSATED", Code.FAILED_PRECONDITION, id="4 overtaken"
        ),
        pytest.param(
            ACT, rows(row(), row()), "STEP_COMPENSATED", Code.FAILED_PRECONDITION, id="4 though done itself"
        ),
        pytest.param(ACT, rows(row(digest=b"o")), "PAYLOAD_MISMATCH", Code.ABORTED, id="5 another request"),
        pytest.param(
            UNDO, rows(row(), row(digest=b"o")), "PAYLOAD_MISMATCH", Code.ABORTED, id="5 of an undo"
        ),
    ],
)
def test_a_call_is_turned_down(call: SagaCall, found: StepRows, reason: str, code: Code):
    decision = rule(call, b"same", found, purged_through_ms=700, now_ms=5_000)
    assert isinstance(decision, TurnDown)
    assert (decision.error.reason, decision.error.domain, decision.error.code) == (reason, DOMAIN, code)
    assert not decision.error.is_refusal


@pytest.mark.parametrize(
    ("call", "found", "decision"),
    [
        pytest.param(ACT, rows(row()), Replay(row()), id="5 repeat"),
        pytest.param(ACT, rows(row(State.REFUSED)), Replay(row(State.REFUSED)), id="5 repeat of a refusal"),
        pytest.param(OLD, rows(row()), Replay(row()), id="5 old, but remembered"),
        pytest.param(UNDO, rows(row(), row()), Replay(row()), id="5 repeat of a compensation"),
        pytest.param(
            UNDO, rows(None, row(State.EMPTY)), Replay(row(State.EMPTY)), id="5 repeat of an empty one"
        ),
        pytest.param(UNDO, rows(), RecordEmpty(), id="6 nothing to undo"),
        pytest.param(UNDO, rows(row(State.REFUSED)), RecordEmpty(), id="6 nothing had happened"),
        pytest.param(UNDO, rows(other=row()), RecordEmpty(), id="6 other steps' rows"),
        pytest.param(UNDO, rows(row()), RunHandler(action=ActionState.DONE), id="7 compensation"),
        pytest.param(ACT, rows(other=row()), RunHandler(), id="7 action"),
        pytest.param(ACT._replace(not_after_ms=5_000), rows(), RunHandler(), id="7 in the last moment"),
    ],
)
def test_a_call_is_let_through_or_answered(call: SagaCall, found: StepRows, decision: BarrierDecision):
    assert rule(call, b"same", found, purged_through_ms=700, now_ms=5_000) == decision


def pending(not_after_ms: int = 4_000) -> BarrierRow:
    return row(State.PENDING)._replace(not_after_ms=not_after_ms)


@pytest.mark.parametrize(
    ("call", "found", "decision"),
    [
        pytest.param(ACT, rows(pending()), RunHandler(is_repeat=True), id="an attempt that ended"),
        pytest.param(
            UNDO, rows(pending()), RunHandler(action=ActionState.UNKNOWN), id="an action that ended unsettled"
        ),
        pytest.param(UNDO, rows(row(), pending()), RunHandler(True, ActionState.DONE), id="its undo too"),
        pytest.param(
            UNDO, rows(pending(), pending()), RunHandler(True, ActionState.UNKNOWN), id="neither is settled"
        ),
    ],
)
def test_what_ended_unsettled_is_run_again_or_undone(
    call: SagaCall, found: StepRows, decision: BarrierDecision
):
    assert rule(call, b"same", found, 0, 5_000) == decision


def test_a_compensation_waits_for_the_end_that_its_action_must_have():
    decision = rule(UNDO, b"same", rows(pending(6_500)), 0, 5_000)
    assert isinstance(decision, TurnDown)
    assert (decision.error.code, decision.error.domain, decision.error.retry_after_s) == (
        Code.UNAVAILABLE,
        "",
        1.501,
    )


def test_another_request_than_the_unsettled_one_is_a_mismatch():
    decision = rule(ACT, b"other", rows(pending()), 0, 5_000)
    assert isinstance(decision, TurnDown)
    assert decision.error.reason == "PAYLOAD_MISMATCH"


def test_another_run_is_told_who_owns_the_saga_and_whether_its_request_differs():
    same = rule(ACT, b"same", rows(row(run="x")), 0, 0)
    other = rule(ACT, b"other", rows(row(run="x")), 0, 0)
    assert isinstance(same, TurnDown)
    assert isinstance(other, TurnDown)
    assert same.error.metadata == {OWNER_RUN: owner_digest(ACT.saga_id, "x")}
    assert other.error.metadata == {OWNER_RUN: owner_digest(ACT.saga_id, "x"), OTHER_PAYLOAD: "true"}


@pytest.mark.parametrize(
    ("kind", "direction", "is_recorded"),
    [
        (StepKind.COMPENSATABLE, ACTION, True),
        (StepKind.PIVOT, ACTION, True),
        (StepKind.RETRIABLE, ACTION, False),
        (StepKind.COMPENSATABLE, COMPENSATION, False),
        (StepKind.PIVOT, COMPENSATION, False),
    ],
)
def test_only_an_action_that_may_fail_has_its_refusal_recorded(
    kind: StepKind, direction: Direction, is_recorded: bool
):
    assert records_refusal(saga_call(kind=kind, direction=direction)) is is_recorded


def test_an_outcome_takes_the_place_of_what_was_pending_and_of_nothing_else() -> None:
    """The rules never let it come to that; should they once, the row that others were told of must stand."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(DDL)

    def write(state: State) -> None:
        insert(connection, Record(saga_call(), b"digest", "trace", state, state.value.encode()))

    def stands() -> tuple[str, bytes]:
        return connection.execute("SELECT state, outcome FROM sagagen_barrier").fetchone()

    write(State.PENDING)
    write(State.DONE)
    assert stands() == ("DONE", b"DONE")
    with pytest.raises(sqlite3.IntegrityError, match="another outcome"):
        write(State.REFUSED)
    assert stands() == ("DONE", b"DONE")


def test_a_run_without_a_name_owns_its_saga_too():
    assert isinstance(rule(ACT, b"same", rows(row(run="")), 0, 0), TurnDown)
    assert isinstance(rule(ACT._replace(run=""), b"same", rows(row(run="x")), 0, 0), TurnDown)
