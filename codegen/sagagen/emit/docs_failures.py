"""The table of what happens when an element of a saga fails, in generated/docs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from sagagen.contract.model import Delay, Element, Parallel, Saga, Step, Wait, leaves
from sagagen.emit.docs_steps import budget_s, called
from sagagen.emit.docs_text import code, in_words, listed
from sagagen.emit.failure_paths import FailurePath, FailurePaths, Fault, SideBySide, Undoing, WayBack
from sagagen.emit.saga_tree import every
from sagagen.runtime.edge.problem import CANCELLED_STATUS, COMPENSATED, HTTP_STATUS
from sagagen.runtime.model.definition import AT_ACCEPTANCE, StepKind, final_status
from sagagen.runtime.rpc.errors import Code
from sagagen.runtime.saga.events import Outcome, SagaStatus

DECLINED_STATUS = HTTP_STATUS[Code.FAILED_PRECONDITION]
"""The HTTP status for a step that a service declined: a refusal has only one code on the wire."""


@dataclass(frozen=True, slots=True)
class FailureRow:
    step: str
    how: str
    undone: str
    ends: str
    client: str


def failure_rows(saga: Saga, paths: FailurePaths) -> Iterator[FailureRow]:
    """One for each element and way to fail."""
    elements = {element.name: element for element in every(saga.steps)}
    for path in paths.values():
        element = elements[path.step]
        yield FailureRow(
            step=code(path.step),
            how=_how(element, path.fault),
            undone=_Undone(elements).words(path),
            ends=_ends(path, element),
            client=client_gets(saga, path),
        )


def notes(saga: Saga) -> Iterator[str]:
    """What else the table has to be read with, besides what is true of any saga."""
    elements = tuple(every(saga.steps))
    if any(element.when for element in elements):
        yield "The same happens if a `when` can't be worked out. What is skipped has nothing to undo."
    if any(isinstance(element, Parallel) for element in elements):
        yield (
            "Branches go on side by side. The table has those beside the one that fails done: what had not begun there "
            "by then needs no undoing."
        )
    if saga.events:
        yield (
            "An event that no wait has got when the saga turns back or ends changes nothing: `sagagen sagas show` "
            "lists it as unconsumed."
        )


def _how(element: Element, fault: Fault) -> str:
    match fault:
        case Fault.DECLINED:
            return _declined(element)
        case Fault.NO_ANSWER:
            return _no_answer(element)
        case Fault.TIMED_OUT:
            assert isinstance(element, Wait), "only waits time out"
            return f"no event within {in_words(element.within_s or 0)}"
        case Fault.LATE:
            return "the deadline passes meanwhile"
        case Fault.CANCELLED:
            is_call = element.kind is StepKind.PIVOT and isinstance(element, Step)
            return "the client cancels just before" if is_call else "the client cancels meanwhile"
        case Fault.NOT_BUILT:
            return _not_built(element)


def _declined(element: Element) -> str:
    if isinstance(element, Wait):
        return "the event is a refusal"
    is_loop = isinstance(element, Step) and element.for_each
    return "the service declines an item" if is_loop else "the service declines"


def _no_answer(element: Element) -> str:
    what = "an item" if isinstance(element, Step) and element.for_each else "it"
    return {
        StepKind.COMPENSATABLE: f"{what} keeps failing: the outcome is unknown",
        StepKind.PIVOT: "it was attempted, and keeps failing",
        StepKind.RETRIABLE: f"{what} keeps failing",
    }[element.kind]


def _not_built(element: Element) -> str:
    if isinstance(element, Delay):
        return f"it would take more than {in_words(element.at_most_s or 0)}"
    loop = element.for_each if isinstance(element, Step) else None
    assert loop, "only loops have lists"
    more = f"more than {loop.max_items} items"
    return f"its list has {more}, or two with one key" if loop.key else f"its list has {more}"


class _Undone:
    def __init__(self, elements: Mapping[str, Element]) -> None:
        self._elements = elements

    def words(self, path: FailurePath) -> str:
        left = [each.step for each in path.undone if each.is_left and not self._is_read(each.step)]
        words = self._way(path.back) or "nothing"
        return f"{words}; {listed(map(code, left))} stays as it is" if left else words

    def _way(self, back: WayBack) -> str:
        return ", then ".join(filter(None, map(self._part, back)))

    def _part(self, each: Undoing | SideBySide) -> str:
        if isinstance(each, Undoing):
            return self._sent(each.step)
        branches = [words for branch in each.branches if (words := self._way(branch))]
        return " beside ".join(f"({words})" for words in branches) if len(branches) > 1 else "".join(branches)

    def _sent(self, name: str) -> str:
        step = self._elements[name]
        if not isinstance(step, Step) or step.compensation is None:
            return ""
        items = " for each item" if step.for_each else ""
        return f"{code(name)} by {called(step.compensation)}{items}"

    def _is_read(self, name: str) -> bool:
        step = self._elements[name]
        return isinstance(step, Step) and step.action.method.is_read


def _ends(path: FailurePath, element: Element) -> str:
    if path.status is SagaStatus.COMPLETED:
        return f"it goes on: {code('COMPLETED')}{_without(element)}"
    if path.status is not SagaStatus.STUCK:
        return code(str(path.status))
    after = "at once"
    if isinstance(element, Step) and path.fault is not Fault.NOT_BUILT:
        after = f"after {in_words(budget_s(element.action))}"
    return f"{code('STUCK')} {after}: it waits for an operator"


def _without(element: Element) -> str:
    return f", incomplete: {code(element.name)}" if isinstance(element, Step) else ""


class Settled(Enum):
    """Whether one element is over when another one fails."""

    YES = auto()
    NO = auto()
    MAYBE = auto()
    """It is in another branch of the same block."""


def client_gets(saga: Saga, path: FailurePath) -> str:
    """What the client gets in the end for the request that started the saga."""
    answer, after = code(str(final_status(saga.respond.status))), f"after {code(saga.respond.after)}"
    final = _final(saga, path)
    match is_settled(saga.steps, saga.respond.after, path.step):
        case Settled.YES:
            return f"{answer}, already {after}"
        case Settled.MAYBE if final != answer:
            return f"{answer} if already {after}, else {final}"
        case _:
            return f"{code('202')} at once, then {final}" if saga.respond.after == AT_ACCEPTANCE else final


def is_settled(elements: Sequence[Element], name: str, failing: str) -> Settled:
    """Whether the element `name` is over by the time that `failing` fails."""
    for element in elements:
        inner = {each.name for each in every([element])}
        if failing in inner:
            return _within(element, name, failing) if name in inner else Settled.NO
        if name in inner:
            return Settled.YES
    return Settled.NO


def _within(element: Element, name: str, failing: str) -> Settled:
    if not isinstance(element, Parallel) or element.name == name:
        return Settled.NO
    own = next(
        branch for branch in element.branches if any(each.name == failing for each in every(branch.steps))
    )
    is_own = any(each.name == name for each in every(own.steps))
    return is_settled(own.steps, name, failing) if is_own else Settled.MAYBE


def _final(saga: Saga, path: FailurePath) -> str:
    if path.status is SagaStatus.COMPLETED:
        return code(str(final_status(saga.respond.status)))
    if path.outcome is None:
        return f"{code('202')}, and {code('409')} for the same key, until there is an answer"
    if path.fault is Fault.CANCELLED and saga.cancel:
        return f"{code(str(CANCELLED_STATUS))} with the reason {code(saga.cancel.reason)}"
    if path.outcome is Outcome.REFUSED:
        return f"{code(str(DECLINED_STATUS))} with {_reason(saga, path)}"
    return f"{code('502')} {code(COMPENSATED)}"


def _reason(saga: Saga, path: FailurePath) -> str:
    element = next(each for each in leaves(saga.steps) if each.name == path.step)
    if not isinstance(element, Wait):
        return f"the service's {code('reason')}"
    said = element.decline.reason if path.fault is Fault.DECLINED and element.decline else element.on_timeout
    return f"the reason {code(said or '')}"
