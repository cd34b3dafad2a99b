"""For any legal saga and any crash: resuming reaches the same end, with each effect at most once, all or nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from crashing_log import CrashingLog
from engine_world import World, engine
from grpclib.const import Status as Code
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mesh import RETRY, SAGA_ID, ManualClock, acceptance, saga, step
from thorough import FUZZ_ROUNDS

from sagagen.runtime.model.definition import Direction, Retry, Saga, Step, StepKind
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.history import History

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
MAX_LIVES = 12


@dataclass(frozen=True)
class Crash:
    """Where a process dies: at its n-th durable commit, or around its n-th call."""

    where: str
    after: int


@dataclass
class Countdown:
    """True once, at the n-th question; never if there is no such crash."""

    crash: Crash | None
    where: str
    asked: int = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.crash is not None and self.crash.where == self.where and self.asked == self.crash.after


@dataclass
class DyingNetwork:
    """Calls pass to the world, until the process dies before or after one of them."""

    world: World
    log: CrashingLog
    before: Countdown
    after: Countdown

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        if self.log.dead.is_set() or self.before():
            await self._die()
        try:
            outcome = await self.world.call(path, request, metadata=metadata, timeout_s=timeout_s)
        except RpcError as error:
            outcome = error
        if self.after():
            await self._die()
        if isinstance(outcome, RpcError):
            raise outcome
        return outcome

    async def _die(self) -> None:
        self.log.kill()
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Story:
    """A saga, what its services do, and where its processes die."""

    steps: tuple[Step, ...]
    faults: Mapping[tuple[str, Direction], list[str | RpcError]]
    declines: frozenset[str]
    crashes: tuple[Crash, ...]
    respond_after: str
    survivors: tuple[bool, ...]
    outage_s: float = 1.0
    """How long it takes until the next process is there."""
    deadline_s: float = 86400.0

    def definition(self) -> Saga:
        return saga(*self.steps, respond_after=self.respond_after, deadline_s=self.deadline_s)


FAULTS: st.SearchStrategy[list[str | RpcError]] = st.lists(
    st.sampled_from(
        [
            "lost",
            "down",
            RpcError(Code.INTERNAL, "the handler failed"),
            RpcError(Code.RESOURCE_EXHAUSTED, "busy", retry_after_s=0.5),
        ]
    ),
    max_size=3,
)


@st.composite
def legal_steps(draw: st.DrawFn) -> tuple[Step, ...]:
    before = [
        step(f"s{n}", is_compensated=kind != "plain", is_read=kind == "read")
        for n, kind in enumerate(
            draw(st.lists(st.sampled_from(["full", "full", "plain", "read"]), max_size=3))
        )
    ]
    pivot = [step("pivot", StepKind.PIVOT)] if draw(st.booleans()) else []
    after = [step(f"r{n}", StepKind.RETRIABLE) for n in range(draw(st.integers(0, 2)))] if pivot else []
    return (*before, *pivot, *after) or (step("only"),)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    steps = draw(legal_steps())
    directions = [(each.name, direction) for each in steps for direction in (ACTION, COMPENSATION)]
    may_decline = [each.name for each in steps if each.kind is not StepKind.RETRIABLE]
    crash = st.builds(Crash, st.sampled_from(["commit", "before call", "after call"]), st.integers(1, 8))
    return Story(
        steps=steps,
        faults={key: draw(FAULTS) for key in directions},
        declines=frozenset(draw(st.sets(st.sampled_from(may_decline), max_size=1)) if may_decline else ()),
        crashes=tuple(draw(st.lists(crash, max_size=4))),
        respond_after=draw(st.sampled_from(["completion", "acceptance", *(each.name for each in steps)])),
        survivors=tuple(draw(st.lists(st.booleans(), min_size=1, max_size=8))),
    )


async def live(
    story: Story, log: CrashingLog, world: World, clock: ManualClock, crash: Crash | None, *, is_first: bool
) -> None:
    """One process, from its start to its death or to the end of the saga."""
    network = DyingNetwork(world, log, Countdown(crash, "before call"), Countdown(crash, "after call"))
    definition = story.definition()
    async with engine(definition, log, network, clock, grace_s=0.0) as running:
        accepting = asyncio.create_task(running.accept(acceptance(definition))) if is_first else None
        ends = [asyncio.create_task(event.wait()) for event in (log.dead, log.over)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in [*ends, *([accepting] if accepting else [])]:
            task.cancel()


async def tell(story: Story) -> tuple[History, World]:
    """Live as often as needed, and give the history at the end."""
    clock = ManualClock()
    world = World(clock, faults=story.faults, declines=story.declines)
    survivors = iter(story.survivors * 1000)
    crashes = iter(story.crashes)
    log = CrashingLog()
    result = None
    for _life in range(MAX_LIVES):
        crash = next(crashes, None)
        log = log.after_crash(lambda: next(survivors), Countdown(crash, "commit"))
        clock.advance(story.outage_s)
        if not log.over.is_set():
            await live(story, log, world, clock, crash, is_first=SAGA_ID not in log.sagas)
        history = log.history(SAGA_ID) if SAGA_ID in log.sagas else None
        if history and result:
            assert history.result == result, "a result never changes"
        result = history.result if history else None
        if history and history.status not in (SagaStatus.RUNNING, SagaStatus.COMPENSATING):
            return history, world
    raise AssertionError("the saga does not end")


def check(story: Story, history: History, world: World) -> None:
    done, undone = world.done(ACTION), world.done(COMPENSATION)
    assert len(set(world.effects)) == len(world.effects), "each effect at most once"
    names = [each.name for each in story.steps]
    if history.status is SagaStatus.COMPLETED:
        assert (done, undone) == (names, [])
    else:
        assert history.status is SagaStatus.COMPENSATED
        undoable = [name for name in done if any(s.name == name and s.compensation for s in story.steps)]
        assert undone == undoable[::-1], "everything undone, last one first"
        assert not any(s.name in done and s.kind is not StepKind.COMPENSATABLE for s in story.steps)
    assert history.result is not None


@settings(max_examples=50 * FUZZ_ROUNDS)
@given(stories())
def test_any_saga_resumes_after_any_crash_to_the_same_end(story: Story) -> None:
    history, world = asyncio.run(tell(story))
    check(story, history, world)
    # Deadline and attempts never decide in these stories: only a service's "no" does.
    expected = SagaStatus.COMPENSATED if story.declines else SagaStatus.COMPLETED
    assert history.status is expected


@st.composite
def impatient_stories(draw: st.DrawFn) -> Story:
    story = draw(stories())
    attempts = draw(st.integers(1, 3))
    hasty = replace(RETRY, max_attempts=attempts, initial_s=0.01)
    steps = tuple(
        replace(each, action=replace(each.action, retry=hasty))
        if each.kind is StepKind.COMPENSATABLE
        else each
        for each in story.steps
    )
    deadline_s, outage_s = draw(st.sampled_from([1.0, 10.0])), draw(st.sampled_from([0.1, 5.0]))
    return replace(story, steps=steps, deadline_s=deadline_s, outage_s=outage_s)


@settings(max_examples=30 * FUZZ_ROUNDS)
@given(impatient_stories())
def test_where_attempts_or_time_run_out_it_is_still_all_or_nothing(story: Story) -> None:
    history, world = asyncio.run(tell(story))
    check(story, history, world)


def cut_everywhere(
    respond_after: str, declines: frozenset[str] = frozenset(), retry: Retry = RETRY, outage_s: float = 1.0
) -> set[SagaStatus]:
    """Die at each durable commit and around each call in turn, and lose all that rides along, or keep it."""
    steps = (
        step("one"),
        step("look", is_read=True),
        step("two", retry=retry),
        step("pivot", StepKind.PIVOT),
        step("after", StepKind.RETRIABLE),
    )
    faults: dict[tuple[str, Direction], list[str | RpcError]] = {
        ("two", ACTION): ["lost"],
        ("one", COMPENSATION): ["lost"],
    }
    ends: set[SagaStatus] = set()
    for where, after in product(("commit", "before call", "after call"), range(1, 10)):
        for survives in (False, True):
            crash = Crash(where, after)
            story = Story(steps, faults, declines, (crash,), respond_after, (survives,), outage_s, 60.0)
            history, world = asyncio.run(tell(story))
            check(story, history, world)
            ends.add(history.status)
    return ends


def test_a_completed_saga_completes_wherever_it_is_cut() -> None:
    assert cut_everywhere("one") == {SagaStatus.COMPLETED}


def test_a_refused_pivot_is_undone_wherever_it_is_cut() -> None:
    assert cut_everywhere("completion", frozenset({"pivot"})) == {SagaStatus.COMPENSATED}


def test_a_saga_whose_attempts_are_used_up_is_undone_wherever_it_is_cut() -> None:
    # A restart may grant a step in doubt one more attempt, and that one may succeed.
    ends = cut_everywhere("completion", retry=replace(RETRY, max_attempts=1))
    assert ends == {SagaStatus.COMPENSATED, SagaStatus.COMPLETED}


def test_a_deadline_that_passes_while_nobody_is_there_leaves_nothing_half_done() -> None:
    assert cut_everywhere("completion", outage_s=100.0) == {SagaStatus.COMPENSATED, SagaStatus.COMPLETED}
