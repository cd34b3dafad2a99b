"""Plays one row: a world of its own, another saga that was there before, and the saga that the row is about."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import CANCEL as CANCELS
from sagagen.runtime.engine.port import (
    Acceptance,
    CommandRejected,
    Delivery,
    NotAcceptable,
    NotDelivered,
    OperatorCommand,
    Refusal,
)
from sagagen.runtime.identity import fingerprint_of, saga_id
from sagagen.runtime.log.reading import find_saga
from sagagen.runtime.model.definition import Direction, Mesh, Saga, Wait, leaves
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.commands import Act
from sagagen.runtime.saga.events import EventTaken
from sagagen.runtime.saga.history import History
from sagagen.testing.databases import SAGA_LOG
from sagagen.testing.event_samples import EventMessage, cancel_message, event_message
from sagagen.testing.faults import Delay, DelayAnswer, Duplicate, Fault
from sagagen.testing.invariants import Effect
from sagagen.testing.matrix.effects import CommitLog, StepChanges
from sagagen.testing.matrix.playbook import Deed, Script
from sagagen.testing.places import Reached
from sagagen.testing.samples import Sample, SampleError
from sagagen.testing.tables import RowChange, Tables, difference, named, tables_of
from sagagen.testing.trace import Handled, Happening
from sagagen.testing.world import NeverHappened, World

T = TypeVar("T")

SAGA, OTHER = "<saga>", "<other>"
"""How the ids of the row's saga, and of the one that was there before, are shown."""
OPERATOR = "the matrix"
_DOWN_S = 1.0
_TRIES = 50
_AGAIN_S = 0.2
"""After which time a client asks again that got no answer."""
_LOOK_S = 0.01
_ANOTHER_DAY_S = 97_531.7


@dataclass(frozen=True, slots=True)
class Setting:
    """What all rows of a project share."""

    mesh: Mesh
    gateway: Gateway
    handlers: Mapping[str, object]
    """Of each service."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Played:
    """What happened in a row."""

    history: History
    """As the log has it in the end."""
    effects: tuple[Effect, ...]
    """What the services committed for the row's saga, in that order."""
    called: tuple[tuple[str, Direction], ...]
    """Step key and direction of each call, in the order in which they were sent."""
    changes: tuple[RowChange, ...]
    """What the saga has changed in the services' tables, with names in place of ids."""
    by_step: StepChanges
    """What each call changed, if that was looked at."""
    stuck_first: bool = False
    """It was stuck, until an operator had it tried again."""
    replies: tuple[str, ...] = ()
    """What clients and operators were told: `taken`, `taken before`, or a refusal's name."""
    unused: tuple[Fault, ...] = ()
    """Faults that never happened."""
    problems: tuple[str, ...] = ()
    """What went wrong in the test itself, or never came to an end, and what the project's invariants say."""
    story: tuple[str, ...] = ()

    @property
    def reached(self) -> Reached:
        """Step keys of the calls, by the step's name; waits and delays by their own."""
        pauses = (
            key for key, plan in self.history.planned.items() if plan.until_ms is not None or not plan.body
        )
        found: dict[str, list[str]] = {key: [key] for key in pauses}
        for key, direction in self.called:
            keys = found.setdefault(key.partition("[")[0], [])
            if direction is Direction.ACTION and key not in keys:
                keys.append(key)
        return {name: tuple(keys) for name, keys in found.items()}


TAKEN, TAKEN_BEFORE = "taken", "taken before"

Look = Callable[[World], Sequence[str]]
"""Looks at a world when its saga is over, and says what does not hold."""


OnRow = Callable[[bool], None]
"""Called with whether the saga begins that a row is about, or is over."""


