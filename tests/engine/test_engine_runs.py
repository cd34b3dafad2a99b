"""The engine on a real log, with services that keep the barrier's rules."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crashing_log import CrashingLog
from engine_world import PatientClock, World, engine
from grpclib.const import Status as Code
from small_mesh import RETRY, SAGA_ID, TRACE, ManualClock, Text, acceptance, saga, step, text, usual_saga
from structlog.testing import capture_logs
from waiting import eventually_async

from sagagen.runtime.engine.acceptance import accepted_row
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import Overloaded
from sagagen.runtime.identity import owner_digest
from sagagen.runtime.log.store import LogUnavailable, SagaLog
from sagagen.runtime.model.definition import Direction, Saga, StepKind
from sagagen.runtime.rpc.errors import ExpressionError, RpcError
from sagagen.runtime.rpc.transport import Reply, Transport
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.events import LogEvent, SagaStatus
from sagagen.runtime.saga.history import fold
from sagagen.runtime.saga.journal import UNCHANGED
from sagagen.runtime.saga.logged import SagaRef
from sagagen.runtime.saga.result import Succeeded, Superseded, Unsuccessful
from sagagen.runtime.saga.view import StepStatus
from sagagen.runtime.scope import Failure, Scope

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
SUCCESS = Succeeded(201, "test.v1.Text", text("answer to x"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def world(clock: ManualClock) -> World:
    return World(clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "saga-log.db"


@asynccontextmanager
async def process(
    path: Path, definition: Saga, world: Transport, clock: ManualClock, **options: object
) -> AsyncGenerator[tuple[EmbeddedEngine, SagaLog]]:
    async with SagaLog.open(path) as log, engine(definition, log, world, clock, **options) as running:
        yield running, log


async def run(path: Path, definition: Saga, world: World, clock: ManualClock) -> EmbeddedEngine:
    """One saga, from its acceptance until nothing is left to do."""
    async with process(path, definition, world, clock) as (running, _):
        await running.accept(acceptance(definition))
        await running.wait_until_idle()
        return running


async def status_of(running: EmbeddedEngine, saga_id: str = SAGA_ID) -> SagaStatus:
    view = await running.describe(saga_id)
    assert view is not None
    return view.status


async def test_a_saga_completes_with_one_commit_a_step(path: Path, world: World, clock: ManualClock) -> None:
    definition = usual_saga()
    async with process(path, definition, world, clock) as (running, log):
        started = await running.accept(acceptance(definition))
        assert (started.is_new, started.result, started.trace_id) == (True, None, TRACE.trace_id)
        assert await running.wait(SAGA_ID, 5) == SUCCESS
        await running.wait_until_idle()
        assert log.commits == 1 + len(definition.steps), (
            "acceptance and each step; the end is in the last step's"
        )
        assert running.running == 0
        assert await status_of(running) is SagaStatus.COMPLETED
    assert world.done(ACTION) == ["one", "two", "pivot", "after"]
    assert [call.attempt for call, _, _ in world.calls] == [1, 1, 1, 1]


async def test_calls_carry_the_barriers_metadata_and_the_sagas_trace(
    path: Path, world: World, clock: ManualClock
) -> None:
    world.faults = {("one", ACTION): ["lost", "down"]}
    started_ms = clock.ms
    await run(path, saga(step("one")), world, clock)
    calls = [call for call, _, _ in world.calls]
    assert [call.attempt for call in calls] == [1, 2, 3]
    assert {(call.run, call.started_ms, call.saga_id) for call in calls} == {
        (calls[0].run, started_ms, SAGA_ID)
    }
    assert {entries["idempotency-key"] for entries in world.metadata} == {f"{SAGA_ID}/one/action"}
    assert calls[0].not_after_ms == started_ms + 2000
    parents = [entries["traceparent"].split("-") for entries in world.metadata]
    assert {parent[1] for parent in parents} == {TRACE.trace_id}
    assert len({parent[2] for parent in parents} | {TRACE.span_id}) == 4, "a span an attempt"


async def test_a_refusal_is_answered_and_undone(path: Path, world: World, clock: ManualClock) -> None:
    world.declines = frozenset({"pivot"})
    definition = usual_saga()
    async with process(path, definition, world, clock) as (running, _):
        await running.accept(acceptance(definition))
        sold_out = Failure("FAILED_PRECONDITION", "SOLD_OUT", "none left", "pivot")
        assert await running.wait(SAGA_ID, 5) == Unsuccessful(sold_out, is_refused=True)
        await running.wait_until_idle()
        view = await running.describe(SAGA_ID)
    assert view is not None
    assert [(s.name, s.status) for s in view.steps] == [
        ("one", StepStatus.COMPENSATED),
        ("two", StepStatus.COMPENSATED),
        ("pivot", StepStatus.REFUSED),
        ("after", StepStatus.NOT_CALLED),
    ]
    assert view.steps[2].error == "FAILED_PRECONDITION: SOLD_OUT: none left"
    assert world.done(COMPENSATION) == ["two", "one"]
    undone = [request for call, request, _ in world.calls if call.direction is COMPENSATION]
    assert undone == [text("pivot:SOLD_OUT")] * 2


async def test_an_answer_leaves_with_its_step_and_is_replayed_as_it_was(
    path: Path, world: World, clock: ManualClock
) -> None:
    world.declines = frozenset({"two"})
    definition = usual_saga(respond_after="one")
    async with process(path, definition, world, clock) as (running, _):
        await running.accept(acceptance(definition))
        assert await running.wait(SAGA_ID, 5) == SUCCESS
        await running.wait_until_idle()
        replay = await running.accept(acceptance(definition, input="other"))
        assert (replay.is_new, replay.result, replay.status) == (False, SUCCESS, SagaStatus.COMPENSATED)
        assert replay.fingerprint == acceptance(definition).fingerprint
    async with process(path, definition, world, clock) as (running, _):
        assert (await running.accept(acceptance(definition))).result == SUCCESS
        assert await running.wait(SAGA_ID, 5) == SUCCESS
    assert world.done(ACTION) == ["one"]


async def test_a_failure_before_the_answering_step_is_answered_before_it_is_undone(
    path: Path, world: World, clock: ManualClock
) -> None:
    world.declines = frozenset({"two"})
    world.faults = {("one", COMPENSATION): ["down"] * 3}
    definition = usual_saga(respond_after="two")
    async with process(path, definition, world, clock) as (running, _):
        await running.accept(acceptance(definition))
        result = await running.wait(SAGA_ID, 5)
        assert isinstance(result, Unsuccessful)
        assert (result.failure.reason, result.is_refused) == ("SOLD_OUT", True)
        assert world.done(COMPENSATION) == []
        assert await status_of(running) is SagaStatus.COMPENSATING
        await running.wait_until_idle()
    assert world.done(COMPENSATION) == ["one"]


async def test_a_saga_that_nobody_waits_for_has_its_answer_at_its_end(
    path: Path, world: World, clock: ManualClock
) -> None:
    definition = usual_saga(respond_after="acceptance")
    async with process(path, definition, world, clock) as (running, _):
        started = await running.accept(acceptance(definition))
        assert started.result is None
        assert started.is_new
        assert await running.wait(SAGA_ID, 5) == SUCCESS
        assert (await status_of(running)) is SagaStatus.COMPLETED
        assert (await running.accept(acceptance(definition))).result == SUCCESS


async def test_twenty_duplicates_at_once_are_one_saga(path: Path, world: World, clock: ManualClock) -> None:
    definition = usual_saga()
    async with process(path, definition, world, clock) as (running, _):
        started = await asyncio.gather(*(running.accept(acceptance(definition)) for _ in range(20)))
        assert [each.is_new for each in started].count(True) == 1
        results = await asyncio.gather(*(running.wait(SAGA_ID, 5) for _ in range(20)))
        assert set(results) == {SUCCESS}
    assert world.done(ACTION) == ["one", "two", "pivot", "after"]


async def test_a_client_that_hangs_up_changes_nothing(path: Path, world: World, clock: ManualClock) -> None:
    definition = usual_saga()
    async with process(path, definition, world, clock) as (running, log):
        ids = [f"{n:032}" for n in range(50)]
        clients = [asyncio.create_task(running.accept(acceptance(definition, each))) for each in ids]
        await asyncio.sleep(0)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await running.wait_until_idle()
        heads = [await log.head(each) for each in ids]
    assert {head.status for head in heads if head} == {SagaStatus.COMPLETED}
    assert len(world.effects) == 50 * 4


async def test_a_deadline_cuts_calls_short_and_then_turns_back(
    path: Path, world: World, clock: ManualClock
) -> None:
    world.faults = {("two", ACTION): ["down"] * 1000}
    await run(path, usual_saga(deadline_s=10.0), world, clock)
    timeouts = [
        timeout for call, _, timeout in world.calls if call.step == "two" and call.direction is ACTION
    ]
    assert timeouts[0] == 2.0
    assert 0 < timeouts[-1] < 2.0
    # The test's wall clock loses a fraction of a millisecond at each sleep.
    assert clock.monotonic - 1000 > 9.999
    assert (world.done(ACTION), world.done(COMPENSATION)) == (["one"], ["one"])
    assert world.calls[-1][1] == text("two:SAGA_DEADLINE_EXCEEDED")


async def test_the_deadline_neither_ends_nor_shortens_a_pivot_that_was_attempted(
    path: Path, world: World, clock: ManualClock
) -> None:
    world.faults = {("pivot", ACTION): ["down"] * 30, ("after", ACTION): ["down"] * 30}
    await run(path, usual_saga(deadline_s=5.0), world, clock)
    assert world.done(ACTION) == ["one", "two", "pivot", "after"]
    assert {timeout for _, _, timeout in world.calls} == {2.0}


async def test_a_spent_budget_is_stuck_and_stays_so_over_a_restart(
    path: Path, world: World, clock: ManualClock
) -> None:
    declined = RpcError(Code.FAILED_PRECONDITION, "no", reason="NOT_NOW", domain="one")
    world.declines = frozenset({"two"})
    world.faults = {("one", COMPENSATION): [declined] * 100_000}
    definition = usual_saga()
    async with process(path, definition, world, clock) as (running, _):
        await running.accept(acceptance(definition))
        assert await running.wait(SAGA_ID, 60) is None, "nothing left to wait for"
        await running.wait_until_idle()
        view = await running.describe(SAGA_ID)
        assert view is not None
        assert (view.status, view.steps[0].status) == (SagaStatus.STUCK, StepStatus.STUCK)
        assert view.steps[0].error == "FAILED_PRECONDITION: NOT_NOW: no"
        assert (view.steps[0].attempts, view.steps[0].compensation_attempts > 100) == (1, True)
    first_failure = next(call.not_after_ms for call, _, _ in world.calls if call.direction is COMPENSATION)
    assert 3599 <= (clock.ms - first_failure + 2000) / 1000 < 3631
    calls = len(world.calls)
    async with process(path, definition, world, clock) as (running, _):
        assert running.running == 0
        assert await status_of(running) is SagaStatus.STUCK
    assert len(world.calls) == calls


class Counted(World):
    """Lets a test wait for a number of calls."""

    def __init__(self, clock: ManualClock, **options: Any) -> None:
        super().__init__(clock, **options)
        self.counted = asyncio.Semaphore(0)

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        self.counted.release()
        return await super().call(path, request, metadata=metadata, timeout_s=timeout_s)


async def test_a_restart_does_not_renew_a_budget(path: Path, world: World, clock: ManualClock) -> None:
    world.faults = {("after", ACTION): ["down"] * 100_000}
    hasty = replace(RETRY, initial_s=100.0, max_s=100.0, give_up_after_s=1000.0)
    definition = saga(step("pivot", StepKind.PIVOT), step("after", StepKind.RETRIABLE, retry=hasty))
    counted = Counted(clock, faults=world.faults)
    async with process(path, definition, counted, clock) as (running, _):
        await running.accept(acceptance(definition))
        for _ in range(6):
            await counted.counted.acquire()
    first_ms = counted.calls[1][0].not_after_ms - 2000
    clock.advance(3000.0)
    before = len(counted.calls)
    async with process(path, definition, counted, clock) as (running, _):
        await running.wait_until_idle()
        assert await status_of(running) is SagaStatus.STUCK
    assert clock.ms - first_ms > 3_000_000
    assert len(counted.calls) == before + 1, "its time was up when the process came back, but for one attempt"


async def test_a_compensation_whose_budget_passed_while_no_process_ran_is_tried_before_it_is_stuck(
    path: Path, clock: ManualClock
) -> None:
    """It became STUCK at the start without one attempt, although its service was back."""
    world = Counted(clock, faults={("one", COMPENSATION): ["down"] * 6}, declines=frozenset({"two"}))
    definition = saga(step("one"), step("two"))
    async with process(path, definition, world, clock) as (running, _):
        await running.accept(acceptance(definition))
        for _ in range(6):  # the two steps, and the compensation four times
            await world.counted.acquire()
    clock.advance(2 * 3600.0)
    world.faults = {}
    async with process(path, definition, world, clock) as (running, _):
        await running.wait_until_idle()
        assert await status_of(running) is SagaStatus.COMPENSATED


async def test_requests_are_sent_as_logged_also_after_a_deployment(
    path: Path, world: World, clock: ManualClock
) -> None:
    def made_by(code: str) -> Saga:
        return saga(step("one"), step("two", request=lambda scope: Text(value=f"made by {code}")))

    reached, hang = asyncio.Event(), asyncio.Event()

    class Hanging(World):
        async def call(
            self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
        ) -> Reply:
            if path.endswith("two") and not hang.is_set():
                reached.set()
                await hang.wait()
            return await super().call(path, request, metadata=metadata, timeout_s=timeout_s)

    hanging = Hanging(clock)
    async with process(path, made_by("old code"), hanging, clock, grace_s=0.0) as (running, _):
        await running.accept(acceptance(made_by("old code")))
        await reached.wait()
    hang.set()
    async with process(path, made_by("new code"), hanging, clock) as (running, _):
        await running.wait_until_idle()
        assert await status_of(running) is SagaStatus.COMPLETED
    assert [request for call, request, _ in hanging.calls if call.step == "two"] == [text("made by old code")]


@pytest.mark.parametrize("other", ["version", "digest"])
async def test_a_saga_whose_definition_is_missing_waits_and_says_for_what(
    path: Path, clock: ManualClock, other: str
) -> None:
    old = usual_saga()
    new = replace(old, version=2) if other == "version" else replace(old, digest="d2")
    world, reached = await leave_running(path, old, clock)
    async with process(path, new, world, clock) as (running, _):
        assert running.running == 0
        view = await running.describe(SAGA_ID)
        assert view is not None
        assert view.status is SagaStatus.RUNNING
        assert "saga place version 1" in view.waiting_for
        assert (await running.accept(acceptance(new))).status is SagaStatus.RUNNING
        assert await running.wait(SAGA_ID, 60) is None
    async with process(path, old, world, clock) as (running, _):
        await running.wait_until_idle()
        assert await status_of(running) is SagaStatus.COMPLETED
    assert reached.is_set()


class Held(World):
    """The first call waits until it is let go."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.at_once = 0
        self.most_at_once = 0

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        self.reached.set()
        try:
            await self.go.wait()
            return await super().call(path, request, metadata=metadata, timeout_s=timeout_s)
        finally:
            self.at_once -= 1


