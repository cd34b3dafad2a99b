"""A world in which a schedule is played: clients, what goes wrong, and a record of what services committed."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from grpclib.const import Status as Code

from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import (
    Acceptance,
    Delivered,
    Delivery,
    JournalUnavailable,
    NotAcceptable,
    NotDelivered,
    Overloaded,
    Refusal,
    Started,
)
from sagagen.runtime.identity import fingerprint_of, saga_id
from sagagen.runtime.model.definition import Mesh, Saga, Service
from sagagen.runtime.rpc.errors import Declined, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.testing.faults import (
    CallKey,
    Crash,
    Delay,
    Duplicate,
    Fail,
    Fault,
    FaultPlan,
    LoseAnswer,
    LoseRequest,
    Moment,
)
from sagagen.testing.invariants import Effect
from sagagen.testing.processes import Process
from sagagen.testing.simulation import schedule as planned
from sagagen.testing.simulation.schedule import REFUSED, FaultKind, Schedule, SentEvent, SentSaga
from sagagen.testing.simulation.subjects import Subject
from sagagen.testing.trace import Died, Handled, Happening
from sagagen.testing.world import World

T = TypeVar("T")
F = TypeVar("F", bound=Fault)

Handlers = Callable[[], Mapping[str, object]]
"""Makes handlers that stand for the project's own, by service."""

TRIES = 200
"""How often a client sends an event that the gateway does not take yet, a second apart."""
FASTEST_MS, SLOWEST_MS = 1, 40
"""How long a message takes."""
SHORTEST_DOWN_MS = 100
SLOWEST_COMMIT_MS = 4
SLOW_DISK_MS = 150
"""How long a commit takes at most in one world of four."""


class SchedulePlan(FaultPlan):
    """The faults of a schedule, looked up by the call; and how long each message takes."""

    def __init__(self, schedule: Schedule, ids: Mapping[int, str]) -> None:
        super().__init__()
        self._schedule = schedule
        self._numbers = {each: number for number, each in ids.items()}
        self._faults = {
            (ids[saga.number], fault.step, fault.direction, fault.attempt): fault
            for saga in schedule.sagas
            for fault in saga.faults
        }
        self._spent: set[tuple[planned.Fault, type[Fault]]] = set()

    def next(self, kind: type[F], call: CallKey | SagaCall, moment: Moment | None = None) -> F | None:
        """As FaultPlan says. Each happens once: an attempt that no row tells of has its number again."""
        fault = self._faults.get((call.saga_id, call.step, call.direction, call.attempt))
        if kind is Delay:
            return self._delay(call, fault)  # pyright: ignore[reportReturnType] - it is of that kind
        if fault is None:
            return None
        found = _made(fault)
        if not isinstance(found, kind) or (isinstance(found, Crash) and found.moment is not moment):
            return None
        if (fault, kind) in self._spent:
            return None
        self._spent.add((fault, kind))
        return found

    def _delay(self, call: CallKey | SagaCall, fault: planned.Fault | None) -> Delay:
        number = self._numbers[call.saga_id]
        ms = self._schedule.between(FASTEST_MS, SLOWEST_MS, number, call.step, call.direction, call.attempt)
        if fault and fault.kind is FaultKind.LATE:
            ms += fault.late_ms
        return Delay(step=call.step, seconds=ms / 1000)


def _made(fault: planned.Fault) -> Fault | None:
    step = fault.step
    match fault.kind:
        case FaultKind.REQUEST_LOST:
            return LoseRequest(step=step)
        case FaultKind.ANSWER_LOST:
            return LoseAnswer(step=step)
        case FaultKind.FAILS:
            return Fail(step=step, error=RpcError(Code.UNAVAILABLE, "simulated"))
        case FaultKind.REFUSES:
            return Fail(step=step, error=Declined(REFUSED, "in place of the handler"))
        case FaultKind.TWICE:
            return Duplicate(step=step, late_s=fault.late_ms / 1000)
        case FaultKind.LATE:
            return None
        case _:
            down_s = max(SHORTEST_DOWN_MS, fault.late_ms) / 1000
            return Crash(step=step, moment=_MOMENTS[fault.kind], down_s=down_s)


