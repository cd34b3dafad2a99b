"""The barrier on a real database: what calls leave, and what later ones find."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpclib.const import Status as Code
from ledger import (
    ACT,
    GET,
    PUT,
    UNDO_CALL,
    Ledger,
    PutRequest,
    PutResponse,
    RunningLedger,
    Turnstile,
    database_in,
    insert,
    put,
    running,
)
from small_mesh import LATER_MS, ManualClock, saga_call
from structlog.testing import capture_logs
from structlog.typing import EventDict

from sagagen.runtime.model.definition import StepKind
from sagagen.runtime.rpc.errors import Declined, FieldViolation, RpcError, refused
from sagagen.runtime.rpc.metadata import REPLAYED
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.call import CallContext


@asynccontextmanager
async def opened(folder: Path, clock: ManualClock | None = None) -> AsyncGenerator[RunningLedger]:
    ledger = Ledger()
    async with running(folder, ledger, clock=clock) as host:
        yield RunningLedger(host, ledger, database_in(folder))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[RunningLedger]:
    async with opened(tmp_path) as bench:
        yield bench


async def refusal_of(reply: Awaitable[Reply]) -> RpcError:
    with pytest.raises(RpcError) as error:
        await reply
    return error.value


async def decline(request: PutRequest, call: CallContext) -> PutResponse:
    await insert(request, call)
    raise Declined("NO_ROOM", "full")


@pytest.mark.parametrize("text", ["half \ud83d of a pair", "\udc00", "nul \x00 and ünï"])
async def test_a_refusal_is_one_whatever_its_words_are(bench: RunningLedger, text: str):
    async def decline(request: PutRequest, call: CallContext) -> PutResponse:
        raise Declined("NO_ROOM", text)

    bench.ledger.on_put = decline
    told = text.replace("\ud83d", "\ufffd").replace("\udc00", "\ufffd")
    for _ in range(2):
        refusal = await refusal_of(bench.act())
        assert refusal.is_refusal
        assert (refusal.reason, refusal.message) == ("NO_ROOM", told)
    assert bench.states() == {("put", "action"): "REFUSED"}


async def test_an_error_is_one_whatever_its_words_are(bench: RunningLedger):
    half = "\ud800"

    async def fail(request: PutRequest, call: CallContext) -> PutResponse:
        raise RpcError(
            Code.ABORTED,
            half,
            reason=half,
            domain=half,
            metadata={half: half},
            violations=[FieldViolation(half, half, half)],
        )

    bench.ledger.on_put = fail
    error = await refusal_of(bench.act())
    assert (error.code, error.message, error.reason) == (Code.ABORTED, "\ufffd", "\ufffd")
    assert error.to_status().SerializeToString()


async def test_a_handler_that_nobody_has_written_is_named_once(bench: RunningLedger):
    async def unwritten(request: PutRequest, call: CallContext) -> PutResponse:
        raise RpcError(Code.UNIMPLEMENTED, "ledger.put is not written yet")

    bench.ledger.on_put = unwritten
    with capture_logs() as lines:
        for saga in ("one", "two"):
            assert (await refusal_of(bench.act(saga_call(saga)))).code is Code.UNIMPLEMENTED
    (line,) = lines
    assert line["event"] == "a handler is not written yet"
    assert re.fullmatch(r"(\w+/)*test_barrier\.py:\d+ unwritten", line["handler"])


async def test_an_effect_and_its_row_are_one(bench: RunningLedger):
    await bench.act()
    assert bench.states() == {("put", "action"): "DONE"}
    assert await bench.total() == 1

    async def fail(request: PutRequest, call: CallContext) -> PutResponse:
        await call.db.execute("INSERT INTO nowhere VALUES (1)")
        raise AssertionError("there is no such table")

    bench.ledger.on_put = fail
    assert (await refusal_of(bench.act(saga_call("other")))).code is Code.INTERNAL
    assert bench.states() == {("put", "action"): "DONE"}


async def test_a_repeat_gets_the_same_answer_without_the_handler(bench: RunningLedger):
    first = await bench.act()
    await bench.act(saga_call("other"), put("b", 5))
    again = await bench.act(ACT._replace(attempt=2))
    assert again.response == first.response
    assert again.trailers == {REPLAYED: "true"}
    assert bench.ledger.puts == 2


async def test_repeats_at_the_same_time_have_one_effect(bench: RunningLedger):
    replies = await asyncio.gather(*(bench.act() for _ in range(20)))
    assert len({reply.response for reply in replies}) == 1
    assert sum(reply.trailers == {} for reply in replies) == 1
    assert bench.ledger.puts == 1
    assert await bench.total() == 1


async def test_a_repeat_after_a_restart_is_still_a_repeat(tmp_path: Path):
    async with opened(tmp_path) as bench:
        first = await bench.act()
    async with opened(tmp_path) as bench:
        assert (await bench.act()).response == first.response
        assert bench.ledger.puts == 0


async def test_a_refusal_is_an_outcome_and_a_delayed_first_copy_gets_it_too(bench: RunningLedger):
    bench.ledger.on_put = decline
    first = await refusal_of(bench.act())
    assert first.is_refusal
    assert bench.states() == {("put", "action"): "REFUSED"}
    assert await bench.total() == 0
    bench.ledger.on_put = insert  # by now it would succeed
    again = await refusal_of(bench.act())
    assert again.is_refusal
    assert (again.reason, again.message) == (first.reason, first.message)
    assert bench.ledger.puts == 1


async def test_a_refused_pivot_is_recorded_and_a_retriable_step_is_not(bench: RunningLedger):
    bench.ledger.on_put = decline
    assert (await refusal_of(bench.act(saga_call("pivot", kind=StepKind.PIVOT)))).is_refusal
    retriable = await refusal_of(bench.act(saga_call("later", kind=StepKind.RETRIABLE)))
    assert not retriable.is_refusal
    assert (retriable.code, retriable.reason) == (Code.FAILED_PRECONDITION, "NO_ROOM")
    assert bench.states() == {("pivot", "action"): "REFUSED"}


async def test_a_compensation_that_declines_is_not_recorded(bench: RunningLedger):
    await bench.act()
    bench.ledger.on_undo = decline
    assert not (await refusal_of(bench.undo())).is_refusal
    bench.ledger.on_undo = Ledger().on_undo
    await bench.undo()
    assert bench.states() == {("put", "action"): "DONE", ("put", "compensation"): "DONE"}
    assert await bench.total() == 0


async def test_a_compensation_that_overtakes_its_action_blocks_it(bench: RunningLedger):
    assert await bench.undo() == Reply(b"")
    assert bench.states() == {("put", "compensation"): "EMPTY"}
    late = await refusal_of(bench.act())
    assert (late.code, late.reason) == (Code.FAILED_PRECONDITION, "STEP_COMPENSATED")
    assert bench.ledger.puts == 0
    assert (await bench.undo()).trailers == {REPLAYED: "true"}


async def test_a_compensation_of_a_refused_action_is_empty(bench: RunningLedger):
    bench.ledger.on_put = decline
    await refusal_of(bench.act())
    assert await bench.undo() == Reply(b"")
    assert bench.states() == {("put", "action"): "REFUSED", ("put", "compensation"): "EMPTY"}


async def test_a_compensated_action_does_not_come_back(bench: RunningLedger):
    await bench.act()
    await bench.undo()
    assert (await refusal_of(bench.act())).reason == "STEP_COMPENSATED"
    assert await bench.total() == 0


async def test_a_call_after_its_deadline_leaves_nothing(tmp_path: Path):
    async with opened(tmp_path, ManualClock(ms=5_000)) as bench:
        late = await refusal_of(bench.act(saga_call(not_after_ms=4_999)))
        assert (late.code, late.reason, late.is_ours) == (Code.DEADLINE_EXCEEDED, "EXPIRED", True)
        assert bench.states() == {}


async def test_a_second_run_of_a_saga_has_no_effect(bench: RunningLedger):
    await bench.act()
    other = await refusal_of(bench.act(saga_call("other", run="run-2")))
    assert (other.code, other.reason) == (Code.ABORTED, "OTHER_RUN")
    assert (await refusal_of(bench.undo(UNDO_CALL._replace(run="run-2")))).reason == "OTHER_RUN"
    assert await bench.total() == 1


async def test_another_request_in_the_same_step_is_a_mismatch(bench: RunningLedger):
    await bench.act()
    assert (await refusal_of(bench.act(request=put("a", 2)))).reason == "PAYLOAD_MISMATCH"
    assert await bench.total() == 1


async def test_what_was_purged_is_forgotten_and_never_empty(tmp_path: Path):
    async with opened(tmp_path) as bench:
        bench.query("UPDATE sagagen_meta SET value = 2000 WHERE name = 'purged_through_ms'")
    async with opened(tmp_path) as bench:
        undo = await refusal_of(bench.undo(UNDO_CALL._replace(started_ms=2_000)))
        assert (undo.code, undo.reason) == (Code.FAILED_PRECONDITION, "FORGOTTEN")
        await bench.undo(UNDO_CALL._replace(started_ms=2_001))
        assert bench.states() == {("put", "compensation"): "EMPTY"}


async def test_an_invalid_request_is_refused_unless_it_was_done_before(bench: RunningLedger):
    too_much = put("a", 1_000_000)
    assert (await refusal_of(bench.act(request=too_much))).code is Code.INVALID_ARGUMENT
    assert bench.states() == {}
    assert (await refusal_of(bench.direct("key", too_much))).code is Code.INVALID_ARGUMENT


async def test_an_unexpected_exception_rolls_back_and_is_logged_with_its_saga(
    bench: RunningLedger, log_lines: list[EventDict]
):
    async def fail(request: PutRequest, call: CallContext) -> PutResponse:
        await insert(request, call)
        raise KeyError("customer 4711")

    bench.ledger.on_put = fail
    error = await refusal_of(bench.act())
    assert (error.code, error.is_ours) == (Code.INTERNAL, False)
    assert "4711" not in str(error)
    assert bench.states() == {}
    assert await bench.total() == 0
    (line,) = [line for line in log_lines if line["log_level"] == "error"]
    assert (line["saga_id"], line["step"]) == ("saga-1", "put")


async def test_a_handler_can_not_pass_on_a_ruling_or_refusal_of_another_service(bench: RunningLedger):
    async def pass_on(request: PutRequest, call: CallContext) -> PutResponse:
        raise refused("ELSEWHERE", "no", domain="other")

    async def pass_on_ruling(request: PutRequest, call: CallContext) -> PutResponse:
        raise RpcError(Code.ABORTED, "no", reason="OTHER_RUN", domain="sagagen")

    bench.ledger.on_put = pass_on
    assert not (await refusal_of(bench.act())).is_refusal
    bench.ledger.on_put = pass_on_ruling
    error = await refusal_of(bench.act())
    assert (error.code, error.reason, error.is_ours) == (Code.ABORTED, "OTHER_RUN", False)
    assert bench.states() == {}


async def test_a_handler_that_cancels_itself_is_an_error_and_not_the_end_of_the_call(bench: RunningLedger):
    async def give_up(request: PutRequest, call: CallContext) -> PutResponse:
        raise asyncio.CancelledError

    bench.ledger.on_put = give_up
    assert (await refusal_of(bench.act())).code is Code.INTERNAL


async def test_a_direct_write_with_a_key_happens_once(bench: RunningLedger):
    first = await bench.direct("key")
    again = await bench.direct("key")
    assert again.response == first.response
    assert again.trailers == {REPLAYED: "true"}
    assert (await refusal_of(bench.direct("key", put("a", 9)))).reason == "PAYLOAD_MISMATCH"
    await bench.direct("other key", put("a", 9))
    assert await bench.total() == 10
    sagas = [saga for (saga,) in bench.query("SELECT saga FROM sagagen_barrier")]
    assert len(sagas) == 2
    assert all(saga.startswith("direct:") for saga in sagas)


async def test_a_direct_write_without_a_key_passes_the_barrier_by(bench: RunningLedger):
    await bench.direct()
    await bench.direct(request=put("a", 2))
    assert await bench.total() == 3
    assert bench.states() == {}


async def test_a_direct_refusal_is_told_again(bench: RunningLedger):
    bench.ledger.on_put = decline
    first = await refusal_of(bench.direct("key"))
    bench.ledger.on_put = insert
    again = await refusal_of(bench.direct("key"))
    assert (again.reason, again.message) == (first.reason, first.message)
    assert again.metadata[REPLAYED] == "true"


async def test_rows_keep_the_trace_they_belong_to(bench: RunningLedger):
    trace = "0af7651916cd43dd8448eb211c80319c"
    metadata = {**ACT.to_metadata(), "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    await bench.host.handle(PUT.path, put(), metadata, 10.0)
    assert bench.query("SELECT trace_id, run, started_ms, not_after_ms FROM sagagen_barrier") == [
        (trace, "run-1", 1_000, LATER_MS)
    ]


async def test_handlers_know_their_call(bench: RunningLedger):
    seen: list[tuple[str, str, str, int, bool]] = []

    async def note(request: PutRequest, call: CallContext) -> PutResponse:
        seen.append((call.saga_id, call.step, call.idempotency_key, call.attempt, call.is_repeat))
        return PutResponse()

    bench.ledger.on_put = note
    await bench.act(ACT._replace(attempt=3))
    await bench.direct("key")
    assert seen == [("saga-1", "put", "saga-1/put/action", 3, True), ("", "", "key", 1, False)]


async def test_a_read_sees_one_state_and_nothing_uncommitted(bench: RunningLedger):
    await bench.direct(request=put("a", 1))
    bench.ledger.on_put = write = Turnstile()
    looked, committed = asyncio.Event(), asyncio.Event()
    totals: list[int] = []

    async def look_twice(call: CallContext) -> PutResponse:
        for _ in range(2):
            rows = await call.db.fetch("SELECT sum(amount) FROM entries")
            totals.append(rows[0][0])
            looked.set()
            await committed.wait()
        return PutResponse()

    writing = asyncio.create_task(bench.direct(request=put("b", 10)))
    await write.entered.wait()
    bench.ledger.on_get = look_twice
    reading = asyncio.create_task(bench.host.handle(GET.path, b"", {}, 10.0))
    await looked.wait()
    write.released.set()
    await writing
    committed.set()
    await reading
    assert totals[0] == totals[1] == 1
    bench.ledger.on_get = None
    assert await bench.total() == 11


async def test_a_read_can_not_write(bench: RunningLedger):
    async def write(call: CallContext) -> PutResponse:
        await call.db.execute("INSERT INTO entries VALUES ('x', 1)")
        return PutResponse()

    bench.ledger.on_get = write
    assert (await refusal_of(bench.host.handle(GET.path, b"", {}, 10.0))).code is Code.INTERNAL
    bench.ledger.on_get = None
    assert await bench.total() == 0
