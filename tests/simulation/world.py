"""A world of gateways, services, clients and operators, in which one saga is run by the product's own engine.

Real: `decide`, history, commands, the driver with its flights, attempts, requests and calls, `EmbeddedEngine`, the
codec of rows (each death sends them through it), and the barrier's rules. Modelled: time (`VirtualLoop`), the log's
file (`losing_log`: groups, refusals, a lost tail), the services around their barrier and the network (`participants`),
clients and operators (here). A run is the same run for the same seed.

A world begins stormy: processes die, messages are lost, handlers refuse, operators interfere. At `calm_at_s` it clears
up for good: from then on whatever is stuck is retried, until each gateway's saga has ended.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from losing_log import Disk, LosingLog
from made_up_sagas import at_another_pace
from participants import Deed, Line, Participant, Weather, participants
from small_mesh import SAGA_ID, acceptance, text

from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import CANCEL, Delivered, Delivery, NotDelivered, Overloaded, Refusal
from sagagen.runtime.model.definition import Direction, Saga, StepKind, leaves
from sagagen.runtime.model.definition import Wait as WaitElement
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.saga.commands import Act, CommandRejected, Offer, OperatorCommand, UnknownSaga
from sagagen.runtime.saga.decision import ENGINE_ERROR
from sagagen.runtime.saga.events import LogEvent, Outcome
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.saga.journal import JournalUnavailable
from sagagen.runtime.scope import step_name
from sagagen.testing.virtual_time import Life, VirtualClock, VirtualLoop

LATEST_S = 1000.0
"""By then every saga has ended, in seconds of the world."""


Watch = Callable[["World", History, Sequence[LogEvent]], Iterable[str]]
"""Looks at a saga's history after each write, with the rows that are new in it; what is wrong, in words."""


@dataclass
class Plan:
    """What happens in a world, but for what is drawn as it goes."""

    saga: Saga
    seed: int = 0
    gateways: int = 1
    is_alone: bool = True
    """Whether a gateway without others knows that it is."""
    calm_at_s: float = 60.0
    weather: Weather = field(default_factory=Weather)
    dies: float = 0.02
    """How likely it is at each commit and call that the process ends there."""
    dies_every_s: float | None = None
    """How often a process ends at any moment."""
    cut_after: int | None = None
    """The first process ends after so many writes, all of which are left."""
    longest_absence_s: float = 5.0
    """After a process has died."""
    refuses: float = 0.02
    """How likely it is that the log can't write."""
    purged_through_s: float = -1.0
    """Services have forgotten sagas that started by this time of the world."""
    slowest_commit_s: float = 0.2
    events: tuple[tuple[float, str, str, str], ...] = ()
    """When a client sends which event, with what text and key."""
    cancel_at_s: float | None = None
    ends_by: tuple[Act, ...] = (Act.RETRY, Act.RESOLVE, Act.SKIP, Act.CANCEL)
    """What an operator tries once it is calm, in that order."""
    meddles_every_s: float | None = None
    """How often an operator does something that is offered."""


@dataclass(frozen=True)
class Ack:
    """A client has been told that it is done."""

    gateway: "Gateway"
    event: str
    key: str


