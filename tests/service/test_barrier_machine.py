"""Random deliveries in random orders, against the rules written down a second time, much simpler.

SAGAGEN_TEST_DELIVERIES is how many there are, about; 1,000 by default.
"""

import asyncio
import tempfile
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import pytest
from grpclib.const import Status as Code
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from small_mesh import ManualClock, saga_call
from store_conformance import STORES, StoreFactory, opened
from thorough import DELIVERIES, SLOW_AND_LARGE

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.errors import RpcError, refused
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled
from sagagen.runtime.service.barrier.rules import State
from sagagen.runtime.service.store import Turn

STEPS = 40
BEHAVIOURS = ("succeed", "succeed", "succeed", "decline", "fail", "break off", "ask a third party")


@dataclass(frozen=True)
class Sent:
    """A delivery, and what its handler does should it run."""

    saga: str
    run: str
    step: str
    direction: Direction
    payload: bytes
    patience_ms: int
    behaviour: str

    def call(self, now_ms: int) -> SagaCall:
        return saga_call(
            self.step, self.direction, saga=self.saga, run=self.run, not_after_ms=now_ms + self.patience_ms
        )


SENT = st.builds(
    Sent,
    saga=st.sampled_from(["s1", "s2", "s3"]),
    run=st.sampled_from(["first", "first", "first", "second"]),
    step=st.sampled_from(["one", "two", "two[ä]"]),
    direction=st.sampled_from(Direction),
    payload=st.sampled_from([b"same", b"same", b"same", b"other"]),
    patience_ms=st.sampled_from([-1, 0, 100, 100]),
    behaviour=st.sampled_from(BEHAVIOURS),
)


@dataclass
class Model:
    """What should be: the rules once more, for one delivery after the other."""

    runs: dict[str, str] = field(default_factory=dict)
    rows: dict[tuple[str, str, Direction], tuple[bytes, str, int]] = field(default_factory=dict)
    effects: list[tuple[str, str, str, str]] = field(default_factory=list)

    def deliver(self, sent: Sent, now_ms: int) -> str:
        key = (sent.saga, sent.step, sent.direction)
        action = self.rows.get((sent.saga, sent.step, Direction.ACTION), (b"", "", 0))
        is_action = sent.direction is Direction.ACTION
        if sent.patience_ms < 0:
            return "EXPIRED"
        if self.runs.get(sent.saga, sent.run) != sent.run:
            return "OTHER_RUN"
        if is_action and (sent.saga, sent.step, Direction.COMPENSATION) in self.rows:
            return "STEP_COMPENSATED"
        payload, state, _ = self.rows.get(key, (sent.payload, "", 0))
        if payload != sent.payload:
            return "PAYLOAD_MISMATCH"
        if state not in ("", "PENDING"):
            return state
        if not is_action and action[1] in ("", "REFUSED"):
            return self._record(sent, "EMPTY", now_ms)
        if not is_action and action[1] == "PENDING" and now_ms <= action[2]:
            return "UNAVAILABLE"
        return self._handle(sent, now_ms)

    def _handle(self, sent: Sent, now_ms: int) -> str:
        if sent.behaviour == "ask a third party":
            self._record(sent, "PENDING", now_ms)
            return "UNAVAILABLE"
        if sent.behaviour == "succeed":
            self.effects.append((sent.saga, sent.run, sent.step, sent.direction.value))
            return self._record(sent, "DONE", now_ms)
        if sent.behaviour == "decline" and sent.direction is Direction.ACTION:
            return self._record(sent, "REFUSED", now_ms)
        return "CANCELLED" if sent.behaviour == "break off" else "INTERNAL"

    def _record(self, sent: Sent, state: str, now_ms: int) -> str:
        self.runs[sent.saga] = sent.run
        self.rows[sent.saga, sent.step, sent.direction] = (sent.payload, state, now_ms + sent.patience_ms)
        return state


class Answered(NamedTuple):
    """What the rules say of several deliveries."""

    model: Model
    answers: list[str]


