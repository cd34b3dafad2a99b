"""The table in decide.py's docstring, row by row."""

from dataclasses import replace

import pytest
from grpclib.const import Status as Code
from small_mesh import RETRY, SAGA_ID, TRACE, saga, step, text, usual_saga

from sagagen.runtime.model.definition import Direction, Saga, StepKind
from sagagen.runtime.rpc.claim import CLAIM, CLAIM_PATH
from sagagen.runtime.rpc.errors import DOMAIN, Declined
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import CallNow, End, GetStuck, PassOver, StepCall, TurnBack
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    Compensated,
    Done,
    Ended,
    Failed,
    LogEvent,
    NextRequest,
    Outcome,
    PassedOver,
    Resolved,
    Resumed,
    Retried,
    SagaStatus,
    Stuck,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.scope import Failure

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
T0 = 1_000_000
A_DAY_MS = 24 * 3_600_000


def accepted(next: NextRequest | None = None) -> Accepted:
    return Accepted(
        at_ms=T0,
        saga_id=SAGA_ID,
        saga="place",
        version=1,
        digest="d1",
        run="0123456789abcdef",
        caller="anonymous",
        key="k",
        fingerprint=b"f",
        input=text("x"),
        trace=TRACE,
        next=next or NextRequest(b"first"),
    )


def done(name: str, next: NextRequest | None = None) -> Done:
    return Done(at_ms=T0 + 1, step=name, attempt=1, response=b"", next=next or NextRequest(b"following"))


def failed(
    name: str,
    direction: Direction = ACTION,
    code: Code = Code.UNAVAILABLE,
    *,
    outcome: Outcome = Outcome.DOUBT,
    reason: str = "",
    domain: str = "",
    at_ms: int = T0 + 5,
    attempt: int = 1,
    retry_after_s: float | None = None,
) -> Failed:
    return Failed(
        at_ms=at_ms,
        step=name,
        direction=direction,
        attempt=attempt,
        outcome=outcome,
        code=code,
        reason=reason,
        domain=domain,
        message="why",
        retry_after_s=retry_after_s,
    )


def ruled(name: str, reason: str, direction: Direction = ACTION) -> Failed:
    return failed(name, direction, Code.ABORTED, reason=reason, domain=DOMAIN)


def refused(name: str) -> Failed:
    return failed(name, code=Code.FAILED_PRECONDITION, outcome=Outcome.REFUSED, reason="SOLD_OUT")


def turned_back(name: str, outcome: Outcome) -> TurnedBack:
    failure = Failure("FAILED_PRECONDITION", "SOLD_OUT", "none left", name)
    return TurnedBack(at_ms=T0 + 9, failure=failure, outcome=outcome)


def history(*rows: LogEvent, next: NextRequest | None = None) -> History:
    return fold([accepted(next), *rows])


def the_call(definition: Saga, of: History) -> StepCall:
    decision = decide(definition, of)
    assert isinstance(decision, CallNow), decision
    (call,) = decision.calls
    return call


BEFORE_TWO = (done("one"),)
BEFORE_PIVOT = (done("one"), done("two"))
BEFORE_AFTER = (done("one"), done("two"), done("pivot"))


@pytest.mark.parametrize(
    ("rows", "name", "request_bytes"),
    [
        ((), "one", b"first"),
        (BEFORE_TWO, "two", b"following"),
        (BEFORE_PIVOT, "pivot", b"following"),
        (BEFORE_AFTER, "after", b"following"),
    ],
)
def test_forward_calls_the_first_step_that_is_not_done_with_the_request_as_logged(
    rows: tuple[LogEvent, ...], name: str, request_bytes: bytes
) -> None:
    call = the_call(usual_saga(), history(*rows))
    assert (call.step.name, call.direction, call.attempt) == (name, ACTION, 1)
    assert call.request == request_bytes


def test_a_saga_whose_steps_are_all_done_is_completed() -> None:
    assert decide(usual_saga(), history(*BEFORE_AFTER, done("after", NextRequest()))) == End(
        SagaStatus.COMPLETED
    )