@dataclass(eq=False)
class Gateway:
    """One engine on one disk, in one process after the other."""

    world: "World"
    number: int
    disk: Disk = field(default_factory=Disk)
    life: Life | None = None
    log: LosingLog | None = None
    engine: EmbeddedEngine | None = None
    deaths: int = 0
    _seen: tuple[tuple[int, int], History | None] = ((0, 0), None)

    def start(self) -> None:
        life = self.life = Life(self.deaths)
        life.begin(self._live(life))

    async def _live(self, life: Life) -> None:
        world, plan = self.world, self.world.plan
        self.log = LosingLog(
            self.disk,
            life,
            world.random,
            self._check,
            lambda where: self.may_die(life, where),
            lambda: not world.is_calm and world.random.random() < plan.refuses,
            plan.slowest_commit_s,
            lambda: self._cut(life),
        )
        saga = at_another_pace(plan.saga, world.random) if life.number else plan.saga
        log: Any = self.log
        lines = {name: self._line(life, to) for name, to in world.services.items()}
        engine = EmbeddedEngine(
            sagas=[saga],
            log=log,
            transports=lines,
            clock=VirtualClock(asyncio.get_running_loop()),
            random=Random(world.random.random()),
            is_alone=plan.gateways == 1 and plan.is_alone,
        )
        async with engine:
            self.engine = engine
            world.tell(f"gateway {self.number} is up")
            await asyncio.Event().wait()

    def _line(self, life: Life, to: Participant) -> Line:
        def sends(call: SagaCall) -> None:
            self.world.tell(f"gateway {self.number} sends {call.step} {call.direction} #{call.attempt}")
            self.world.sent.append(call)
            self.may_die(life, "a call")

        return Line(to, self.world.random, self.world.plan.weather, sends)

    def _check(self, history: History, new: Sequence[LogEvent]) -> None:
        self.world.tell(f"gateway {self.number} writes {' '.join(map(shown, new))}")
        for watch in self.world.watches:
            self.world.broken += watch(self.world, history, new)

    def may_die(self, life: Life, where: str) -> None:
        if self.world.is_dying(where) and not life.is_over:
            self.die(life, where)

    def _cut(self, life: Life) -> None:
        if life.number == 0 and not life.is_over and len(self.disk.batches) == self.world.plan.cut_after:
            self.die(life, "the cut", len(self.disk.batches))

    def die(self, life: Life, where: str, keep: int | None = None) -> None:
        """`keep` is how many writes are left, if that is not drawn."""
        random = self.world.random
        if keep is None:
            keep = random.randint(self.disk.durable, len(self.disk.batches))
        self.world.tell(
            f"gateway {self.number} dies at {where}, {len(self.disk.batches) - keep} writes are lost"
        )
        self.deaths += 1
        self.engine = None
        life.end()
        self.disk.lose(keep)
        asyncio.get_running_loop().call_later(
            random.uniform(0.1, self.world.plan.longest_absence_s), self.start
        )

    async def ask(self, request: Callable[[EmbeddedEngine], Coroutine[Any, Any, Any]]) -> Any:
        """What the engine answers. Raises ConnectionError where its process is down, or ends meanwhile."""
        life, engine = self.life, self.engine
        if life is None or engine is None:
            raise ConnectionError
        asking = life.begin(request(engine))
        await asyncio.wait({asking})
        if asking.cancelled() or life.is_over:
            if not asking.cancelled():
                asking.exception()
            raise ConnectionError
        return asking.result()

    @property
    def rows(self) -> list[LogEvent]:
        return self.disk.rows(SAGA_ID)

    @property
    def history(self) -> History | None:
        """As it is on disk."""
        if self._seen[0] != (self.deaths, self.disk.durable):
            rows = self.disk.rows(SAGA_ID, self.disk.durable)
            self._seen = (self.deaths, self.disk.durable), fold(rows) if rows else None
        return self._seen[1]

    @property
    def is_over(self) -> bool:
        history = self.history
        return history is not None and history.ended is not None


