"""What happens if a step of a saga fails, as rows of a table: from its definition alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sagagen.runtime.console.definition_graph import duration
from sagagen.runtime.model.definition import Delay, Element, Parallel, Saga, Step, StepKind, Wait

NOTHING: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureRow:
    step: str
    how: str
    undone: tuple[str, ...]
    """Names of steps, in the order in which they are undone."""
    beside: bool
    """And what other branches have done by then."""
    status: str
    """What the saga is then."""
    note: str = ""


def failure_rows(saga: Saga) -> list[FailureRow]:
    return list(_rows(saga.steps, (), beside=False))


def _rows(elements: Sequence[Element], before: tuple[str, ...], *, beside: bool) -> Iterator[FailureRow]:
    """`before`: what undoes what was done until then, the last first."""
    for element in elements:
        match element:
            case Parallel():
                for branch in element.branches:
                    yield from _rows(branch.steps, before, beside=beside or len(element.branches) > 1)
                before = tuple(reversed(_undoable(element))) + before
            case Step():
                yield from _of_step(element, before, beside)
                before = (element.name, *before) if element.compensation else before
            case Wait():
                yield from _of_wait(element, before, beside)
            case Delay():
                pass


def _undoable(block: Parallel) -> list[str]:
    found: list[str] = []
    for branch in block.branches:
        for element in branch.steps:
            if isinstance(element, Parallel):
                found += _undoable(element)
            elif isinstance(element, Step) and element.compensation:
                found.append(element.name)
    return found


def _of_step(step: Step, before: tuple[str, ...], beside: bool) -> Iterator[FailureRow]:
    budget_s = step.action.retry.give_up_after_s
    stuck = (
        f"after {duration(budget_s)}: it waits for an operator" if budget_s else "it waits for an operator"
    )
    match step.kind:
        case StepKind.COMPENSATABLE:
            own = (step.name, *before) if step.compensation else before
            yield FailureRow(step.name, "the service declines", before, beside, "COMPENSATED")
            yield FailureRow(
                step.name, "it keeps failing: the outcome is unknown", own, beside, "COMPENSATED"
            )
        case StepKind.PIVOT:
            yield FailureRow(step.name, "the service declines", before, beside, "COMPENSATED")
            yield FailureRow(step.name, "it was attempted, and keeps failing", NOTHING, False, "STUCK", stuck)
        case StepKind.RETRIABLE if step.gives_up:
            yield FailureRow(step.name, "it keeps failing", NOTHING, False, "COMPLETED", "without this step")
        case StepKind.RETRIABLE:
            yield FailureRow(step.name, "it keeps failing", NOTHING, False, "STUCK", stuck)


def _of_wait(wait: Wait, before: tuple[str, ...], beside: bool) -> Iterator[FailureRow]:
    if wait.decline:
        how = f"the event declines: {wait.decline.reason}"
        yield FailureRow(wait.name, how, before, beside, "COMPENSATED")
    within = f" within {duration(wait.within_s)}" if wait.within_s else " before the deadline"
    if wait.on_timeout is None:
        yield FailureRow(wait.name, f"no event{within}", NOTHING, False, "RUNNING", "it goes on without it")
    else:
        how = f"no event{within}: {wait.on_timeout}"
        yield FailureRow(wait.name, how, before, beside, "COMPENSATED")