async def play(
    setting: Setting,
    saga: Saga,
    sample: Sample,
    script: Script,
    look: Look,
    *,
    in_detail: bool = False,
    has_other: bool = True,
    on_row: OnRow | None = None,
    is_again: bool = False,
) -> Played:
    """Play a row, on a VirtualLoop. Raises SampleError where an event can't be made up.

    `has_other`: a saga of the same sample was there before, and has completed. `on_row` is called then, and
    again when the row's own saga is over. `is_again`: on another day, under another id and with other random numbers,
    so that what differs in each run does.
    """
    commits = CommitLog(in_detail=in_detail)
    world = World(
        setting.mesh,
        handlers=setting.handlers,
        seed=setting.seed + is_again,
        gateway=setting.gateway,
        at_commit=commits.at_commit,
    )
    commits.watch(world)
    async with world:
        if is_again:
            await asyncio.sleep(_ANOTHER_DAY_S)
        other = Play(world, commits, saga, sample, Script(), "other")
        if has_other:
            await other.run()
        commits.begin()
        if on_row:
            on_row(True)
        play = Play(world, commits, saga, sample, script, "row again" if is_again else "row")
        before = all_tables(world)
        problems: list[str] = []
        try:
            await play.run()
            await play.stragglers()
        except NeverHappened as error:
            problems.append(f"the saga never ends: {error}")
        if on_row:
            on_row(False)
        changes = _changes(before, all_tables(world), {play.saga_id: SAGA, other.saga_id: OTHER})
        return Played(
            history=play.history_or_none or _never_accepted(play, problems),
            effects=tuple(commits.effects_of(play.saga_id)),
            called=tuple((made.step, made.direction) for made in world.calls.get(play.saga_id, ())),
            changes=changes,
            by_step=commits.by_step(play.saga_id),
            stuck_first=play.stuck_first,
            replies=tuple(play.replies),
            unused=tuple(world.plan.unused),
            problems=(*problems, *world.mistakes, *look(world)),
            story=tuple(_story(world, play)),
        )


def _never_accepted(play: "Play", problems: Sequence[str]) -> History:
    raise SampleError(f"saga {play.saga.name} was never accepted: {'; '.join([*problems, *play.replies])}")


def all_tables(world: World) -> Mapping[str, Tables]:
    return {name: tables_of(world.databases[name].connection) for name in world.services}


def _changes(
    before: Mapping[str, Tables], after: Mapping[str, Tables], names: Mapping[str, str]
) -> tuple[RowChange, ...]:
    found = (difference(service, before[service], after[service]) for service in sorted(before))
    return named((change for changes in found for change in changes), names)


def _story(world: World, play: "Play") -> Iterator[str]:
    for happening in world.trace[play.began :]:
        if getattr(happening, "saga_id", play.saga_id) == play.saga_id:
            yield f"{happening.at_s - play.began_s:10.3f} s  {happening}"