@pytest.mark.parametrize(
    ("rows", "outcome", "reason"),
    [
        ((*BEFORE_TWO, refused("two")), Outcome.REFUSED, "SOLD_OUT"),
        ((*BEFORE_PIVOT, refused("pivot")), Outcome.REFUSED, "SOLD_OUT"),
        ((*BEFORE_TWO, failed("two"), refused("two")), Outcome.REFUSED, "SOLD_OUT"),
        ((*BEFORE_TWO, Resumed(at_ms=T0), refused("two")), Outcome.REFUSED, "SOLD_OUT"),
        ((*BEFORE_TWO, failed("two", code=Code.INVALID_ARGUMENT)), Outcome.DOUBT, "INVALID_ARGUMENT"),
        ((*BEFORE_TWO, failed("two", code=Code.UNIMPLEMENTED)), Outcome.DOUBT, "UNIMPLEMENTED"),
        (
            (*BEFORE_TWO, TimeUp(at_ms=T0, step="two", direction=ACTION)),
            Outcome.NOT_CALLED,
            "SAGA_DEADLINE_EXCEEDED",
        ),
        (
            (*BEFORE_TWO, failed("two"), TimeUp(at_ms=T0, step="two", direction=ACTION)),
            Outcome.DOUBT,
            "SAGA_DEADLINE_EXCEEDED",
        ),
        (
            (*BEFORE_TWO, Resumed(at_ms=T0), TimeUp(at_ms=T0, step="two", direction=ACTION)),
            Outcome.DOUBT,
            "SAGA_DEADLINE_EXCEEDED",
        ),
        (
            (*BEFORE_PIVOT, TimeUp(at_ms=T0, step="pivot", direction=ACTION)),
            Outcome.NOT_CALLED,
            "SAGA_DEADLINE_EXCEEDED",
        ),
        ((*BEFORE_TWO, Cancelled(at_ms=T0)), Outcome.NOT_CALLED, "CANCELLED_BY_OPERATOR"),
        ((*BEFORE_PIVOT, Cancelled(at_ms=T0)), Outcome.NOT_CALLED, "CANCELLED_BY_OPERATOR"),
        ((*BEFORE_TWO, ruled("two", "OTHER_RUN")), Outcome.NOT_CALLED, "OTHER_RUN"),
        ((*BEFORE_TWO, failed("two"), ruled("two", "OTHER_RUN")), Outcome.NOT_CALLED, "OTHER_RUN"),
        ((*BEFORE_PIVOT, ruled("pivot", "OTHER_RUN")), Outcome.NOT_CALLED, "OTHER_RUN"),
        ((*BEFORE_TWO, ruled("two", "STEP_COMPENSATED")), Outcome.DOUBT, "STEP_COMPENSATED"),
    ],
)
def test_before_the_pivot_is_attempted_a_saga_turns_back(
    rows: tuple[LogEvent, ...], outcome: Outcome, reason: str
) -> None:
    decision = decide(usual_saga(), history(*rows))
    assert isinstance(decision, TurnBack), decision
    assert (decision.outcome, decision.failure.reason) == (outcome, reason)


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.ABORTED])
def test_a_failure_that_may_be_repeated_is_repeated(code: Code) -> None:
    call = the_call(usual_saga(), history(failed("one", code=code)))
    assert (call.attempt, call.failures) == (2, 1)


def _always(_scope: object) -> bool:
    return True


@pytest.mark.parametrize("code", [Code.UNIMPLEMENTED, Code.UNAVAILABLE])
def test_a_claim_waits_for_the_deployment_of_a_service_that_knows_none(code: Code) -> None:
    claimed = history(failed(CLAIM, code=code), next=NextRequest(b"fingerprint", step=CLAIM))
    definition = saga(replace(step("one"), when=_always), step("two"))
    call = the_call(definition, claimed)
    assert (call.key, call.failures, call.action.method.path) == (CLAIM, 1, CLAIM_PATH)