async def leave_running(path: Path, definition: Saga, clock: ManualClock) -> tuple[Held, asyncio.Event]:
    """Stop a process in the middle of a saga's first call."""
    world = Held(clock)
    async with process(path, definition, world, clock, grace_s=0.0) as (running, _):
        await running.accept(acceptance(definition))
        await world.reached.wait()
    world.go.set()
    return world, world.reached


async def test_draining_lets_a_call_under_way_finish_and_starts_no_other(
    path: Path, clock: ManualClock
) -> None:
    definition, world = usual_saga(), Held(clock)
    async with process(path, definition, world, clock) as (running, _):
        await running.accept(acceptance(definition))
        await world.reached.wait()
        running.stop_accepting()
        assert await running.check() == "it is stopping"
        with pytest.raises(Overloaded):
            await running.accept(acceptance(definition, "another"))
        assert not (await running.accept(acceptance(definition))).is_new, "duplicates are still told"
        waiting = asyncio.create_task(running.wait(SAGA_ID, 60))
        world.go.set()
        assert await waiting is None
    assert world.done(ACTION) == ["one"]
    async with process(path, definition, world, clock) as (running, _):
        await running.wait_until_idle()
    assert world.done(ACTION) == ["one", "two", "pivot", "after"]
    assert [call.step for call, _, _ in world.calls].count("one") == 1, "its outcome was logged"