@dataclass(eq=False)
class Play:
    """One saga, and all who have to do with it."""

    world: World
    commits: CommitLog
    saga: Saga
    sample: Sample
    script: Script
    key: str
    """The idempotency key."""
    replies: list[str] = field(default_factory=list[str])
    stuck_first: bool = False
    _done: set[Deed] = field(default_factory=set[Deed])
    _sent: set[str] = field(default_factory=set[str])
    """Waits whose event was sent, or never is."""

    def __post_init__(self) -> None:
        mesh, trigger = self.world.mesh, self.saga.trigger.path
        self.saga_id = saga_id(mesh.project, self.sample.caller, trigger, self.key)
        self.began, self.began_s = len(self.world.trace), self.world.now_s
        self.world.plan.add(*(replace(fault, saga_id=self.saga_id) for fault in self.script.faults))

    @property
    def history_or_none(self) -> History | None:
        return self.world.histories.get(self.saga_id)

    async def run(self) -> None:
        """Until the saga is over, or stuck for good. Raises NeverHappened if it never is."""
        await self._accept()
        if Deed.EVENT_BEFORE in self.script.deeds:
            await self._send(self._wait(self.script.wait))
        while True:
            seen = len(self.world.trace)
            if await self._act() or len(self.world.trace) != seen:
                continue
            history = self.history_or_none
            if history and (history.ended or (history.stuck and self.world.is_at_rest(self.saga_id))):
                break
            await self._let_time_pass(seen)
        if Deed.EVENT_AFTER in self.script.deeds:
            await self._send(self._wait(self.script.wait))

    async def _let_time_pass(self, seen: int) -> None:
        if self._is_due(Deed.CANCEL_UNDER_WAY) and not self.world.is_at_rest(self.saga_id):
            await asyncio.sleep(_LOOK_S)  # a call that is under way is not in the log
        else:
            await self.world.until(lambda: len(self.world.trace) != seen)

    async def stragglers(self) -> None:
        """Until what was delayed has arrived."""
        late_s = sum(
            each.late_s if isinstance(each, Duplicate) else each.seconds
            for each in self.script.faults
            if isinstance(each, Duplicate | Delay | DelayAnswer)
        )
        if late_s or any(isinstance(each, Duplicate) for each in self.script.faults):
            await asyncio.sleep(late_s + 1.0)

    # -- what is done in reaction ----------------------------------------------------------------------------------

    async def _act(self) -> bool:
        """Do the next thing that is due. False if none is."""
        history = self.history_or_none
        if history is None or history.ended:
            return False
        if self._is_due(Deed.RETRY_WHEN_STUCK) and history.stuck and self.world.is_at_rest(self.saga_id):
            await self._retry(history)
            return True
        if self._is_due(Deed.CANCEL_UNDER_WAY) and await self._cancel_when_due(history):
            return True
        for wait in self._ready(history):
            if await self._act_on_wait(wait):
                return True
        return False

    def _is_due(self, deed: Deed) -> bool:
        return deed in self.script.deeds and deed not in self._done

    def _ready(self, history: History) -> Iterator[Wait]:
        """Waits that are under way and have not got their event."""
        for element in leaves(self.saga.steps):
            is_planned = element.name in history.planned and not history.planned[element.name].problem
            is_waiting = is_planned and not history.turned_back and not history.is_over(element.name)
            if isinstance(element, Wait) and is_waiting and element.name not in self._sent:
                yield element

    async def _act_on_wait(self, wait: Wait) -> bool:
        is_it = wait.name == self.script.wait
        deeds = self.script.deeds if is_it else frozenset[Deed]()
        if Deed.CRASH_WAITING in deeds and self._is_due(Deed.CRASH_WAITING):
            if not self.world.is_at_rest(self.saga_id):
                return False
            self._done.add(Deed.CRASH_WAITING)
            self.world.gateway.kill(_DOWN_S)
            return True
        self._sent.add(wait.name)
        if Deed.EVENT_NEVER in deeds or Deed.EVENT_BEFORE in deeds:
            return False
        if Deed.CRASH_AT_EVENT in deeds:
            self.commits.kill_gateway_at(self._has_event, _DOWN_S)
        await self._send(wait, declines=Deed.EVENT_DECLINES in deeds)
        if Deed.EVENT_TWICE in deeds:
            await self._send(wait)
            await self._send(wait, key="another key")
        return True

    def _has_event(self) -> bool:
        """The log has an event of this saga, whether or not the engine has learned of it."""
        found = find_saga(self.world.databases[SAGA_LOG].connection, self.saga_id)
        return found is not None and any(isinstance(row, EventTaken) for row in found.rows)

    async def _cancel_when_due(self, history: History) -> bool:
        at = self.script.at
        if any(made.step == at for made in self.world.calls.get(self.saga_id, ())):
            delays = [each for each in self.script.faults if isinstance(each, DelayAnswer)]
            if delays and not any(self._is_handled(each, at) for each in self.world.trace[self.began :]):
                return False
            if delays:
                await asyncio.sleep(delays[0].seconds / 2)
        elif not self._is_paused_at(history, at):
            return False
        self._done.add(Deed.CANCEL_UNDER_WAY)
        await self._cancel()
        return True

    def _is_handled(self, happening: Happening, key: str) -> bool:
        return isinstance(happening, Handled) and (happening.saga_id, happening.step) == (self.saga_id, key)

    @staticmethod
    def _is_paused_at(history: History, name: str) -> bool:
        plan = history.planned.get(name)
        return plan is not None and plan.body is None and not history.is_over(name)

    # -- what clients and operators send ---------------------------------------------------------------------------

    async def _accept(self) -> None:
        data, trigger = self.sample.data, self.saga.trigger.path
        acceptance = Acceptance(
            saga=self.saga,
            saga_id=self.saga_id,
            caller=self.sample.caller,
            key=self.key,
            fingerprint=fingerprint_of(trigger, data),
            input=data,
            trace=TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", flags=0),
        )
        try:
            await self._ask(lambda engine: engine.accept(acceptance))
        except NotAcceptable as error:
            raise SampleError(
                f"{self.sample.source}: saga {self.saga.name} is not accepted: {error}"
            ) from error

    async def _send(self, wait: Wait, *, declines: bool = False, key: str = "") -> None:
        event = next(each for each in self.saga.events if each.name == wait.event)
        message = event_message(
            self.world.schema, self.saga, self.sample, self.saga_id, event, wait, declines=declines
        )
        await self._deliver(message, wait.event, event.method.path, key or wait.name)

    async def _cancel(self) -> None:
        if self.saga.cancel:
            message = cancel_message(
                self.world.schema, self.saga, self.sample, self.saga_id, self.saga.cancel
            )
            await self._deliver(message, CANCELS, self.saga.cancel.method.path, "cancel")
        else:
            await self._order(OperatorCommand(Act.CANCEL, OPERATOR, "cancelled by the matrix"))

    async def _deliver(self, message: EventMessage, event: str, rpc: str, key: str) -> None:
        delivery = Delivery(
            saga=self.saga.name,
            saga_id=self.saga_id,
            event=event,
            key=key,
            fingerprint=fingerprint_of(rpc, message.payload),
            payload=message.payload,
            caller=message.caller,
        )
        try:
            delivered = await self._ask(lambda engine: engine.deliver(delivery))
        except NotDelivered as refused:
            self.replies.append(refused.refusal.value)
        else:
            self.replies.append(TAKEN if delivered.is_new else TAKEN_BEFORE)

    async def _retry(self, history: History) -> None:
        self._done.add(Deed.RETRY_WHEN_STUCK)
        self.stuck_first = True
        self.world.plan.clear()
        for step in list(history.stuck):
            await self._order(OperatorCommand(Act.RETRY, OPERATOR, "it works again", step))

    async def _order(self, command: OperatorCommand) -> None:
        async def order(engine: EmbeddedEngine) -> None:
            await engine.command(self.saga_id, command)

        try:
            await self._ask(order)
        except CommandRejected:
            self.replies.append(Refusal.TOO_LATE.value)
        else:
            self.replies.append(TAKEN)

    async def _ask(self, request: Callable[[EmbeddedEngine], Awaitable[T]]) -> T:
        """What the engine answers, however often its process dies before it does."""
        gateway = self.world.gateway
        for _ in range(_TRIES):
            engine, life = gateway.engine, gateway.life
            if engine is not None:
                asking = life.begin(_awaited(request(engine)))
                await asyncio.wait({asking})
                if not asking.cancelled() and not life.is_over:
                    return asking.result()
                if not asking.cancelled():
                    asking.exception()
            await asyncio.sleep(_AGAIN_S)
        raise NeverHappened(f"the gateway has not answered {_TRIES} times")

    def _wait(self, name: str) -> Wait:
        return next(each for each in leaves(self.saga.steps) if isinstance(each, Wait) and each.name == name)


async def _awaited(work: Awaitable[T]) -> T:
    return await work