def test_an_expired_call_is_repeated_whatever_codes_the_contract_names() -> None:
    definition = saga(step("one", retry=replace(RETRY, codes=frozenset({Code.UNAVAILABLE}))))
    late = failed("one", code=Code.DEADLINE_EXCEEDED, reason="EXPIRED", domain=DOMAIN)
    assert the_call(definition, history(late)).attempt == 2
    assert isinstance(decide(definition, history(failed("one", code=Code.DEADLINE_EXCEEDED))), TurnBack)


def test_attempts_that_are_used_up_turn_back_in_doubt() -> None:
    definition = saga(step("one", retry=replace(RETRY, max_attempts=2)))
    assert the_call(definition, history(failed("one"))).attempt == 2
    decision = decide(definition, history(failed("one"), failed("one", attempt=2)))
    assert isinstance(decision, TurnBack)
    assert decision.outcome is Outcome.DOUBT


def test_an_exhausted_service_costs_no_attempt_but_grows_the_backoff() -> None:
    definition = saga(step("one", retry=replace(RETRY, max_attempts=2)))
    rows = [failed("one", code=Code.RESOURCE_EXHAUSTED, attempt=n, retry_after_s=1.5) for n in (1, 2, 3)]
    call = the_call(definition, history(*rows))
    assert (call.attempt, call.failures, call.retry_after_s) == (4, 3, 1.5)


def test_the_deadline_bounds_steps_before_the_pivot_and_cuts_their_calls_short() -> None:
    call = the_call(usual_saga(deadline_s=60.0), history())
    assert (call.give_up_at_ms, call.is_cut_short) == (T0 + 60_000, True)


def test_the_deadline_is_checked_before_the_pivot_and_does_not_shorten_its_call() -> None:
    call = the_call(usual_saga(deadline_s=60.0), history(*BEFORE_PIVOT))
    assert (call.give_up_at_ms, call.is_cut_short) == (T0 + 60_000, False)


@pytest.mark.parametrize(
    "rows",
    [
        (failed("pivot"),),
        (failed("pivot", code=Code.INVALID_ARGUMENT),),
        (failed("pivot"), Cancelled(at_ms=T0)),
        (Resumed(at_ms=T0),),
        (Resumed(at_ms=T0), Cancelled(at_ms=T0)),
        (TimeUp(at_ms=T0, step="pivot", direction=ACTION), Resumed(at_ms=T0)),
        tuple(failed("pivot", attempt=n) for n in range(1, 40)),
    ],
)
def test_a_pivot_in_doubt_is_repeated_for_a_day_whatever_else_happens(rows: tuple[LogEvent, ...]) -> None:
    call = the_call(usual_saga(), history(*BEFORE_PIVOT, *rows))
    failures = [row for row in rows if isinstance(row, Failed)]
    assert (call.step.name, call.give_up_at_ms) == ("pivot", T0 + 5 + A_DAY_MS if failures else None)


def test_a_pivot_with_a_budget_is_stuck_when_it_is_spent() -> None:
    definition = saga(step("pivot", StepKind.PIVOT, retry=replace(RETRY, give_up_after_s=10.0)))
    assert the_call(definition, history(failed("pivot"))).give_up_at_ms == T0 + 5 + 10_000
    spent = history(failed("pivot"), TimeUp(at_ms=T0, step="pivot", direction=ACTION))
    assert isinstance(decide(definition, spent), GetStuck)


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION])
def test_a_retriable_step_is_repeated_whatever_the_failure(code: Code) -> None:
    call = the_call(usual_saga(), history(*BEFORE_AFTER, failed("after", code=code), Cancelled(at_ms=T0)))
    assert (call.step.name, call.attempt) == ("after", 2)


