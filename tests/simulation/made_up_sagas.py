"""Definitions made up by a seed: every element of the language, blocks in blocks, expressions that read others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from small_mesh import Text, method, repeat_input

from sagagen.runtime.model.definition import (
    AT_ACCEPTANCE,
    Action,
    Branch,
    Cancel,
    Decline,
    Delay,
    Element,
    Event,
    ForEach,
    Parallel,
    Respond,
    Retry,
    Saga,
    Step,
    StepKind,
    Transaction,
    Wait,
    leaves,
)
from sagagen.runtime.scope import CompensationScope, EventScope, Scope

COMPENSATABLE, PIVOT, RETRIABLE = StepKind
SERVICES = ("one", "two")
TIMEOUT_S = 4.0
"""Of every call: longer than most deliveries take."""


def call(
    name: str,
    kind: StepKind = COMPENSATABLE,
    service: str = "one",
    *,
    reads: Sequence[str] = (),
    is_read: bool = False,
    is_compensated: bool = True,
    is_manual: bool = False,
    max_attempts: int | None = None,
    budget_s: float = 20.0,
    **more: Any,
) -> Step:
    """A step. What it and its compensation are sent says which of the elements `reads` have a response."""

    def seen(scope: Scope[Text]) -> str:
        return f"{scope.input.value} {[name for name in reads if scope.has(name)]}"

    def undo(scope: CompensationScope[Text]) -> Text:
        return Text(value=f"{seen(scope)} {scope.failure.step} {scope.failure.reason}")

    def act(scope: Scope[Text]) -> Text:
        return Text(value=seen(scope))

    retry = Retry(0.2, 2.0, 3.0, max_attempts, None if kind is COMPENSATABLE else budget_s)
    transaction = Transaction.MANUAL if is_manual else Transaction.LOCAL
    rpc = method(name, is_read=is_read, transaction=transaction)
    undo_rpc = replace(rpc, path=f"{rpc.path}~undo")
    undo_retry = replace(retry, max_attempts=None, give_up_after_s=budget_s)
    is_undone = is_compensated and kind is COMPENSATABLE and not is_read
    return Step(
        name,
        kind,
        Action(service, rpc, act, TIMEOUT_S, retry),
        Action(service, undo_rpc, undo, TIMEOUT_S, undo_retry) if is_undone else None,
        **more,
    )


def loop(name: str, items: int, at_once: int = 2, kind: StepKind = COMPENSATABLE, **more: Any) -> Step:
    """A call for each of so many items, `name[a]`, `name[b]` and so on."""

    def keys(_scope: Scope[Text]) -> list[str]:
        return [chr(ord("a") + number) for number in range(items)]

    def key(scope: Scope[Text]) -> str:
        return scope.item(str)

    return call(name, kind, for_each=ForEach(keys, key, at_once), **more)


def wait(name: str, kind: StepKind = COMPENSATABLE, **more: Any) -> Wait:
    """Waits for the event of its own name, unless `event` says another; the event `no` is a refusal."""
    decline = None if kind is RETRIABLE else Decline(_says_no, "SAID_NO")
    return replace(Wait(name, kind, name, decline=decline), **more)


def _says_no(scope: EventScope[Text, Text]) -> bool:
    return scope.event.value == "no"


def always(_scope: object) -> bool:
    """A condition that holds."""
    return True


def never(_scope: object) -> bool:
    """A condition that does not."""
    return False


def block(name: str, *branches: Sequence[Element], kind: StepKind = COMPENSATABLE, **more: Any) -> Parallel:
    named = tuple(Branch(f"b{number}", tuple(steps)) for number, steps in enumerate(branches))
    return Parallel(name, kind, named, **more)


def _given_id(scope: EventScope[Text, Text]) -> str:
    return scope.event.value


def saga_of(*steps: Element, deadline_s: float = 300.0, after: str = AT_ACCEPTANCE) -> Saga:
    """A saga of these elements, with an event for each name that is waited for, and a request to cancel it."""
    names = dict.fromkeys(each.event for each in leaves(steps) if isinstance(each, Wait))
    events = tuple(Event(name, method(f"Send_{name}"), _given_id) for name in names)
    return Saga(
        name="made_up",
        version=1,
        digest="d1",
        trigger=method("Trigger"),
        key="required",
        on_concurrent="conflict",
        retention_s=86400.0,
        deadline_s=deadline_s,
        respond=Respond(after=after, status=201, wait_s=10.0, body=repeat_input),
        steps=steps,
        events=events,
        cancel=Cancel(method("Cancel"), _given_id, "CLIENT_CANCELLED"),
    )


def at_another_pace(saga: Saga, random: Random) -> Saga:
    """As a deployment may change it without another version: the places of its loops, and how long it waits."""

    def changed(element: Element) -> Element:
        match element:
            case Step(for_each=ForEach() as each):
                return replace(element, for_each=replace(each, at_once=random.randint(1, 3)))
            case Parallel():
                branches = (Branch(b.name, tuple(map(changed, b.steps))) for b in element.branches)
                return replace(element, branches=tuple(branches))
            case Wait(within_s=float()):
                return replace(element, within_s=random.choice([5.0, 40.0]))
            case _:
                return element

    return replace(saga, steps=tuple(map(changed, saga.steps)))


def made_up(random: Random) -> Saga:
    """Some compensatable elements, in six of ten sagas a pivot, and what comes after it."""
    return _Maker(random).saga()


@dataclass
class _Maker:
    random: Random
    count: int = 0
    names: list[str] = field(default_factory=list[str])
    """What may be read: of a branch, what stands before its block and in itself."""

    def saga(self) -> Saga:
        steps = self._some(COMPENSATABLE, 0, self.random.randint(1, 3))
        if self._chance(0.6):
            steps.append(self._pivot())
            steps += self._some(RETRIABLE, 0, self.random.randint(0, 2))
        after = self.random.choice([AT_ACCEPTANCE, "completion", self.random.choice(steps).name])
        return saga_of(*steps, deadline_s=self.random.choice([300.0, 300.0, 60.0, 20.0]), after=after)

    def _chance(self, of_one: float) -> bool:
        return self.random.random() < of_one

    def _name(self) -> str:
        self.count += 1
        name = f"s{self.count}"
        self.names.append(name)
        return name

    def _some(self, kind: StepKind, depth: int, count: int) -> list[Element]:
        return [self._element(kind, depth) for _ in range(count)]

    def _pivot(self) -> Element:
        if self._chance(0.7):
            return self._call(PIVOT)
        return wait(self._name(), PIVOT, within_s=self.random.choice([None, 20.0, 40.0]))

    def _element(self, kind: StepKind, depth: int) -> Element:
        make: Callable[[], Element] = self.random.choices(
            [
                partial(self._call, kind),
                partial(self._wait, kind),
                partial(self._delay, kind),
                partial(self._block, kind, depth),
                partial(self._loop, kind),
            ],
            [50, 18, 6, 14 if depth < 2 else 0, 12],
        )[0]
        return make()

    def _when(self, chance: float) -> dict[str, Any]:
        """A condition that is false, or one that is true only if an element before has a response."""
        if not self._chance(chance):
            return {}
        earlier = self.random.choice(self.names) if self.names and self._chance(0.4) else ""

        def when(scope: Scope[Text]) -> bool:
            return bool(earlier) and scope.has(earlier)

        return {"when": when}

    def _reads(self) -> list[str]:
        return self.random.sample(self.names, min(len(self.names), self.random.choice([0, 0, 1, 2])))

    def _call(self, kind: StepKind) -> Element:
        reads = self._reads()
        more = self._when(0.12) if kind is not PIVOT else {}
        if kind is RETRIABLE:
            more["gives_up"] = self._chance(0.5)
        return call(
            self._name(),
            kind,
            self.random.choice(SERVICES),
            reads=reads,
            is_read=kind is COMPENSATABLE and self._chance(0.12),
            is_compensated=self._chance(0.93),
            is_manual=self._chance(0.1),
            max_attempts=self.random.choice([None, None, 2]) if kind is COMPENSATABLE else None,
            budget_s=self.random.choice([20.0, 20.0, 90.0]),
            **more,
        )

    def _loop(self, kind: StepKind) -> Element:
        reads, more = self._reads(), self._when(0.15)
        if kind is RETRIABLE:
            more["gives_up"] = self._chance(0.5)
        return loop(
            self._name(),
            self.random.randint(0, 4),
            self.random.randint(1, 2),
            kind,
            service=self.random.choice(SERVICES),
            reads=reads,
            **more,
        )

    def _wait(self, kind: StepKind) -> Element:
        name = self._name()
        goes_on = kind is RETRIABLE or self._chance(0.5)
        return wait(
            name,
            kind,
            event=self.random.choice([name, name, "x"]),
            within_s=self.random.choice([10.0, 30.0]),
            on_timeout=None if goes_on else "CAME_LATE",
            **self._when(0.1),
        )

    def _delay(self, kind: StepKind) -> Element:
        return Delay(self._name(), kind, after_s=self.random.choice([3.0, 12.0]), **self._when(0.1))

    def _block(self, kind: StepKind, depth: int) -> Element:
        more, before = self._when(0.08), list(self.names)
        self.count += 1
        name = f"s{self.count}"
        branches: list[list[Element]] = []
        after = list(before)
        for _ in range(self.random.randint(2, 3)):
            self.names = list(before)
            branches.append(self._some(kind, depth + 1, self.random.randint(1, 2)))
            after += self.names[len(before) :]
        self.names = after
        return block(name, *branches, kind=kind, **more)