async def test_draining_ends_a_backoff_at_once(path: Path) -> None:
    clock = PatientClock()
    world = World(clock, faults={("one", ACTION): ["down"]})
    definition = usual_saga()
    async with process(path, definition, world, clock) as (running, _):
        await running.accept(acceptance(definition))
        await clock.waits.wait()
    assert [call.attempt for call, _, _ in world.calls] == [1]


async def test_a_command_that_comes_while_a_call_waits_for_its_turn_goes_first(
    path: Path, clock: ManualClock
) -> None:
    definition, world = usual_saga(), Held(clock)
    async with process(path, definition, world, clock, calls_per_service=1) as (running, _):
        await running.accept(acceptance(definition, "under-way"))
        await world.reached.wait()
        await running.accept(acceptance(definition, "waiting"))
        cancelling = asyncio.create_task(running.command("waiting", OperatorCommand(Act.CANCEL, "ann", "")))
        await asyncio.sleep(0.1)
        world.go.set()
        await cancelling
        await running.wait_until_idle()
        assert await status_of(running, "waiting") is SagaStatus.COMPENSATED
    assert "waiting" not in {call.saga_id for call, _, _ in world.calls}, "nothing of it was begun"


async def test_overload_is_refused_early_and_replays_pass(path: Path, clock: ManualClock) -> None:
    definition, world = usual_saga(), Held(clock)
    async with process(path, definition, world, clock, max_running=2) as (running, _):
        await running.accept(acceptance(definition, "a"))
        await running.accept(acceptance(definition, "b"))
        with pytest.raises(Overloaded) as refused:
            await running.accept(acceptance(definition, "c"))
        assert refused.value.retry_after_s > 0
        assert not (await running.accept(acceptance(definition, "a"))).is_new
        world.go.set()
        await running.wait_until_idle()
        assert (await running.accept(acceptance(definition, "c"))).is_new