def test_the_budget_of_a_retriable_step_begins_with_its_first_failure_and_survives_a_restart() -> None:
    first, second = failed("after", at_ms=T0 + 100), failed("after", at_ms=T0 + 200, attempt=2)
    before = the_call(usual_saga(), history(*BEFORE_AFTER))
    assert before.give_up_at_ms is None
    resumed = the_call(usual_saga(), history(*BEFORE_AFTER, first, second, Resumed(at_ms=T0 + 300)))
    assert (resumed.give_up_at_ms, resumed.failures) == (None, 0), (
        "one attempt, however long nobody could make it"
    )
    third = failed("after", at_ms=T0 + 400, attempt=3)
    tried = history(*BEFORE_AFTER, first, second, Resumed(at_ms=T0 + 300), third)
    assert the_call(usual_saga(), tried).give_up_at_ms == T0 + 100 + 3_600_000, "the budget is not renewed"


def test_a_retriable_step_without_a_budget_of_its_own_gets_a_day() -> None:
    definition = saga(step("pivot", StepKind.PIVOT), step("after", StepKind.RETRIABLE, retry=RETRY))
    call = the_call(definition, history(done("pivot"), failed("after")))
    assert call.give_up_at_ms == T0 + 5 + 24 * 3_600_000


@pytest.mark.parametrize(
    "rows",
    [
        (*BEFORE_AFTER, failed("after"), TimeUp(at_ms=T0, step="after", direction=ACTION)),
        (*BEFORE_AFTER, ruled("after", "OTHER_RUN")),
        (*BEFORE_AFTER, ruled("after", "STEP_COMPENSATED")),
        (*BEFORE_AFTER, ruled("after", "FORGOTTEN")),
        (*BEFORE_PIVOT, ruled("pivot", "STEP_COMPENSATED")),
        (*BEFORE_PIVOT, ruled("pivot", "PAYLOAD_MISMATCH")),
        (ruled("one", "PAYLOAD_MISMATCH"),),
        (ruled("one", "FORGOTTEN"),),
        (done("one"), done("two"), done("pivot", NextRequest(problem="overflow"))),
    ],
)
def test_what_contradicts_the_log_or_has_no_way_back_is_stuck(rows: tuple[LogEvent, ...]) -> None:
    assert isinstance(decide(usual_saga(), history(*rows)), GetStuck)


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (done("one", NextRequest(problem="division by zero")),),
        (done("one"), done("two", NextRequest(problem="index 3"))),
    ],
)
@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_request_that_cannot_be_built_turns_back_and_was_never_called(
    rows: tuple[LogEvent, ...], is_resumed: bool
) -> None:
    end = (Resumed(at_ms=T0),) if is_resumed else ()
    of = history(*rows, *end, next=NextRequest(problem="overflow") if not rows else None)
    decision = decide(usual_saga(), of)
    assert isinstance(decision, TurnBack)
    assert (decision.outcome, decision.failure.reason) == (Outcome.NOT_CALLED, "REQUEST_NOT_BUILT")


@pytest.mark.parametrize("earlier", [(), (failed("one"),), (Resumed(at_ms=T0),)])
def test_another_run_before_any_write_of_ours_supersedes(earlier: tuple[LogEvent, ...]) -> None:
    assert decide(usual_saga(), history(*earlier, ruled("one", "OTHER_RUN"))) == End(SagaStatus.SUPERSEDED)


def test_reads_are_no_writes_of_ours() -> None:
    definition = saga(step("look", is_read=True), step("one"))
    of = history(done("look"), ruled("one", "OTHER_RUN"))
    assert decide(definition, of) == End(SagaStatus.SUPERSEDED)


