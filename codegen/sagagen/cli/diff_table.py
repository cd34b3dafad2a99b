"""A saga as a table in Markdown: its elements in the order of the file, those of branches below their block."""

from collections.abc import Iterator, Sequence

from sagagen.contract.model import Call, Delay, Element, ForEach, Parallel, Saga, Step, Wait
from sagagen.emit.docs_text import in_words

_HEAD = ("| | step | calls | undone by | timeout | retried |", "|---|---|---|---|---|---|")


def table(saga: Saga) -> list[str]:
    """Its lines, and one more for each of what comes from outside."""
    around = list(_around(saga))
    return [*_HEAD, *_rows(saga.steps, ""), *(["", *around] if around else [])]


def _rows(elements: Sequence[Element], before: str) -> Iterator[str]:
    """`before`: the number of the block and the name of the branch that they are in."""
    for position, element in enumerate(elements, 1):
        number = f"{before}{position}"
        yield f"| {number} | {_titled(element)} | {' | '.join(_cells(element))} |"
        if isinstance(element, Parallel):
            for branch in element.branches:
                yield from _rows(branch.steps, f"{number}.{branch.name}.")


def _titled(element: Element) -> str:
    kind = "" if element.kind.value == "compensatable" else f" ({element.kind.value})"
    return f"{element.name}{kind}{', `when`' if element.when else ''}"


def _cells(element: Element) -> tuple[str, str, str, str]:
    """What it calls, what undoes it, how long it may take, how often it is tried."""
    match element:
        case Step():
            return _of_step(element)
        case Wait():
            return f"waits for `{element.event}`", "-", _within(element), "-"
        case Delay():
            return _delayed(element), "-", "-", "-"
        case Parallel():
            return "branches side by side", "-", "-", "-"


def _of_step(step: Step) -> tuple[str, str, str, str]:
    undone = _name(step.compensation) if step.compensation else "-"
    loop = _loop(step.for_each) if step.for_each else ""
    gives_up = ", then left as it is" if step.gives_up else ""
    retried = f"{_retried(step.action)}{gives_up}"
    return f"{_name(step.action)}{loop}", undone, in_words(step.action.timeout_s), retried


def _loop(loop: ForEach) -> str:
    return f" for each `{loop.variable}`, {loop.at_once} at once, up to {loop.max_items}"


def _within(wait: Wait) -> str:
    how_long = "until the deadline" if wait.within_s is None else in_words(wait.within_s)
    return f"{how_long}, then {f'`{wait.on_timeout}`' if wait.on_timeout else 'goes on'}"


def _delayed(delay: Delay) -> str:
    if delay.after_s is not None:
        return f"lets {in_words(delay.after_s)} pass"
    return "lets time pass, as long as `after` says" if delay.after else "lets time pass, until `at`"


def _name(call: Call) -> str:
    return f"`{call.service.name}/{call.method.descriptor.name}`"


def _retried(call: Call) -> str:
    retry = call.retry
    how_long = f"{retry.max_attempts} attempts" if retry.max_attempts else "until the deadline"
    if retry.give_up_after_s is not None:
        how_long = f"for {in_words(retry.give_up_after_s)}"
    return f"{how_long}, {in_words(retry.initial_s)} to {in_words(retry.max_s)}"


def _around(saga: Saga) -> Iterator[str]:
    for event in saga.events:
        yield f"- event `{event.name}`: `{event.rpc.full_name}`"
    if saga.cancel:
        yield f"- cancel: `{saga.cancel.rpc.full_name}`, `{saga.cancel.reason}`"
    if saga.start:
        yield f"- starts later, up to {in_words(saga.start.at_most_s)}"
    if saga.subject:
        yield "- says whose data it holds"
    if saga.index:
        yield f"- index: {', '.join(f'`{value.name}`' for value in saga.index)}"
