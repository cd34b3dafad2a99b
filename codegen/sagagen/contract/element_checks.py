"""Rules about each element of a saga: what it undoes, its kind, and what its keys say together."""

from collections.abc import Iterable, Iterator, Mapping

from sagagen.contract.broken import Broken
from sagagen.contract.codes import Code
from sagagen.contract.element_shape import DelayTimeShape
from sagagen.contract.findings import error, note
from sagagen.contract.located import Located
from sagagen.contract.outline import (
    DelayOutline,
    ElementOutline,
    ParallelOutline,
    SagaOutline,
    StepOutline,
    Target,
    Undo,
    WaitOutline,
    within,
)
from sagagen.contract.policies import check_compensation_policy, check_step_policy
from sagagen.contract.shape import StartShape
from sagagen.diagnostics import Diagnostic
from sagagen.expression import variable_problem
from sagagen.runtime.model.definition import StepKind
from sagagen.source import Span


def check_elements(saga: SagaOutline) -> Iterator[Diagnostic]:
    for element in saga.elements:
        yield from _check_kind(element)
        if element.place.said not in {None, element.kind}:
            continue  # its kind is wrong, and the rest follows from it
        match element:
            case StepOutline():
                yield from _check_step(element)
            case WaitOutline():
                yield from _check_wait(element)
            case DelayOutline():
                yield from _check_delay(element)
            case ParallelOutline():
                yield from _check_block(element, saga.broken)
                yield from _check_shared_services(element)
    if saga.shape.start is not None:
        yield from _check_time(saga.shape.start, "start", saga.span)


# Kinds


def _check_kind(element: ElementOutline) -> Iterator[Diagnostic]:
    said, kind = element.place.said, element.kind
    if said is StepKind.PIVOT:
        yield from _check_pivot(element)
    elif said is not None and said is not kind:
        message = f'step "{element.name}" is {said}, but the block that it stands in is {kind}'
        hint = f"remove kind here, or say kind: {said} at the block: all steps of a block are of its kind"
        yield error(element.place.span, Code.KIND_OF_BLOCK, message, hint)
    elif _is_guessed(element):
        message = f'the block "{element.name}" comes after the pivot, and does not say that it is retriable'
        hint = "say kind: retriable at the block: its steps then are"
        yield error(element.span, Code.KIND_OF_BLOCK, message, hint)


def _is_guessed(element: ElementOutline) -> bool:
    """Behind the pivot a block that says nothing is taken for what it must be."""
    place = element.place
    is_unsaid = isinstance(element, ParallelOutline) and place.said is None and not place.is_given
    return is_unsaid and place.value is StepKind.RETRIABLE


def _check_pivot(element: ElementOutline) -> Iterator[Diagnostic]:
    """Everything before the pivot can be undone, everything after it must happen: it is one moment of the saga."""
    at = element.place.span
    if element.place.is_given:
        message = f'the pivot "{element.name}" stands in a block'
        hint = "move it out of the block: there must be one point of no return for all branches"
        yield error(at, Code.PIVOT_MISPLACED, message, hint)
    elif isinstance(element, DelayOutline):
        message = f'the delay "{element.name}" cannot be the pivot: it decides nothing'
        yield error(at, Code.PIVOT_MISPLACED, message, "make the call or the wait that decides the pivot")
    elif isinstance(element, ParallelOutline):
        message = f'the block "{element.name}" cannot be the pivot'
        hint = "make one call or wait behind the block the pivot: there must be one point of no return"
        yield error(at, Code.PIVOT_MISPLACED, message, hint)
    elif element.shape.when is not None:
        message = f'the pivot "{element.name}" has a condition, and may be skipped'
        hint = "remove when: without its pivot a saga has no point of no return"
        yield error(element.shape.when.span, Code.PIVOT_MISPLACED, message, hint)
    elif isinstance(element, StepOutline) and element.shape.for_each is not None:
        message = f'the pivot "{element.name}" is repeated for each item of a list'
        hint = "remove for_each: a saga has one point of no return"
        yield error(element.shape.for_each.item.span, Code.PIVOT_MISPLACED, message, hint)