async def test_the_engine_limits_its_own_calls_to_a_service(path: Path, clock: ManualClock) -> None:
    definition, world = saga(step("one")), Held(clock)
    async with process(path, definition, world, clock, calls_per_service=3) as (running, _):
        await asyncio.gather(*(running.accept(acceptance(definition, f"s{n}")) for n in range(20)))
        world.go.set()
        await running.wait_until_idle()
    assert (world.most_at_once, len(world.effects)) == (3, 20)


@pytest.mark.parametrize(("value", "is_other_payload"), [("x", False), ("y", True)])
async def test_two_gateways_with_one_key_are_two_runs_and_one_set_of_effects(
    tmp_path: Path, world: World, clock: ManualClock, value: str, is_other_payload: bool
) -> None:
    definition = usual_saga(respond_after="one")
    async with (
        process(tmp_path / "a.db", definition, world, clock) as (first, _),
        process(tmp_path / "b.db", definition, world, clock) as (second, _),
    ):
        await first.accept(acceptance(definition))
        await first.wait_until_idle()
        await second.accept(acceptance(definition, input=value))
        owner_run = owner_digest(SAGA_ID, world.calls[0][0].run)
        assert await second.wait(SAGA_ID, 5) == Superseded(owner_run, is_other_payload)
        await second.wait_until_idle()
        assert await status_of(first) is SagaStatus.COMPLETED
        assert await status_of(second) is SagaStatus.SUPERSEDED
    assert [effect.step for effect in world.effects] == ["one", "two", "pivot", "after"]