@dataclass(eq=False)
class World:
    plan: Plan
    watches: list[Watch] = field(default_factory=list[Watch])
    acks: list[Ack] = field(default_factory=list[Ack])
    sent: list[SagaCall] = field(default_factory=list[SagaCall])
    trace: list[str] = field(default_factory=list[str])
    refusals: Counter[Refusal] = field(default_factory=Counter[Refusal])
    order: list[Deed] = field(default_factory=list[Deed])
    """What all services did, in that order."""
    broken: list[str] = field(default_factory=list[str])
    """Invariants that did not hold."""
    is_calm: bool = False

    def __post_init__(self) -> None:
        self.random = Random(self.plan.seed)

    def run(self) -> "World":
        """Until all sagas are over and the last message has arrived, or an invariant is broken."""
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(self._run())
        return self

    def tell(self, what: str) -> None:
        self.trace.append(f"{asyncio.get_running_loop().time():8.3f}  {what}")

    def _notice(self, service: str, deed: Deed) -> None:
        self.order.append(deed)
        self.tell(f"{service} does {deed.step} {deed.direction} of {deed.run[:4]}")

    def is_dying(self, where: str) -> bool:
        return not self.is_calm and self.random.random() < self.plan.dies

    async def _run(self) -> None:
        plan = self.plan
        self.services = participants(plan.saga, self.random, plan.weather, self._notice)
        for service in self.services.values():
            service.purged_through_ms = VirtualClock(asyncio.get_running_loop()).wall_ms() + round(
                plan.purged_through_s * 1000
            )
        self.gateways = [Gateway(self, number) for number in range(plan.gateways)]
        for gateway in self.gateways:
            gateway.start()
        async with asyncio.TaskGroup() as people:
            busy = [
                *(people.create_task(self._start_saga(gateway)) for gateway in self.gateways),
                *(people.create_task(self._send(*event)) for event in self._events()),
                people.create_task(self._operate()),
                people.create_task(self._kill()),
            ]
            await self._until_over()
            for each in busy:
                each.cancel()
        await asyncio.sleep(40)  # the last stragglers arrive
        for gateway in self.gateways:
            if gateway.life:
                gateway.life.end()

    def _events(self) -> Iterator[tuple[float, str, str, str]]:
        yield from self.plan.events
        if self.plan.cancel_at_s is not None:
            yield self.plan.cancel_at_s, CANCEL, "", "cancel"

    async def _until_over(self) -> None:
        loop = asyncio.get_running_loop()
        while not all(gateway.is_over for gateway in self.gateways):
            await asyncio.sleep(2)
            if not self.is_calm and loop.time() > self.plan.calm_at_s:
                self.is_calm = True
                self.plan.weather.clear_up()
                self.tell("it is calm")
            if loop.time() > LATEST_S:
                self.broken.append("a saga never ends")
            if self.broken:
                return

    async def _kill(self) -> None:
        while (every_s := self.plan.dies_every_s) and not self.is_calm:
            await asyncio.sleep(self.random.expovariate(1 / every_s))
            gateway = self.random.choice(self.gateways)
            if gateway.life and not gateway.life.is_over and not self.is_calm:
                gateway.die(gateway.life, "some moment")

    # -- clients ---------------------------------------------------------------------------------------------------

    async def _start_saga(self, gateway: Gateway) -> None:
        await asyncio.sleep(self.random.uniform(0, 3))
        request = acceptance(self.plan.saga)

        async def accept(engine: EmbeddedEngine) -> None:
            await engine.accept(request)

        while True:
            try:
                await gateway.ask(accept)
            except (ConnectionError, JournalUnavailable, Overloaded):
                await asyncio.sleep(self.random.uniform(0.1, 2))
            else:
                self.acks.append(Ack(gateway, "", ""))
                self.tell(f"gateway {gateway.number} says: accepted")
                return

    async def _send(self, at_s: float, event: str, value: str, key: str) -> None:
        """Until it is delivered, or refused for good."""
        await asyncio.sleep(at_s)
        payload = text(value)
        delivery = Delivery("made_up", SAGA_ID, event, key, payload, payload, "anonymous")

        async def deliver(engine: EmbeddedEngine) -> Delivered:
            return await engine.deliver(delivery)

        while True:
            gateway = self.random.choice(self.gateways)
            try:
                await gateway.ask(deliver)
            except NotDelivered as refused:
                self.refusals[refused.refusal] += 1
                if refused.refusal not in (Refusal.UNKNOWN_SAGA, Refusal.NOT_READY, Refusal.SAGA_ELSEWHERE):
                    self.tell(f"gateway {gateway.number} refuses {event} {key}: {refused.refusal}")
                    return
            except (ConnectionError, JournalUnavailable, Overloaded):
                pass
            else:
                self.acks.append(Ack(gateway, event, key))
                self.tell(f"gateway {gateway.number} says: delivered {event} {key}")
                return
            await asyncio.sleep(self.random.uniform(0.1, 3))

    # -- operators -------------------------------------------------------------------------------------------------

    async def _operate(self) -> None:
        """Meddles while it is stormy, and then ends whatever is stuck."""
        every_s = self.plan.meddles_every_s
        while True:
            await asyncio.sleep(self.random.uniform(0, 2 * every_s) if every_s and not self.is_calm else 5.0)
            for gateway in self.gateways:
                if every_s or self.is_calm:
                    await self._order(gateway)

    async def _order(self, gateway: Gateway) -> None:
        async def offered(engine: EmbeddedEngine) -> Sequence[Offer]:
            recorded = await engine.find(SAGA_ID)
            return engine.offers(recorded) if recorded else ()

        try:
            offers: Sequence[Offer] = await gateway.ask(offered)
            history = gateway.history
            if not offers or history is None or (self.is_calm and not history.stuck):
                return
            if self.is_calm:
                offers = self._ending(offers)
            await self._give(gateway, history, self.random.choice(offers))
        except (ConnectionError, CommandRejected, UnknownSaga, JournalUnavailable):
            pass

    def _ending(self, offers: Sequence[Offer]) -> Sequence[Offer]:
        """What ends a saga, the mildest first."""
        for act in self.plan.ends_by:
            if found := [offer for offer in offers if offer.act is act]:
                return found
        raise AssertionError(f"nothing ends what is stuck: {offers}")

    async def _give(self, gateway: Gateway, history: History, offer: Offer) -> None:
        if offer.act is Act.RESOLVE:
            offer = self._made_true(history, offer)
        command = OperatorCommand(offer.act, "ann", "by hand", offer.step, offer.outcome)

        async def order(engine: EmbeddedEngine) -> None:
            await engine.command(SAGA_ID, command)

        self.tell(f"an operator orders {offer.act} {offer.step} {offer.outcome or ''}")
        await gateway.ask(order)

    def _made_true(self, history: History, offer: Offer) -> Offer:
        """Whoever says that a call is settled has seen to it."""
        step = next(each for each in self.plan.saga.calls if each.name == step_name(offer.step))
        service, run = self.services[step.action.service], history.accepted.run
        is_done = history.turned_back is None
        if is_done and step.kind is StepKind.PIVOT:
            is_done = service.count(offer.step, run) > 0
            offer = replace(offer, outcome=Outcome.DONE if is_done else Outcome.REFUSED)
        service.settle_by_hand(offer.step, run, is_done=is_done)
        return offer