# Calls


def _check_step(step: StepOutline) -> Iterator[Diagnostic]:
    yield from _check_compensation(step)
    yield from _check_policies(step)
    yield from _check_item(step)
    said = step.shape.on_give_up
    if said is not None and step.kind is not StepKind.RETRIABLE:
        why = "the saga turns back" if step.kind is StepKind.COMPENSATABLE else "it decides"
        message = f'step "{step.name}" is {_a(step.kind)}, and cannot be given up: when it fails, {why}'
        hint = "remove on_give_up, or make the step retriable, after the pivot"
        yield error(said.span, Code.CANNOT_GIVE_UP, message, hint)


def _a(kind: StepKind) -> str:
    return "the pivot" if kind is StepKind.PIVOT else str(kind)


def _check_item(step: StepOutline) -> Iterator[Diagnostic]:
    loop = step.shape.for_each
    problem = variable_problem(loop.item.value) if loop is not None else None
    if loop is not None and problem is not None:
        yield problem.at(loop.item.span)


def _check_compensation(step: StepOutline) -> Iterator[Diagnostic]:
    if step.kind is not StepKind.COMPENSATABLE:
        yield from _check_needless(step, f"a {step.kind} step is never compensated")
        return
    if step.action is not None and step.action.method.is_read:
        yield from _check_needless(step, f'"{_rpc(step.action)}" is a read, which leaves nothing to undo')
    elif step.action is not None and step.undo is Undo.UNSAID:
        message = f'step "{step.name}" does not say how it is compensated'
        hint = f"add compensate: {{ call: {step.action.service.name}/..., request: {{...}} }}, or compensate: none"
        yield error(step.span, Code.MISSING_COMPENSATION, message, hint)
    if step.compensation is not None and step.compensation.method.is_read:
        message = f'"{_rpc(step.compensation)}" is a read: it cannot undo anything'
        hint = f'call a write of "{step.compensation.service.name}", or say compensate: none'
        yield error(step.compensation.span, Code.COMPENSATION_READS, message, hint)
    else:
        yield from _check_same_service(step)


def _check_same_service(step: StepOutline) -> Iterator[Diagnostic]:
    """Only the barrier that recorded an action undoes it; every other barrier takes it for one that never ran."""
    action, compensation = step.action, step.compensation
    if action is not None and compensation is not None and action.service is not compensation.service:
        message = (
            f'step "{step.name}" acts at "{action.service.name}", but is undone at "{compensation.service.name}", '
            "which has never seen the action and would do nothing"
        )
        hint = (
            f'call an rpc of "{action.service.name}", or make the work at the other service a step of its own'
        )
        yield error(compensation.span, Code.COMPENSATION_ELSEWHERE, message, hint)


def _check_needless(step: StepOutline, why: str) -> Iterator[Diagnostic]:
    if step.undo is Undo.CALL:
        message = f'step "{step.name}" has a compensation that is never called: {why}'
        yield error(step.undo_span, Code.NEEDLESS_COMPENSATION, message, "remove compensate")


def _rpc(target: Target) -> str:
    return f"{target.service.name}/{target.method.descriptor.name}"


def _check_policies(step: StepOutline) -> Iterator[Diagnostic]:
    yield from check_step_policy(step.shape, step.kind)
    if step.compensate is not None:
        yield from check_compensation_policy(step.compensate)


# Waits, delays, blocks