_MOMENTS = {
    FaultKind.DIES_BEFORE: Moment.HANDLED,
    FaultKind.DIES_AFTER: Moment.COMMITTED,
    FaultKind.GATEWAY_BEFORE: Moment.SENT,
    FaultKind.GATEWAY_AFTER: Moment.ANSWERED,
    FaultKind.GATEWAY_LATER: Moment.RECORDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSaw(Happening):
    """What a client was told: of its request, of an event, or of its wish to cancel."""

    saga_id: str
    event: str
    """Its name in the contract, `cancel`, or empty for the request that starts the saga."""
    refusal: str = ""
    """Why it was not taken; empty: it was."""
    text: str = ""
    """What the client had sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed(Happening):
    """A process is killed at a moment of the schedule."""

    process: str


CANCELS = "cancel"
LATEST_START_S = 3600.0
PATIENCE_S = 600.0
"""How much longer than its deadline a saga may take, in seconds, since what undoes it is repeated."""


class SimulatedWorld(World):
    """A world that plays a schedule and remembers what services committed."""

    def __init__(
        self,
        mesh: Mesh,
        schedule: Schedule,
        subjects: Mapping[str, Subject],
        gateway: Gateway,
        handlers: Handlers,
    ) -> None:
        self._makers = handlers
        super().__init__(
            mesh,
            seed=schedule.pace,
            gateway=gateway,
            commit_s=self._commit_s,
            at_commit=self._at_commits,
        )
        self.schedule = schedule
        self.subjects = subjects
        self.ids = {each.number: self._id(each) for each in schedule.sagas}
        self.plan = SchedulePlan(schedule, self.ids)
        self._open = {*self.ids.values()}
        """Sagas that are not over, as far as has been looked."""
        self.effects: list[Effect] = []
        """What services committed, in that order."""
        self._handled: dict[str, list[Effect]] = {}
        """By service: what its open transaction holds."""
        self._commits = 0
        reads = {name: _reads(each.saga) for name, each in subjects.items()}
        self._reads = {self.ids[each.number]: reads[each.saga] for each in schedule.sagas}

    def handlers(self, service: Service) -> object:
        """As World says; each life has new ones."""
        return self._makers().get(service.name) or super().handlers(service)

    def _id(self, sent: SentSaga) -> str:
        trigger = self.subjects[sent.saga].saga.trigger.path
        return saga_id(self.mesh.project, sent.caller, trigger, f"simulated {sent.number}")

    def _commit_s(self, _database: str) -> float:
        self._commits += 1
        slowest_ms = SLOW_DISK_MS if self.schedule.pace % 4 == 1 else SLOWEST_COMMIT_MS
        return self.schedule.between(0, slowest_ms, "commit", self._commits) / 1000

    # what its parts tell it

    def happens(self, kind: type[F], call: CallKey | SagaCall, moment: Moment | None = None) -> F | None:
        """As World says, and nothing is noted: the schedule is known."""
        return self.plan.next(kind, call, moment)

    def note(self, happening: Happening) -> None:
        """As World says; what a handler did waits for its commit."""
        match happening:
            case Handled(outcome="DONE") if self._is_write(happening):
                effect = Effect(happening.saga_id, happening.step, happening.direction)
                self._handled.setdefault(happening.service, []).append(effect)
            case Died():
                self._handled.pop(happening.process, None)
            case _:
                pass
        super().note(happening)

    def _is_write(self, handled: Handled) -> bool:
        """A read may be repeated as often as anybody likes."""
        return handled.step.partition("[")[0] not in self._reads[handled.saga_id]

    def _at_commits(self, _process: Process, database: str, is_durable: bool) -> None:
        if is_durable:
            self.effects += self._handled.pop(database, ())

    # the schedule

    async def play(self) -> None:
        """Until every saga is over or stuck, and the last message has arrived. Raises NeverHappened."""
        loop = asyncio.get_running_loop()
        for kill in self.schedule.kills:
            loop.call_later(kill.at_ms / 1000, self._kill, kill)
        async with asyncio.TaskGroup() as clients:
            for sent in self.schedule.sagas:
                clients.create_task(self._start(sent))
                for event in sent.events:
                    clients.create_task(self._send(sent, event))
            await self.until(self._is_over, self._longest_s())
            await asyncio.sleep(self.schedule.latest_ms / 1000 + 1)

    def _is_over(self) -> bool:
        """No saga is left that goes on."""
        self._open = {
            of for of in self._open if (history := self.histories.get(of)) is None or history.status.is_active
        }
        return not self._open

    def _longest_s(self) -> float:
        """By then each saga is over, whatever was planned for it: faults strike once, and outages are short."""
        deadlines = (each.saga.deadline_s + _start_s(each.saga) for each in self.subjects.values())
        return max(deadlines) + PATIENCE_S

    def _kill(self, kill: planned.Kill) -> None:
        process = next((each for each in self.processes if each.name == kill.process), None)
        if process and not process.life.is_over and not self.is_closing:
            self.note(Killed(at_s=self.now_s, process=kill.process))
            process.kill(max(SHORTEST_DOWN_MS, kill.down_ms) / 1000)

    async def _start(self, sent: SentSaga) -> None:
        await asyncio.sleep(sent.at_ms / 1000)
        subject, of = self.subjects[sent.saga], self.ids[sent.number]
        data = subject.samples.encoded(sent.input)
        acceptance = Acceptance(
            saga=subject.saga,
            saga_id=of,
            caller=sent.caller,
            key=f"simulated {sent.number}",
            fingerprint=fingerprint_of(subject.saga.trigger.path, data),
            input=data,
            trace=TraceContext(f"{sent.number:032x}", f"{sent.number:016x}"),
        )

        async def accept(engine: EmbeddedEngine) -> Started:
            return await engine.accept(acceptance)

        try:
            await self._until_taken(accept, range(TRIES))
        except (NotAcceptable, ConnectionError) as error:
            self._saw(sent, "", str(error), sent.input)
            self._open.discard(of)
            self._changed()
        else:
            self._saw(sent, "", "", sent.input)

    async def _send(self, sent: SentSaga, event: SentEvent) -> None:
        await asyncio.sleep((sent.at_ms + event.after_ms) / 1000)
        subject, of = self.subjects[sent.saga], self.ids[sent.number]
        incoming = subject.events[event.event] if event.event else subject.cancel
        assert incoming, "the schedule is of this contract"
        payload = incoming.payload(event, of)
        delivery = Delivery(
            saga=subject.saga.name,
            saga_id=of,
            event=incoming.name,
            key=event.key,
            fingerprint=incoming.fingerprint(payload),
            payload=payload,
            caller=sent.caller,
            is_operator=True,  # who may send it is the gateway's matter, and not the handlers'
        )

        async def deliver(engine: EmbeddedEngine) -> Delivered:
            return await engine.deliver(delivery)

        name = event.event or CANCELS
        try:
            await self._until_taken(deliver, range(TRIES))
        except (NotDelivered, ConnectionError) as error:
            reason = error.refusal.value if isinstance(error, NotDelivered) else str(error)
            self._saw(sent, name, reason, event.payload)
        else:
            self._saw(sent, name, "", event.payload)

    async def _until_taken(
        self, request: Callable[[EmbeddedEngine], Coroutine[Any, Any, T]], tries: Sequence[int]
    ) -> T:
        """Send it again as long as that may help. Raises NotDelivered and NotAcceptable, or ConnectionError at last."""
        for _ in tries:
            try:
                return await self._ask(request)
            except NotDelivered as refused:
                if refused.refusal not in (Refusal.UNKNOWN_SAGA, Refusal.NOT_READY):
                    raise
            except (ConnectionError, JournalUnavailable, Overloaded):
                pass
            await asyncio.sleep(1)
        raise ConnectionError("nobody took it")

    async def _ask(self, request: Callable[[EmbeddedEngine], Coroutine[Any, Any, T]]) -> T:
        """What the engine answers. Raises ConnectionError where its process is down, or ends meanwhile."""
        life, engine = self.gateway.life, self.gateway.engine
        if life.is_over or engine is None:
            raise ConnectionError
        asking = life.begin(request(engine))
        await asyncio.wait({asking})
        if asking.cancelled() or life.is_over:
            if not asking.cancelled():
                asking.exception()
            raise ConnectionError
        return asking.result()

    def _saw(self, sent: SentSaga, event: str, refusal: str, text: str) -> None:
        of = self.ids[sent.number]
        self.note(ClientSaw(at_s=self.now_s, saga_id=of, event=event, refusal=refusal, text=text))


def _reads(saga: Saga) -> frozenset[str]:
    return frozenset(step.name for step in saga.calls if step.action.method.is_read)


def _start_s(saga: Saga) -> float:
    """How much later than its acceptance a saga of a simulation starts, in seconds."""
    return LATEST_START_S if saga.start else 0.0
