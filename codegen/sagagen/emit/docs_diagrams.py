"""A saga as Mermaid draws it: its calls in sequence, forward and back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sagagen.contract.model import Call, Delay, Element, Parallel, Saga, Step, Wait
from sagagen.emit.docs_text import in_words, label
from sagagen.emit.failure_paths import FailurePath, FailurePaths, Fault, SideBySide, Undoing, WayBack
from sagagen.emit.saga_tree import every
from sagagen.runtime.model.definition import AT_ACCEPTANCE, final_status

AT_COMPLETION = "completion"
TURNING = (Fault.LATE, Fault.TIMED_OUT, Fault.DECLINED)
"""What the longest way back may begin with, what is best last. A call is declined, since then nothing is in doubt."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What clients send."""

    start: str
    events: Mapping[str, str]
    """By the event's name."""


def there(saga: Saga, requests: Requests) -> tuple[str, ...]:
    """The calls of a saga in which everything goes well."""
    return tuple(_Sequence(saga, requests).well())


def back(saga: Saga, requests: Requests, paths: FailurePaths) -> tuple[str, ...]:
    """The calls if the saga turns back as late as it can; empty if no step has anything to undo."""
    places = {element.name: place for place, element in enumerate(every(saga.steps))}
    turning = [path for path in paths.values() if path.fault in TURNING and _sent(path)]
    longest = max(
        turning,
        key=lambda path: (_sent(path), places[path.step], TURNING.index(path.fault)),
        default=None,
    )
    return tuple(_Sequence(saga, requests).turned_back(longest)) if longest else ()


def _sent(path: FailurePath) -> int:
    return sum(not undoing.is_left for undoing in path.undone)


