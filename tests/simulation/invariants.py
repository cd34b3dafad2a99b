"""What must hold in every world: after each write of a log, and when all sagas are over."""

from collections.abc import Iterable, Iterator, Sequence

from participants import Deed
from world import Ack, Gateway, World

from sagagen.runtime.engine.port import CANCEL
from sagagen.runtime.model.definition import (
    Direction,
    Element,
    Parallel,
    Saga,
    Step,
    StepKind,
    Wait,
    leaves,
)
from sagagen.runtime.saga.claim import claim_service
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import Receive
from sagagen.runtime.saga.events import (
    Cancelled,
    Done,
    DoneByHand,
    Ended,
    EventTaken,
    GaveUp,
    LogEvent,
    LoopPlanned,
    Planned,
    RefusedByHand,
    SagaStatus,
    Skipped,
    Stuck,
    TimedOut,
    TurnedBack,
)
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.scope import item_key

STATED = frozenset(
    {
        "HELD_BY_OPERATOR",
        "NOT_YET",
        "UNAVAILABLE",
        "INTERNAL",
        "RESOURCE_EXHAUSTED",
        "DEADLINE_EXCEEDED",
        "GAVE_UP",
        "STEP_COMPENSATED",
        "OTHER_RUN",
        "EXPIRED",
    }
)
"""Why a saga may be stuck here: an operator held it, or the budget of a call was spent."""

Settling = Done | DoneByHand | Skipped | TimedOut | GaveUp


def after_each_write(world: World, history: History, new: Sequence[LogEvent]) -> Iterator[str]:
    for row in new:
        if isinstance(row, Stuck) and row.failure.reason not in STATED:
            yield f"stuck for {row.failure.reason} at {row.failure.step!r}: {row.failure.message}"
        if isinstance(row, Ended) and history.stuck:
            yield f"ended, and stuck at {list(history.stuck)}"
        if isinstance(row, Planned | LoopPlanned | Settling | EventTaken) and is_after_turning_back(
            history, row
        ):
            yield f"{type(row).__name__} after turning back"
    if isinstance(decide(world.plan.saga, history), Receive):
        yield "a commit left a ready wait beside its event"


def is_after_turning_back(history: History, row: LogEvent) -> bool:
    # `history` has the new rows: what came with TurnedBack stands before it in the log.
    return history.turned_back is not None and row.at_ms > history.turned_back.at_ms


def at_the_end(world: World) -> list[str]:
    found = list(world.broken)
    for gateway in world.gateways:
        if gateway.is_over:
            found += _End(world, gateway).broken()
    found += _deeds(world)
    if len(world.gateways) > 1:
        found += _two_runs(world)
    return found


def _deeds(world: World) -> Iterator[str]:
    for service in world.services.values():
        done: set[Deed] = set()
        for deed in service.deeds:
            if deed in done:
                yield f"effect twice: {deed}"
            done.add(deed)


def _two_runs(world: World) -> Iterator[str]:
    histories = [fold(gateway.rows) for gateway in world.gateways if gateway.is_over]
    if len(histories) < len(world.gateways):
        return
    owners = {deed.run for service in world.services.values() for deed in service.deeds}
    if len(owners) > 1:
        yield f"effects of {len(owners)} runs"
    if claim_service(world.plan.saga) is None:
        return  # it writes nothing: nobody has to own it
    if all(_lost(history) for history in histories):
        yield "the runs ended each other, and nothing else did"
    ends = dict(zip(world.gateways, histories, strict=True))
    for ack in world.acks:
        others = [history for gateway, history in ends.items() if gateway is not ack.gateway]
        if ack.event and ends[ack.gateway].status is SagaStatus.SUPERSEDED:
            yield from _taken_in_vain(ack, others)


def _taken_in_vain(ack: Ack, others: Sequence[History]) -> Iterator[str]:
    """A client was told by the run that does not own the saga."""
    for other in others:
        if ack.event == CANCEL and other.status is SagaStatus.COMPLETED:
            yield "a cancel was acknowledged by a run that owns nothing, and the saga completed"
        elif ack.event != CANCEL and any(isinstance(row, TimedOut) for row in other.settled.values()):
            yield f"the event {ack.key} was acknowledged by a run that owns nothing, and a wait timed out"


def _lost(history: History) -> bool:
    if history.turned_back:
        return history.turned_back.failure.reason in ("OTHER_RUN", "STEP_COMPENSATED")
    return history.status is SagaStatus.SUPERSEDED


