"""The table of a saga's elements in generated/docs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sagagen.contract.model import Call, Delay, Element, Parallel, Saga, Step, Wait
from sagagen.emit.docs_text import code, in_words, repeats
from sagagen.runtime.model.definition import StepKind
from sagagen.runtime.saga.decision import DEFAULT_BUDGET_S


@dataclass(frozen=True, slots=True)
class StepRow:
    number: str
    name: str
    kind: str
    runs: str
    undone_by: str
    timeout: str
    repeated: str
    undoing: str


def step_rows(saga: Saga) -> Iterator[StepRow]:
    """One for each element; those in branches below their block, `3.1`, `3.2`."""
    return _rows(saga.steps, "", "")


def _rows(elements: Iterable[Element], prefix: str, branch: str, first: int = 1) -> Iterator[StepRow]:
    for number, element in enumerate(elements, first):
        place = f"{prefix}{number}"
        yield _row(place, f"{code(element.name)}{branch}", element)
        if isinstance(element, Parallel):
            below = 1
            for each in element.branches:
                yield from _rows(each.steps, f"{place}.", f" (branch {code(each.name)})", below)
                below += len(each.steps)


def _row(number: str, name: str, element: Element) -> StepRow:
    match element:
        case Step():
            return _step_row(number, name, element)
        case Wait():
            runs, timeout = f"waits for {code(element.event)}", _time_out(element)
        case Delay():
            runs, timeout = _delay(element), ""
        case Parallel():
            runs, timeout = f"{' and '.join(code(each.name) for each in element.branches)}, side by side", ""
    return StepRow(
        number=number,
        name=name,
        kind=_kind(element),
        runs=runs,
        undone_by="" if isinstance(element, Parallel) else _nothing_to_undo(element),
        timeout=timeout,
        repeated="",
        undoing="",
    )


def _step_row(number: str, name: str, step: Step) -> StepRow:
    return StepRow(
        number=number,
        name=name,
        kind=_kind(step),
        runs=_runs(step),
        undone_by=_undone_by(step),
        timeout=in_words(step.action.timeout_s),
        repeated=repeats(step.action.retry, _until(step)),
        undoing=_undoing(step.compensation) if step.compensation else "",
    )


def _kind(element: Element) -> str:
    is_read = isinstance(element, Step) and element.action.method.is_read
    kind = "read" if is_read else element.kind.value
    what = "items may" if isinstance(element, Step) and element.for_each else "may"
    return f"{kind}, {what} be skipped" if element.when else kind


def _runs(step: Step) -> str:
    if loop := step.for_each:
        each = f"for each {code(loop.variable)}, {loop.at_once} at once, at most {loop.max_items}"
        return f"{called(step.action)}, {each}"
    return called(step.action)


def called(call: Call) -> str:
    return code(f"{call.service.name}/{call.method.descriptor.name}")


def _time_out(wait: Wait) -> str:
    if wait.within_s is None:
        return "the saga's deadline"
    then = code(wait.on_timeout) if wait.on_timeout else "it goes on"
    return f"{in_words(wait.within_s)}, then {then}"


def _delay(delay: Delay) -> str:
    if delay.after_s is not None:
        return f"lets {in_words(delay.after_s)} pass"
    how = "as long as" if delay.after else "until the time that"
    at_most = f", at most {in_words(delay.at_most_s)}" if delay.at_most_s is not None else ""
    return f"lets time pass, {how} the saga's data says{at_most}"


def _nothing_to_undo(element: Wait | Delay) -> str:
    return "nothing to undo" if element.kind is StepKind.COMPENSATABLE else "never undone"


def _undone_by(step: Step) -> str:
    if step.compensation:
        return called(step.compensation)
    if step.kind is not StepKind.COMPENSATABLE:
        return "never undone"
    return "nothing to undo" if step.action.method.is_read else "left as it is"


def _until(step: Step) -> str:
    match step.kind:
        case StepKind.COMPENSATABLE:
            return "until the saga's deadline"
        case StepKind.PIVOT:
            return f"once attempted, for {in_words(budget_s(step.action))}"
        case StepKind.RETRIABLE:
            then = ", then given up" if step.gives_up else ""
            return f"for {in_words(budget_s(step.action))}{then}"


def _undoing(call: Call) -> str:
    return f"time-out {in_words(call.timeout_s)}; {repeats(call.retry, f'for {in_words(budget_s(call))}')}"


def budget_s(call: Call) -> float:
    return call.retry.give_up_after_s or DEFAULT_BUDGET_S