class _Sequence:
    def __init__(self, saga: Saga, requests: Requests) -> None:
        self._saga = saga
        self._requests = requests
        self._turns_back = False
        """Then only what leads to it is drawn of the ways that a wait may end."""
        self._elements = {element.name: element for element in every(saga.steps)}
        calls = [call for step in saga.calls for call in (step.action, step.compensation) if call]
        names = dict.fromkeys(call.service.name for call in calls)
        self._ids = {name: f"s{number}" for number, name in enumerate(names, 1)}

    def well(self) -> Iterator[str]:
        yield from self._opening()
        yield from _indented(self._list(self._saga.steps))
        yield from _indented(self._answer_at(AT_COMPLETION))
        yield "    Note over gateway: COMPLETED"

    def turned_back(self, path: FailurePath) -> Iterator[str]:
        self._turns_back = True
        yield from self._opening()
        yield from _indented(self._until(self._saga.steps, path))
        yield "    Note over gateway: COMPENSATING"
        yield from _indented(self._back(path.back))
        yield "    Note over gateway: COMPENSATED"

    def _opening(self) -> Iterator[str]:
        yield "sequenceDiagram"
        yield "    participant client as Client"
        if any(isinstance(element, Wait) for element in self._elements.values()):
            yield "    participant sender as Sender of events"
        yield "    participant gateway as Gateway"
        for name, identifier in self._ids.items():
            yield f"    participant {identifier} as {label(name)}"
        yield f"    client->>gateway: {label(self._requests.start)}"
        if self._saga.respond.after == AT_ACCEPTANCE:
            yield "    gateway-->>client: 202"

    def _list(self, elements: Iterable[Element]) -> Iterator[str]:
        for element in elements:
            lines: Iterable[str] = self._done(element)
            if element.when:
                lines = _block("opt", f"unless {_skipped(element)} is skipped", lines)
            if isinstance(element, Step) and element.for_each:
                lines = _block("loop", _each(element), lines)
            yield from lines
            yield from self._answer_at(element.name)

    def _done(self, element: Element) -> Iterator[str]:
        match element:
            case Step():
                yield from self._called(element)
            case Wait():
                yield from self._waited(element)
            case Delay():
                yield f"Note over gateway: {label(_passing(element))}"
            case Parallel():
                yield from _par((branch.name, self._list(branch.steps)) for branch in element.branches)

    def _called(self, step: Step) -> Iterator[str]:
        yield self._call(step.action)
        yield f"{self._ids[step.action.service.name]}-->>gateway: done"

    def _waited(self, wait: Wait) -> Iterator[str]:
        event = self._sent(wait.event)
        ways = [(f"{wait.name}: the event comes", event)]
        if self._turns_back:
            yield from event
            return
        if wait.decline:
            ways.append(("it is a refusal", [*event, _turns_back(wait.decline.reason)]))
        if wait.within_s is not None:
            after = _turns_back(wait.on_timeout) if wait.on_timeout else "Note over gateway: goes on"
            ways.append((f"nothing within {in_words(wait.within_s)}", [after]))
        yield from _alternatives(ways) if len(ways) > 1 else event

    def _sent(self, event: str) -> Sequence[str]:
        return (
            f"sender->>gateway: {label(self._requests.events[event])}",
            "gateway-->>sender: 200",
        )

    def _until(self, elements: Iterable[Element], path: FailurePath) -> Iterator[str]:
        """What happens until the element fails, and how it does."""
        for element in elements:
            if element.name == path.step:
                yield from self._fails(element, path.fault)
                return
            if isinstance(element, Parallel) and any(each.name == path.step for each in every([element])):
                yield from _par((branch.name, self._until(branch.steps, path)) for branch in element.branches)
                return
            yield from self._list([element])

    def _fails(self, element: Element, fault: Fault) -> Iterator[str]:
        if isinstance(element, Step):
            yield self._call(element.action)
            yield f"{self._ids[element.action.service.name]}--xgateway: declined"
        elif fault is Fault.LATE:
            yield f"Note over gateway: {label(element.name)}: the deadline passes"
        elif isinstance(element, Wait) and fault is Fault.DECLINED:
            yield from self._sent(element.event)
            yield f"Note over gateway: {label(element.name)}: a refusal"
        elif isinstance(element, Wait):
            yield f"Note over gateway: {label(element.name)}: nothing within {in_words(element.within_s or 0)}"

    def _back(self, way: WayBack) -> Iterator[str]:
        for each in way:
            match each:
                case Undoing(step):
                    yield from self._undone(self._elements[step])
                case SideBySide(branches):
                    drawn = [(_first(branch), [*self._back(branch)]) for branch in branches]
                    sent = [(name, lines) for name, lines in drawn if lines]
                    yield from _par(sent) if len(sent) > 1 else [line for _, lines in sent for line in lines]

    def _undone(self, step: Element) -> Iterator[str]:
        if isinstance(step, Step) and step.compensation:
            service = self._ids[step.compensation.service.name]
            lines = [self._call(step.compensation), f"{service}-->>gateway: undone"]
            yield from _block("loop", _each(step), lines) if step.for_each else lines

    def _answer_at(self, place: str) -> Iterator[str]:
        if self._saga.respond.after == place:
            yield f"gateway-->>client: {final_status(self._saga.respond.status)}"

    def _call(self, call: Call) -> str:
        return f"gateway->>{self._ids[call.service.name]}: {label(call.method.descriptor.name)}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _block(kind: str, text: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"{kind} {label(text)}"
    yield from _indented(lines)
    yield "end"


def _par(branches: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    return _parts("par", "and", branches)


def _alternatives(ways: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    return _parts("alt", "else", ways)


def _parts(first: str, other: str, parts: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    for number, (text, lines) in enumerate(parts):
        yield f"{other if number else first} {label(text)}"
        yield from _indented(lines)
    yield "end"


def _each(step: Step) -> str:
    assert step.for_each, "asked of loops only"
    return f"{step.name}: for each {step.for_each.variable}, {step.for_each.at_once} at once"


def _skipped(element: Element) -> str:
    loop = element.for_each if isinstance(element, Step) else None
    return f"this {loop.variable}" if loop else element.name


def _passing(delay: Delay) -> str:
    return delay.name if delay.after_s is None else f"{delay.name}: {in_words(delay.after_s)}"


def _turns_back(reason: str) -> str:
    return f"Note over gateway: turns back, {label(reason)}"


def _first(way: WayBack) -> str:
    """What a branch of the way back is called: by the step that is undone first."""
    first = way[0]
    return f"undo {first.step}" if isinstance(first, Undoing) else _first(first.branches[0])
