"""Sagas on Restate, with the journal cut after every single entry and taken up by another attempt."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest
from engine_world import World
from grpclib.const import Status as Code
from restate_fake import FakeAttempt, Journal
from restate_runtime import TimedRestateJournal
from small_mesh import RETRY, ManualClock, Text, acceptance, method, saga, step, usual_saga
from test_structure import PIVOT, RETRIABLE, WAIT, block, delivery, event, loop
from test_structure import no as says_no

from sagagen.runtime.engine.acceptance import accepted_row
from sagagen.runtime.engine.calls import Calls
from sagagen.runtime.engine.context import EngineContext
from sagagen.runtime.engine.port import CANCEL, OperatorCommand
from sagagen.runtime.engine.time import SagaTime
from sagagen.runtime.model.definition import Cancel, Decline, Delay, Direction, Saga, StepKind, Wait
from sagagen.runtime.restate.batch import RowBatch, to_bytes
from sagagen.runtime.restate.invocation import Gone, Mismatch
from sagagen.runtime.restate.orders import Order, order_to_bytes
from sagagen.runtime.restate.state import STATE, of_state
from sagagen.runtime.restate.workflow import SagaWorkflow
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.saga.commands import Act
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import Accepted, Resumed, SagaStatus
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.scope import EventScope

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
FORGOTTEN = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain=DOMAIN)
DONE, BACK = SagaStatus.COMPLETED, SagaStatus.COMPENSATED
Faults = Mapping[tuple[str, Direction], list[str | RpcError]]


@dataclass(frozen=True)
class Scenario:
    """What is planned, and how it has to end, wherever the journal is cut."""

    saga: Saga
    ends: SagaStatus = DONE
    faults: Faults | None = None
    declines: frozenset[str] = frozenset()
    orders: Sequence[Order] = ()
    input: str = "x"
    may_end: tuple[SagaStatus, ...] = ()
    """How else it may end where it is cut: the world's fault was met by the attempt that was cut."""


RETRY_IT = OperatorCommand(Act.RETRY, "ann")
CANCEL_IT = OperatorCommand(Act.CANCEL, "ann", "wrong order")
RESOLVE_IT = OperatorCommand(Act.RESOLVE, "ann", "by hand", "two")
HOUR = 3600.0


def by_value(scope: EventScope[Text, Text]) -> str:
    return scope.event.value


def anybody(scope: EventScope[Text, Text]) -> bool:
    return True


CANCELLING = Cancel(method("Cancel"), by_value, "TOOK_IT_BACK", allow=anybody)
WAITS = saga(step("first"), WAIT, step("last"), events=(event(),))
CANCELS = saga(step("first"), WAIT, step("last"), events=(event(),), cancel=CANCELLING)
PARALLEL = saga(step("first"), block("both", left=[step("l1"), step("l2")], right=[step("r1")]), step("last"))

SCENARIOS = {
    "straight": Scenario(usual_saga()),
    "answered at its first step": Scenario(usual_saga(respond_after="one")),
    "refused at first": Scenario(usual_saga(), BACK, declines=frozenset({"one"})),
    "refused later": Scenario(usual_saga(), BACK, declines=frozenset({"two"})),
    "refused at the pivot": Scenario(usual_saga(), BACK, declines=frozenset({"pivot"})),
    "answers are lost": Scenario(usual_saga(), faults={("one", ACTION): ["lost"], ("two", ACTION): ["lost"]}),
    "a service is away": Scenario(usual_saga(), faults={("two", ACTION): ["down"] * 2}),
    "undone at the third try": Scenario(
        usual_saga(), BACK, {("one", COMPENSATION): ["down"] * 2}, frozenset({"pivot"})
    ),
    "the pivot's answer is lost": Scenario(usual_saga(), faults={("pivot", ACTION): ["lost", "down"]}),
    "after the pivot a service is away": Scenario(usual_saga(), faults={("after", ACTION): ["down"] * 4}),
    "stuck, and retried": Scenario(usual_saga(), faults={("two", ACTION): [FORGOTTEN]}, orders=[RETRY_IT]),
    "stuck, and cancelled": Scenario(
        usual_saga(), BACK, {("two", ACTION): [FORGOTTEN]}, orders=[CANCEL_IT], may_end=(DONE,)
    ),
    "stuck on its way back": Scenario(
        usual_saga(), BACK, {("two", COMPENSATION): [FORGOTTEN] * 9}, frozenset({"pivot"}), [RESOLVE_IT]
    ),
    "stuck, refuses, and is retried": Scenario(
        usual_saga(), faults={("two", ACTION): [FORGOTTEN]}, orders=[RESOLVE_IT, RETRY_IT]
    ),
    "waits for an event": Scenario(WAITS, orders=[delivery()]),
    "its event declines it": Scenario(WAITS, BACK, orders=[delivery(value="no")]),
    "its event comes twice": Scenario(WAITS, orders=[delivery(), delivery()]),
    "its event never comes": Scenario(WAITS, BACK),
    "an event that nobody waits for": Scenario(WAITS, orders=[delivery("other"), delivery()]),
    "cancelled by its client": Scenario(CANCELS, BACK, orders=[replace(delivery(), event=CANCEL)]),
    "waits twice": Scenario(
        saga(
            WAIT,
            step("first"),
            Wait("second", PIVOT, "paid", within_s=600.0, decline=Decline(says_no, "SAID_NO")),
            step("last", RETRIABLE),
            events=(event(), event("paid")),
        ),
        orders=[delivery(), delivery("paid", key="k2")],
    ),
    "rests for an hour": Scenario(
        saga(
            step("first"),
            Delay("pause", StepKind.COMPENSATABLE, after_s=HOUR),
            step("last"),
            deadline_s=3 * HOUR,
        )
    ),
    "branches": Scenario(PARALLEL),
    "a branch is refused": Scenario(PARALLEL, BACK, declines=frozenset({"l2"})),
    "branches are undone": Scenario(PARALLEL, BACK, declines=frozenset({"last"})),
    "a loop": Scenario(saga(step("first"), loop("each"), step("last")), input="a b c"),
    "a loop is undone": Scenario(
        saga(step("first"), loop("each"), step("last")), BACK, declines=frozenset({"last"}), input="a b"
    ),
    "long back-off": Scenario(
        saga(step("first", retry=replace(RETRY, initial_s=50.0, max_s=50.0)), step("last"), deadline_s=HOUR),
        faults={("first", ACTION): ["down"] * 3},
    ),
}