def order_of_compensation(definition: Saga, of: History) -> list[str]:
    """Compensate until the end, and say what was done in which order."""
    order: list[str] = []
    while not isinstance(decision := decide(definition, of), End):
        if isinstance(decision, PassOver):
            order.append(f"({decision.step})")
            row = PassedOver(at_ms=T0, step=decision.step, reason=decision.reason, message="")
            of = of.with_row(row)
        else:
            call = the_call(definition, of)
            assert call.direction is COMPENSATION
            order.append(call.step.name)
            of = of.with_row(Compensated(at_ms=T0, step=call.step.name, attempt=1))
    assert decision.status is SagaStatus.COMPENSATED
    return order


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        ((turned_back("one", Outcome.REFUSED),), []),
        ((turned_back("one", Outcome.NOT_CALLED),), []),
        ((turned_back("one", Outcome.DOUBT),), ["one"]),
        ((*BEFORE_TWO, turned_back("two", Outcome.REFUSED)), ["one"]),
        ((*BEFORE_TWO, turned_back("two", Outcome.DOUBT)), ["two", "one"]),
        ((*BEFORE_PIVOT, turned_back("pivot", Outcome.REFUSED)), ["two", "one"]),
        ((*BEFORE_PIVOT, turned_back("pivot", Outcome.NOT_CALLED), Resumed(at_ms=T0)), ["two", "one"]),
    ],
)
def test_backward_undoes_the_step_in_doubt_and_then_the_done_ones_last_first(
    rows: tuple[LogEvent, ...], order: list[str]
) -> None:
    assert order_of_compensation(usual_saga(), history(*rows)) == order


def test_reads_and_steps_without_compensation_are_passed_over() -> None:
    definition = saga(
        step("look", is_read=True), step("one"), step("mail", is_compensated=False), step("two")
    )
    rows = (done("look"), done("one"), done("mail"), turned_back("two", Outcome.DOUBT))
    assert order_of_compensation(definition, history(*rows)) == ["two", "(mail)", "one", "(look)"]


def test_a_compensation_that_fails_is_repeated_and_those_before_it_wait() -> None:
    rows = (*BEFORE_TWO, turned_back("two", Outcome.DOUBT))
    refusal = failed("two", COMPENSATION, Code.FAILED_PRECONDITION, reason="NOT_NOW")
    call = the_call(usual_saga(), history(*rows, refusal))
    assert (call.step.name, call.attempt, call.request) == ("two", 2, None)
    assert call.give_up_at_ms == T0 + 5 + 3_600_000


@pytest.mark.parametrize(
    "row",
    [
        ruled("one", "OTHER_RUN", COMPENSATION),
        ruled("one", "FORGOTTEN", COMPENSATION),
        ruled("one", "PAYLOAD_MISMATCH", COMPENSATION),
        TimeUp(at_ms=T0, step="one", direction=COMPENSATION),
    ],
)
def test_a_compensation_of_a_done_step_that_cannot_go_on_is_stuck(row: LogEvent) -> None:
    rows = (*BEFORE_TWO, turned_back("two", Outcome.REFUSED), row)
    decision = decide(usual_saga(), history(*rows))
    assert isinstance(decision, GetStuck)
    assert (decision.direction, decision.failure.step) == (COMPENSATION, "one")


def test_another_run_proves_that_a_step_in_doubt_never_happened() -> None:
    of = history(turned_back("one", Outcome.DOUBT), ruled("one", "OTHER_RUN", COMPENSATION))
    decision = decide(usual_saga(), of)
    assert isinstance(decision, PassOver)
    after = of.with_row(PassedOver(at_ms=T0, step="one", reason=decision.reason, message=""))
    assert decide(usual_saga(), after) == End(SagaStatus.SUPERSEDED)


def test_an_operators_retry_starts_a_new_budget() -> None:
    stuck = Stuck(at_ms=T0, direction=COMPENSATION, failure=Failure("UNAVAILABLE", "UNAVAILABLE", "", "one"))
    rows = (
        *BEFORE_TWO,
        turned_back("two", Outcome.REFUSED),
        failed("one", COMPENSATION),
        TimeUp(at_ms=T0, step="one", direction=COMPENSATION),
        stuck,
    )
    assert decide(usual_saga(), history(*rows)) is None
    call = the_call(usual_saga(), history(*rows, Retried(at_ms=T0, step="one", direction=COMPENSATION)))
    assert (call.attempt, call.failures, call.give_up_at_ms) == (2, 0, None)
    resolved = history(*rows, Resolved(at_ms=T0, step="one"))
    assert decide(usual_saga(), resolved) == End(SagaStatus.COMPENSATED)