def events_for(saga: Saga, random: Random, within_s: float = 40.0) -> tuple[tuple[float, str, str, str], ...]:
    """Most waits get their event, some early, some late, some twice, some a refusal."""
    waits = [each for each in leaves(saga.steps) if isinstance(each, WaitElement)]
    return tuple(
        (
            random.uniform(0, within_s),
            each.event,
            "no" if random.random() < 0.12 and each.decline else "yes",
            f"{each.name}-{number}",
        )
        for each in waits
        if random.random() < 0.85
        for number in random.choice([(0,), (0,), (0, 1), (0, 0)])
    )


def shown(row: LogEvent) -> str:
    name = type(row).__name__
    about = getattr(row, "step", "") or getattr(getattr(row, "failure", None), "step", "")
    following = getattr(row, "next", None)
    if not about and following is not None:
        about = following.step
    direction = getattr(row, "direction", "")
    more = "c" if direction is Direction.COMPENSATION else ""
    detail = getattr(row, "outcome", "") or getattr(row, "status", "") or getattr(row, "event", "")
    reason = getattr(row, "reason", "") or getattr(getattr(row, "failure", None), "reason", "")
    parts = [str(part) for part in (about, more, detail, reason) if part not in ("", None)]
    if reason == ENGINE_ERROR:
        parts.append(getattr(row, "failure").message)  # noqa: B009 - whichever row has one
    if doubt := getattr(row, "doubt", ()):
        parts.append(f"doubt={','.join(doubt)}")
    return f"{name}({' '.join(parts)})"