def overflow(_: Scope[Text]) -> Text:
    raise ExpressionError("12345678901 is no int32")


def huge(_: Scope[Text]) -> Text:
    return Text(value="x" * (5 << 20))


def broken(_: Scope[Text]) -> Text:
    raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize("request_function", [overflow, huge, broken])
@pytest.mark.parametrize("is_first", [False, True])
async def test_a_request_that_cannot_be_built_is_not_called_and_turns_back(
    path: Path, world: World, clock: ManualClock, request_function: object, is_first: bool
) -> None:
    bad = step("bad", request=request_function)  # pyright: ignore[reportArgumentType]
    await run(path, saga(bad) if is_first else saga(step("one"), bad), world, clock)
    assert "bad" not in world.done(ACTION) + world.done(COMPENSATION)
    assert world.done(COMPENSATION) == ([] if is_first else ["one"])


async def test_a_transport_that_breaks_leaves_doubt_and_no_traceback_in_the_saga(
    path: Path, clock: ManualClock
) -> None:
    class Broken(World):
        async def call(
            self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
        ) -> Reply:
            reply = await super().call(path, request, metadata=metadata, timeout_s=timeout_s)
            if len(self.calls) == 1:
                raise OSError("wire cut")
            return reply

    broken_one = Broken(clock)
    await run(path, saga(step("one")), broken_one, clock)
    assert broken_one.done(ACTION) == ["one"]
    assert len(broken_one.calls) == 2