class _End:
    """One gateway's saga that is over."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self.world = world
        self.gateway = gateway
        self.saga: Saga = world.plan.saga
        self.rows = gateway.rows
        self.history = fold(self.rows)
        self.run = self.history.accepted.run
        self.keys = {key: step for step in self.saga.calls for key in self._keys(step)}
        self.turned = next((n for n, row in enumerate(self.rows) if isinstance(row, TurnedBack)), None)

    def _keys(self, element: Element) -> list[str]:
        if isinstance(element, Step) and element.for_each:
            loop = self.history.loops.get(element.name)
            return [item_key(element.name, key) for key in loop.keys] if loop else []
        return [element.name]

    def _effects(self, key: str) -> int:
        return self.world.services[self.keys[key].action.service].count(key, self.run)

    def _is_real(self, key: str) -> bool:
        return not self.keys[key].action.method.is_read

    def broken(self) -> Iterator[str]:
        yield from self._settled_once()
        yield from self._pivots()
        if self.history.status is SagaStatus.COMPLETED:
            yield from self._completed()
        else:
            yield from self._undone()
        yield from self._order(self.saga.steps)
        for ack in self.world.acks:
            if ack.gateway is self.gateway:
                yield from self._kept(ack)

    def _settled_once(self) -> Iterator[str]:
        settled: set[str] = set()
        for row in self.rows:
            if isinstance(row, Settling):
                if row.step in settled and not isinstance(row, Done):
                    yield f"settled twice: {row.step}"
                settled.add(row.step)

    def _completed(self) -> Iterator[str]:
        if self.turned is not None:
            yield "completed, and turned back"
        for key in self.keys:
            effects = self._effects(key)
            settled = self.history.settled.get(key)
            if key in self.history.responses and self._is_real(key) and effects != 1:
                yield f"completed without the effect of {key}"
            if effects and isinstance(settled, Skipped):
                yield f"{key} is skipped, and took effect"
        yield from self._all_settled(self.saga.steps)

    def _all_settled(self, elements: Iterable[Element]) -> Iterator[str]:
        for element in elements:
            if element.name in self.history.settled:
                continue
            if isinstance(element, Parallel):
                for branch in element.branches:
                    yield from self._all_settled(branch.steps)
            elif isinstance(element, Step) and element.for_each and element.name not in self.history.loops:
                yield f"completed, and {element.name} never began"
            else:
                for key in self._keys(element):
                    if not self.history.is_over(key):
                        yield f"completed, and {key} was never settled"

    def _undone(self) -> Iterator[str]:
        for step in self.saga.calls:
            if step.compensation is None or step.kind is not StepKind.COMPENSATABLE:
                continue
            service = self.world.services[step.action.service]
            names = {deed.step for deed in service.deeds if deed.run == self.run}
            for key in names:
                if key.partition("[")[0] == step.name and service.count(key, self.run):
                    yield f"{self.history.status} leaves {service.count(key, self.run)} effect of {key}"

    def _pivots(self) -> Iterator[str]:
        for element in leaves(self.saga.steps):
            if element.kind is StepKind.COMPENSATABLE:
                continue
            is_done = element.name in self.history.responses
            if self.turned is not None and element.kind is StepKind.PIVOT:
                if is_done:
                    yield f"turned back after the pivot {element.name}"
                by_hand = isinstance(self.history.by_hand.get(element.name), RefusedByHand)
                if isinstance(element, Step) and self._effects(element.name) and not by_hand:
                    yield f"turned back, and the pivot {element.name} took effect"
        for service in self.world.services.values():
            for deed in service.deeds:
                step = next(each for each in self.saga.calls if each.name == deed.step.partition("[")[0])
                is_undone = deed.direction is Direction.COMPENSATION and not deed.is_by_hand
                if is_undone and step.kind is not StepKind.COMPENSATABLE:
                    yield f"undone though it is {step.kind}: {deed.step}"

    def _order(self, elements: Sequence[Element]) -> Iterator[str]:
        """What stands later in a list is undone before what stands earlier."""
        spans: list[tuple[Element, list[int]]] = []
        for element in elements:
            spans.append((element, self._undone_at(element)))
            if isinstance(element, Parallel):
                for branch in element.branches:
                    yield from self._order(branch.steps)
        for place, (earlier, at) in enumerate(spans):
            for later, later_at in spans[place + 1 :]:
                if at and later_at and min(at) < max(later_at):
                    yield f"undone in the wrong order: {earlier.name} before {later.name}"

    def _undone_at(self, element: Element) -> list[int]:
        names = {each.name for each in leaves([element])}
        return [
            place
            for place, deed in enumerate(self.world.order)
            if deed.direction is Direction.COMPENSATION
            and deed.run == self.run
            and not deed.is_by_hand
            and deed.step.partition("[")[0] in names
        ]

    def _kept(self, ack: Ack) -> Iterator[str]:
        """What a client was told holds."""
        if ack.event == CANCEL:
            if not any(isinstance(row, Cancelled) for row in self.rows):
                yield "a cancel was acknowledged, and is not in the log"
            if self.history.status is SagaStatus.COMPLETED:
                yield "a cancel was acknowledged, and the saga completed"
        elif ack.event:
            yield from self._event_kept(ack)

    def _event_kept(self, ack: Ack) -> Iterator[str]:
        place = next(
            (
                place
                for place, row in enumerate(self.rows)
                if isinstance(row, EventTaken) and row.key == ack.key and row.event == ack.event
            ),
            None,
        )
        if place is None:
            yield f"the event {ack.key} was acknowledged, and is not in the log"
            return
        if any(isinstance(row, TurnedBack | Cancelled | Ended) for row in self.rows[:place]):
            yield f"the event {ack.key} was taken by a saga that turns back"
        if self.turned is not None and place < self.turned:
            yield from self._not_lost(ack)

    def _not_lost(self, ack: Ack) -> Iterator[str]:
        """No cancel, deadline or time-out takes the place of an event that a wait was ready for."""
        assert self.turned is not None
        before = fold(self.rows[: self.turned])
        back = self.rows[self.turned]
        assert isinstance(back, TurnedBack)
        kept = [event for event in before.unconsumed if event.event == ack.event]
        ready = [
            each
            for each in leaves(self.saga.steps)
            if isinstance(each, Wait)
            and each.event == ack.event
            and each.name in before.planned
            and not before.is_over(each.name)
            and not before.planned[each.name].problem
            and before.of(each.name, Direction.ACTION).last is None
        ]
        if kept and ready:
            reason = back.failure.reason
            yield f"the event {ack.key} was kept, {ready[0].name} was ready, and it turned back for {reason}"