def test_a_retry_of_a_stuck_step_keeps_it_in_doubt() -> None:
    stuck = Stuck(at_ms=T0, direction=ACTION, failure=Failure("ABORTED", "PAYLOAD_MISMATCH", "", "one"))
    retried = Retried(at_ms=T0, step="one", direction=ACTION)
    rows = (ruled("one", "PAYLOAD_MISMATCH"), stuck, retried, TimeUp(at_ms=T0, step="one", direction=ACTION))
    decision = decide(usual_saga(), history(*rows))
    assert isinstance(decision, TurnBack)
    assert decision.outcome is Outcome.DOUBT


def test_nothing_follows_the_end() -> None:
    assert decide(usual_saga(), history(Ended(at_ms=T0, status=SagaStatus.COMPLETED))) is None


@pytest.mark.parametrize("reason", ["", "not a token", "lower_case", "ÄRGER"])
def test_the_reason_of_a_failure_is_always_a_token(reason: str) -> None:
    decision = decide(usual_saga(), history(failed("one", code=Code.INVALID_ARGUMENT, reason=reason)))
    assert isinstance(decision, TurnBack)
    assert decision.failure.reason == "INVALID_ARGUMENT"


def test_a_history_begins_with_accepted_and_only_once() -> None:
    with pytest.raises(ValueError, match="first row"):
        fold([done("one")])
    with pytest.raises(TypeError):
        fold([accepted(), accepted()])


@pytest.mark.parametrize("reason", ["SOLD_OUT", "3DS_REQUIRED", "_X", "X"])
def test_a_reason_of_a_service_is_kept(reason: str) -> None:
    row = failed("one", code=Code.FAILED_PRECONDITION, outcome=Outcome.REFUSED, reason=reason)
    assert turned_back_by(row).reason == Declined(reason).reason == reason


@pytest.mark.parametrize("reason", ["", "_", "sold_out", "SOLD-OUT", "SOLD OUT", "SOLD_OUT\n", "ÉPUISÉ", "Ⅷ"])
def test_what_is_no_token_is_no_reason(reason: str) -> None:
    """Neither for a handler, which is told at once, nor for expressions: these read the code's name."""
    with pytest.raises(ValueError, match="UPPER_SNAKE"):
        Declined(reason)
    row = failed("one", code=Code.FAILED_PRECONDITION, outcome=Outcome.REFUSED, reason=reason)
    assert turned_back_by(row).reason == "FAILED_PRECONDITION"


def turned_back_by(row: Failed) -> Failure:
    decision = decide(usual_saga(), history(row))
    assert isinstance(decision, TurnBack)
    return decision.failure


@pytest.mark.parametrize(
    "rows",
    [
        (*BEFORE_PIVOT, failed("pivot")),
        (*BEFORE_AFTER, failed("after")),
        (*BEFORE_TWO, turned_back("two", Outcome.REFUSED), failed("one", COMPENSATION)),
    ],
)
def test_a_call_that_only_goes_one_way_keeps_its_whole_timeout(rows: tuple[LogEvent, ...]) -> None:
    assert not the_call(usual_saga(), history(*rows)).is_cut_short


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "the saga's deadline has passed"),
        ((failed("one"),), "the saga's deadline has passed; last failure: UNAVAILABLE: why"),
    ],
)
def test_a_deadline_that_passed_is_told_with_the_last_failure(
    rows: tuple[LogEvent, ...], message: str
) -> None:
    time_up = TimeUp(at_ms=T0 + 9, step="one", direction=ACTION)
    decision = decide(usual_saga(), history(*rows, time_up))
    assert isinstance(decision, TurnBack)
    assert decision.failure.message == message