async def test_a_mistake_of_ours_stops_one_saga_alone_and_is_shown(
    path: Path, world: World, clock: ManualClock
) -> None:
    good = usual_saga(respond_after="one")
    no_number: Any = "soon"
    first = good.calls[0]
    broken = replace(first, action=replace(first.action, timeout_s=no_number))
    bad = replace(good, version=2, steps=(broken, *good.steps[1:]))
    async with process(path, good, world, clock) as (running, _):
        await running.accept(acceptance(bad, "bad"))
        await running.accept(acceptance(good, "good"))
        await running.wait_until_idle()
        assert await status_of(running, "good") is SagaStatus.COMPLETED
        found = await running.find("bad")
        assert found
        (stuck,) = fold(found.rows).stuck.values()
        assert (stuck.failure.reason, stuck.failure.step) == ("ENGINE_ERROR", "one")


async def test_a_clock_that_was_set_back_does_not_grant_the_deadline_anew(
    path: Path, clock: ManualClock, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    definition = usual_saga(deadline_s=60.0)
    world, _ = await leave_running(path, definition, clock)
    clock.ms -= 3_600_000
    async with process(path, definition, world, clock) as (running, _):
        await running.wait_until_idle()
        view = await running.describe(SAGA_ID)
    assert view is not None
    assert view.updated_at_ms >= view.created_at_ms
    assert "the clock is behind the saga log" in capsys.readouterr().out + caplog.text


async def test_three_hundred_sagas_under_way_are_resumed(path: Path, clock: ManualClock) -> None:
    definition, world = usual_saga(), Held(clock)
    async with process(path, definition, world, clock, grace_s=0.0, calls_per_service=300) as (running, log):
        for first in range(0, 300, 100):  # more at once would be refused: they would be in each other's way
            batch = (running.accept(acceptance(definition, f"s{n}")) for n in range(first, first + 100))
            await asyncio.gather(*batch)
            await eventually_async("their first calls", lambda n=first + 100: world.at_once == n)
        assert log.commits < 30
    world.go.set()
    async with process(path, definition, world, clock) as (running, log):
        assert running.running == 300
        await running.wait_until_idle()
        assert log.commits < 300
    assert len(world.effects) == len(set(world.effects)) == 1200


async def test_a_services_wish_to_be_left_alone_is_honoured(
    path: Path, world: World, clock: ManualClock
) -> None:
    busy = RpcError(Code.RESOURCE_EXHAUSTED, "busy", retry_after_s=7.0)
    world.faults = {("one", ACTION): [busy] * 4}
    definition = saga(step("one", retry=replace(RETRY, max_attempts=1)))
    started_ms = clock.ms
    await run(path, definition, world, clock)
    assert world.done(ACTION) == ["one"], "an exhausted service costs no attempt"
    assert clock.ms - started_ms >= 4 * 7000


async def test_an_acceptance_that_the_disk_kept_although_it_failed_is_taken_up_by_its_repeat(
    path: Path, world: World, clock: ManualClock
) -> None:
    definition = usual_saga()
    async with SagaLog.open(path) as log:
        running = engine(definition, log, world, clock)
        async with running:
            row = accepted_row(acceptance(definition), clock.ms, "0123456789abcdef")
            await log.accept(row)
            started = await running.accept(acceptance(definition))
            assert not started.is_new
            assert await running.wait(SAGA_ID, 5) is not None
            await running.wait_until_idle()
    assert {call.run for call, _, _ in world.calls} == {row.run}


async def test_an_acceptance_that_cannot_be_written_fails_alone(
    path: Path, world: World, clock: ManualClock
) -> None:
    definition = usual_saga()
    async with process(path, definition, world, clock) as (running, _):
        with pytest.raises(UnicodeEncodeError):
            await running.accept(replace(acceptance(definition, "bad"), caller="\ud800"))
        await running.accept(acceptance(definition))
        await running.wait_until_idle()
        assert await status_of(running) is SagaStatus.COMPLETED


class FlakyLog(CrashingLog):
    """Says twice that nothing can be written, whenever something must be durable."""

    failures = 0

    async def append(
        self,
        ref: SagaRef,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None:
        self.failures += 1
        if self.failures % 3:
            raise LogUnavailable("disk full")
        await super().append(ref, rows, status, wake_ms, at_steps)


async def test_a_transition_that_cannot_be_written_is_written_later_as_it_is(
    world: World, clock: ManualClock
) -> None:
    world.declines = frozenset({"pivot"})
    definition, log = usual_saga(), FlakyLog()
    async with engine(definition, log, world, clock) as running:
        await running.accept(acceptance(definition))
        await running.wait_until_idle()
    assert log.history(SAGA_ID).status is SagaStatus.COMPENSATED
    assert len(world.calls) == 5, "no call is repeated for it"


async def test_an_engine_needs_a_way_to_each_service(path: Path, world: World, clock: ManualClock) -> None:
    definition = saga(step("one", service="elsewhere"))
    async with SagaLog.open(path) as log:
        with pytest.raises(ValueError, match="elsewhere"):
            engine(definition, log, world, clock)


async def test_a_clock_behind_the_log_is_reported(path: Path, world: World, clock: ManualClock) -> None:
    definition = usual_saga()
    await run(path, definition, world, clock)
    last_ms = clock.ms
    clock.ms -= 3_600_000
    with capture_logs() as said:
        async with process(path, definition, world, clock):
            pass
    (warning,) = [line for line in said if line["log_level"] == "warning"]
    assert warning["event"] == "the clock is behind the saga log"
    assert (warning["clock_ms"], warning["log_ms"]) == (clock.ms, last_ms)


async def test_the_line_of_a_stuck_saga_has_fields_and_no_repr(
    path: Path, world: World, clock: ManualClock
) -> None:
    def not_built(scope: Scope[Text]) -> Text:
        raise ExpressionError("items[9]: the index is out of range")

    definition = saga(step("pivot", StepKind.PIVOT), step("after", StepKind.RETRIABLE, request=not_built))
    with capture_logs() as lines:
        await run(path, definition, world, clock)
    (line,) = [line for line in lines if line["event"] == "a saga is stuck"]
    assert line == {
        "event": "a saga is stuck",
        "log_level": "error",
        "saga_id": SAGA_ID,
        "saga": "place",
        "step": "after",
        "direction": "action",
        "code": "OUT_OF_RANGE",
        "reason": "REQUEST_NOT_BUILT",
        "error": "items[9]: the index is out of range",
    }