class Deliveries(RuleBasedStateMachine):
    """A store of a service, with all that it keeps."""

    make: StoreFactory
    takes_any_order = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock, self.model = ManualClock(1_000_000), Model()
        self.loop = asyncio.Runner()
        self.loop.run(self._open())

    async def _open(self) -> None:
        self.stop, self.ready = asyncio.Event(), asyncio.Event()
        self.keeping = asyncio.create_task(self._keep_open())
        await self.ready.wait()

    async def _keep_open(self) -> None:
        async with opened(type(self).make, Path(self.folder.name), self.clock) as self.store:
            self.ready.set()
            await self.stop.wait()

    async def _close(self) -> None:
        self.stop.set()
        await self.keeping

    def teardown(self) -> None:
        self.loop.run(self._close())
        self.loop.close()
        self.folder.cleanup()

    @rule(sent=SENT)
    def deliver(self, sent: Sent) -> None:
        self._deliver_all([sent])

    @rule(sent=st.lists(SENT, min_size=2, max_size=6))
    def deliver_at_once(self, sent: list[Sent]) -> None:
        self._deliver_all(sent)

    @rule(sent=SENT, copies=st.integers(2, 4))
    def deliver_copies(self, sent: Sent, copies: int) -> None:
        self._deliver_all([sent] * copies)

    @rule()
    def restart(self) -> None:
        self.loop.run(self._close())
        self.loop.run(self._open())

    @rule()
    def let_time_pass(self) -> None:
        self.clock.advance(0.101)

    @invariant()
    def what_is_there_is_what_should_be(self) -> None:
        effects = self.loop.run(self._effects())
        assert sorted(effects) == sorted(self.model.effects)
        assert len(set(effects)) == len(effects), "an effect happened twice"
        unknown = {(saga, step) for (saga, step, _), row in self.model.rows.items() if row[1] == "PENDING"}
        undone = [effect for effect in effects if (effect[0], effect[2]) not in unknown]
        assert all((saga, run, step, "action") in effects for saga, run, step, _ in undone)
        assert len({(saga, run) for saga, run, *_ in effects}) == len({saga for saga, *_ in effects})

    async def _effects(self) -> list[tuple[str, ...]]:
        async with self.store.read() as db:
            return [tuple(row["name"].split("/")) for row in await db.fetch("SELECT name FROM effects")]

    def _deliver_all(self, sent: list[Sent]) -> None:
        """Calls at once are answered as if they had come one after the other, in this order or, in some stores, any."""
        answers, effects = self.loop.run(self._answers(sent)), sorted(self.loop.run(self._effects()))
        numbers = tuple(range(len(sent)))
        for order in permutations(numbers) if type(self).takes_any_order else (numbers,):
            said = self._answered_in(order, sent)
            if said.answers == answers and sorted(said.model.effects) == effects:
                self.model = said.model
                return
        expected = self._answered_in(numbers, sent)
        raise AssertionError(
            f"{answers}, {effects}; one after the other: {expected.answers}, {expected.model.effects}"
        )

    def _answered_in(self, order: Iterable[int], sent: list[Sent]) -> "Answered":
        model = deepcopy(self.model)
        said = {number: model.deliver(sent[number], self.clock.ms) for number in order}
        return Answered(model, [said[number] for number in range(len(sent))])

    async def _answers(self, sent: list[Sent]) -> list[str]:
        return [*await asyncio.gather(*(self._answer(each) for each in sent))]

    async def _answer(self, sent: Sent) -> str:
        call = BarredCall(sent.call(self.clock.ms), sent.payload, None, sent.step)
        try:
            result = await self.store.write(call, lambda turn: handle(turn, sent, call))
        except asyncio.CancelledError:
            return "CANCELLED"
        if result.error is None:
            return result.response.decode() or "EMPTY"
        return "REFUSED" if result.error.is_refusal else result.error.reason or result.error.code.name


async def handle(turn: Turn, sent: Sent, call: BarredCall) -> Handled:
    if sent.behaviour == "ask a third party":
        pending = call.record(State.PENDING)
        return Handled(CallResult(error=RpcError(Code.UNAVAILABLE)), pending, keeps_effects=True)
    effect = "/".join((sent.saga, sent.run, sent.step, sent.direction.value))
    await turn.db.execute("INSERT INTO effects VALUES (?)", (effect,))
    if sent.behaviour == "succeed":
        return Handled(CallResult(b"DONE"), call.record(State.DONE, b"DONE"), keeps_effects=True)
    if sent.behaviour == "break off":
        raise asyncio.CancelledError
    if sent.behaviour == "decline" and sent.direction is Direction.ACTION:
        error = refused("NO", "", domain="lab")
        return Handled(
            CallResult(error=error), call.record(State.REFUSED, error.to_status().SerializeToString())
        )
    return Handled(CallResult(error=RpcError(Code.INTERNAL)))


SETTINGS = settings(
    stateful_step_count=STEPS,
    suppress_health_check=SLOW_AND_LARGE,
    database=None,
    phases=[Phase.generate],
)


@pytest.mark.parametrize("name", STORES)
def test_deliveries(name: str):
    members = {"make": staticmethod(STORES[name]), "takes_any_order": name.startswith("postgres")}
    machine = type("DeliveriesTo", (Deliveries,), members)
    # A transaction on PostgreSQL takes several round trips: it has a third of them.
    deliveries = DELIVERIES // 3 if name.startswith("postgres") else DELIVERIES
    run_state_machine_as_test(machine, settings=settings(SETTINGS, max_examples=max(1, deliveries // STEPS)))