def _check_wait(wait: WaitOutline) -> Iterator[Diagnostic]:
    shape = wait.shape
    if wait.kind is StepKind.PIVOT and isinstance(shape.on_timeout, Located):
        message = f'the pivot "{wait.name}" goes on when nothing has come, though it decides'
        hint = "remove on_timeout, or say on_timeout: { decline: REASON }: then the saga turns back"
        yield error(shape.on_timeout.span, Code.PIVOT_GOES_ON, message, hint)
    if wait.kind is not StepKind.RETRIABLE:
        return
    if shape.within is None:
        message = f'the wait "{wait.name}" has no end: after the pivot no deadline ends it'
        yield error(wait.span, Code.WAIT_WITHOUT_END, message, "say how long it waits: within: 24h")
    if shape.decline is not None:
        yield _no_way_back(wait, shape.decline.reason.span, "remove decline")
    if shape.on_timeout is not None and not isinstance(shape.on_timeout, Located):
        yield _no_way_back(wait, shape.on_timeout.decline.span, "say on_timeout: continue")


def _no_way_back(wait: WaitOutline, at: Span, hint: str) -> Diagnostic:
    message = f'the wait "{wait.name}" comes after the pivot, where nothing turns the saga back'
    return error(at, Code.DECLINE_AFTER_PIVOT, message, f"{hint}, or move the wait before the pivot")


def _check_delay(delay: DelayOutline) -> Iterator[Diagnostic]:
    time = delay.shape.delay
    yield from _check_time(time, "delay", delay.span)
    is_expression = (time.after is not None and not isinstance(time.after, Located)) or time.at is not None
    if delay.kind is StepKind.RETRIABLE and is_expression and time.at_most is None:
        message = f'the delay "{delay.name}" has no bound: after the pivot no deadline ends it'
        hint = "say how late it may be: at_most: 14d"
        yield error(delay.span, Code.DELAY_WITHOUT_BOUND, message, hint)


def _check_time(time: DelayTimeShape | StartShape, what: str, at: Span) -> Iterator[Diagnostic]:
    if time.after is None and time.at is None:
        hint = "add after: with a duration, or at: with a time"
        yield error(at, Code.NOT_ONE_TIME, f"{what} says neither after nor at", hint)
    elif time.after is not None and time.at is not None:
        message = f"{what} has both after and at"
        yield error(time.at.span, Code.NOT_ONE_TIME, message, "keep one of the two")
    elif isinstance(time.after, Located) and time.at_most is not None:
        message = f"at_most has no effect: after is always {time.after.scalar.text}"
        yield error(time.at_most.span, Code.IDLE_BOUND, message, "remove at_most")


def _check_block(block: ParallelOutline, broken: Broken) -> Iterator[Diagnostic]:
    if broken.steps:
        return  # what is missing may be what could not be read
    if not block.branches:
        message = f'the block "{block.name}" has no branches'
        yield error(block.span, Code.EMPTY_BLOCK, message, "add a branch: its name, and a list of steps")
    for branch in block.branches:
        if not branch.steps:
            message = f'the branch "{branch.name}" has no steps'
            yield error(branch.span, Code.EMPTY_BLOCK, message, "add a step, or remove the branch")


def _check_shared_services(block: ParallelOutline) -> Iterator[Diagnostic]:
    """Branches that write through one service stay correct, but do not overtake each other there."""
    writers: dict[str, dict[str, Target]] = {}
    for branch in block.branches:
        for target in _writes(branch.steps):
            writers.setdefault(target.service.name, {}).setdefault(branch.name, target)
    for service, branches in writers.items():
        if len(branches) > 1:
            yield _shared(block, service, branches)


def _writes(elements: Iterable[ElementOutline]) -> Iterator[Target]:
    for step in within(elements):
        target = step.action if isinstance(step, StepOutline) else None
        if target is not None and not target.method.is_read:
            yield target


def _shared(block: ParallelOutline, service: str, branches: Mapping[str, Target]) -> Diagnostic:
    one, other, *more = branches
    others = f" and {len(more)} more" if more else ""
    message = (
        f'the branches "{one}" and "{other}"{others} of "{block.name}" write through "{service}", '
        "which commits one call after the other"
    )
    hint = "leave it if the order does not matter; steps that depend on each other belong in one branch"
    return note(branches[other].span, Code.BRANCHES_SHARE_SERVICE, message, hint)