class Run:
    """A scenario in a world, by any number of attempts on one journal."""

    def __init__(self, scenario: Scenario) -> None:
        self.clock = ManualClock()
        faults = {key: list(each) for key, each in (scenario.faults or {}).items()}
        self.world = World(self.clock, faults, scenario.declines)
        begun = acceptance(scenario.saga, input=scenario.input)
        row = accepted_row(begun, self.clock.ms, "0123456789abcdef")
        orders = deque(map(order_to_bytes, scenario.orders))
        self.journal = Journal(to_bytes(RowBatch([row])), self.clock, orders)
        self._definitions = Definitions([scenario.saga])

    async def attempt(self, cut: int | None = None) -> bool:
        """False if it was cut."""
        self.journal.cut = cut
        time = SagaTime(self.clock, 0, is_set=False)
        context: EngineContext[SagaWorkflow] = EngineContext(
            journal=TimedRestateJournal(self.clock),
            calls=Calls({"one": self.world}, clock=self.clock),
            time=time,
            random=Random(1),
            on_result=None,
            parks=True,
        )

        async def run() -> bool:
            try:
                await SagaWorkflow(FakeAttempt(self.journal), self._definitions, context).run()
            except Gone:
                return False
            return True

        async with asyncio.timeout(30):
            return await asyncio.create_task(run())

    @property
    def history(self) -> History:
        return fold(of_state(self.journal.state[STATE]).rows)


def check(run: Run, scenario: Scenario, where: str) -> None:
    history, world = run.history, run.world
    assert history.status in (scenario.ends, *scenario.may_end), where
    is_back = history.status is BACK
    done, undone = world.done(ACTION), world.done(COMPENSATION)
    assert len(done) == len(set(done)), f"{where}: an effect happened twice: {done}"
    assert len(undone) == len(set(undone)), f"{where}: an effect was undone twice: {undone}"
    by_hand = {"two"} if is_back and RESOLVE_IT in scenario.orders else set[str]()
    left = set(done) - set(undone) - by_hand
    assert left == (set() if is_back else set(done)), where
    assert isinstance(history.accepted, Accepted)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=[*SCENARIOS])
async def test_wherever_the_journal_is_cut_the_saga_ends_as_it_would(scenario: Scenario) -> None:
    whole = Run(scenario)
    assert await whole.attempt()
    check(whole, scenario, "uncut")
    assert not any(isinstance(row, Resumed) for row in of_state(whole.journal.state[STATE]).rows)
    for cut in range(whole.journal.entries):
        run = Run(scenario)
        assert not await run.attempt(cut), f"cut after {cut} entries"
        assert await run.attempt(), f"cut after {cut} entries"
        check(run, scenario, f"cut after {cut} entries of {whole.journal.commands}")


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=[*SCENARIOS])
async def test_a_saga_that_is_cut_again_and_again_gets_to_its_end(scenario: Scenario) -> None:
    run = Run(scenario)
    for _ in range(60):
        if await run.attempt(run.journal.entries + 3):  # a command, what comes of it, and what follows
            break
    check(run, scenario, "cut again and again")


async def test_a_command_that_was_not_recorded_is_a_mismatch() -> None:
    run = Run(SCENARIOS["straight"])
    assert not await run.attempt(8)
    run.journal.commands[2] = ("sleep", "")
    with pytest.raises(Mismatch):
        await run.attempt()
