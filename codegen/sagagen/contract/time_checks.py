"""Rules about time: what fits the saga's deadline, and how long services and the gateway must remember it."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from sagagen.contract.codes import Code
from sagagen.contract.findings import error, warning
from sagagen.contract.located import Located
from sagagen.contract.model import Service
from sagagen.contract.outline import (
    DelayOutline,
    ElementOutline,
    ParallelOutline,
    SagaOutline,
    StepOutline,
    WaitOutline,
)
from sagagen.contract.policies import Policy
from sagagen.diagnostics import Diagnostic
from sagagen.runtime.model.definition import StepKind
from sagagen.source import Span


def check_times(saga: SagaOutline) -> Iterator[Diagnostic]:
    yield from _check_timeouts(saga)
    yield from _check_first_waits(saga)
    yield from _check_waits_fit(saga)
    yield from _check_answers_kept(saga)


def _check_waits_fit(saga: SagaOutline) -> Iterator[Diagnostic]:
    """A wait that the deadline always ends first could never time out as it says."""
    passed_s = 0.0
    for element in saga.steps:
        if element.kind is StepKind.RETRIABLE:
            return
        before_s = passed_s
        passed_s += _longest_of_s(element, _fixed_s)
        if passed_s >= saga.deadline_s:
            yield _over_deadline(saga, element, before_s, passed_s)
            return


def _fixed_s(element: ElementOutline) -> float:
    """What certainly may pass; an expression is bounded by the deadline itself."""
    is_fixed = not isinstance(element, DelayOutline) or isinstance(element.shape.delay.after, Located)
    return _lasts_s(element) if is_fixed else 0.0


def _over_deadline(
    saga: SagaOutline, element: ElementOutline, before_s: float, passed_s: float
) -> Diagnostic:
    slowest = _slowest(element, saga.deadline_s - before_s)
    with_others = ", with the waits and delays before it" if before_s or slowest is not element else ""
    message = (
        f'"{slowest.name}" may last until {_in_words(passed_s)} after the start{with_others}, '
        f"but the saga's deadline is {_in_words(saga.deadline_s)}"
    )
    hint = f"extend the deadline beyond {_in_words(passed_s)}, or shorten it"
    return error(_length_span(slowest), Code.WAITS_OVER_DEADLINE, message, hint)


def _slowest(element: ElementOutline, left_s: float) -> ElementOutline:
    """The one with which the longest path is over."""
    if not isinstance(element, ParallelOutline):
        return element
    branch = max(element.branches, key=lambda each: _longest_s(each.steps, _fixed_s))
    for step in branch.steps:
        lasts_s = _longest_of_s(step, _fixed_s)
        if lasts_s >= left_s:
            return _slowest(step, left_s)
        left_s -= lasts_s
    return element


def _length_span(element: ElementOutline) -> Span:
    match element:
        case WaitOutline(shape=shape) if shape.within is not None:
            return shape.within.span
        case DelayOutline(shape=shape) if shape.delay.after is not None:
            return shape.delay.after.span
        case _:
            return element.span


def _check_timeouts(saga: SagaOutline) -> Iterator[Diagnostic]:
    """The deadline does not shorten a pivot's calls, and retriable steps have none."""
    for steps in _by_place(saga, lambda step: step.action_policy.timeout_span):
        timeout_s = steps[0].action_policy.timeout_s
        if timeout_s > saga.deadline_s:
            over = f"{timeout_s:g}s, longer than the saga's deadline of {saga.deadline_s:g}s"
            message = f"a single attempt of {_named(steps)} may take {over}"
            at = steps[0].action_policy.timeout_span or saga.deadline_span
            yield error(
                at, Code.TIMEOUT_OVER_DEADLINE, message, "shorten the timeout, or extend the deadline"
            )


def _check_first_waits(saga: SagaOutline) -> Iterator[Diagnostic]:
    for steps in _by_place(saga, _first_wait_span):
        wait_s = steps[0].action_policy.retry.initial_s
        if wait_s >= saga.deadline_s:
            longer = f"up to {wait_s:g}s, and the saga's deadline is {saga.deadline_s:g}s"
            message = f"{_named(steps)} may never be retried: the wait before the second attempt is {longer}"
            at = _first_wait_span(steps[0]) or saga.deadline_span
            hint = "shorten retry.initial, or extend the deadline"
            yield error(at, Code.FIRST_WAIT_OVER_DEADLINE, message, hint)


def _first_wait_span(step: StepOutline) -> Span | None:
    own = step.shape.retry.initial if step.shape.retry is not None else None
    return own.span if own is not None else None


def _by_place(saga: SagaOutline, place: Callable[[StepOutline], Span | None]) -> Iterable[list[StepOutline]]:
    """Steps that the deadline limits, grouped by the place that sets the value: one place is one mistake."""
    groups: dict[Span | None, list[StepOutline]] = {}
    for step in saga.calls:
        if step.kind is StepKind.COMPENSATABLE:
            groups.setdefault(place(step), []).append(step)
    return groups.values()


def _named(steps: Sequence[StepOutline]) -> str:
    names = ", ".join(f'"{step.name}"' for step in steps)
    return f"step {names}" if len(steps) == 1 else f"steps {names}"


def check_memory(sagas: Iterable[SagaOutline]) -> Iterator[Diagnostic]:
    """A service that forgets a call while its saga may still repeat or undo it would leave the saga STUCK.

    If several sagas need it, the finding names the one that needs it longest.
    """
    longest: dict[str, tuple[float, SagaOutline, Service]] = {}
    for saga in sagas:
        needed_s = _needed_s(saga)
        for service in _remembering(saga):
            if service.name not in longest or needed_s > longest[service.name][0]:
                longest[service.name] = needed_s, saga, service
    for needed_s, saga, service in longest.values():
        if service.retention_s <= needed_s:
            yield _forgets(service, saga, _in_words(needed_s))


def _needed_s(saga: SagaOutline) -> float:
    """Steps one after the other add up; of branches, and of the items of a loop, which run side by side, the longest
    counts."""
    undoing_s = _longest_s(saga.steps, _undoing_s)
    going_on_s = _longest_s(saga.steps, _going_on_s)
    deciding_s = sum(_budget_s(each.action_policy) for each in saga.calls if each.kind is StepKind.PIVOT)
    return saga.deadline_s + deciding_s + max(undoing_s, going_on_s)


def _undoing_s(element: ElementOutline) -> float:
    if not isinstance(element, StepOutline) or element.compensation is None:
        return 0.0
    return _budget_s(element.compensation_policy)


def _going_on_s(element: ElementOutline) -> float:
    if element.kind is not StepKind.RETRIABLE:
        return 0.0
    return _budget_s(element.action_policy) if isinstance(element, StepOutline) else _lasts_s(element)


def _lasts_s(element: ElementOutline) -> float:
    """Of a wait or a delay, as far as the contract says it."""
    match element:
        case WaitOutline():
            return element.within_s or 0.0
        case DelayOutline():
            return element.longest_s or 0.0
        case _:
            return 0.0


def _longest_s(elements: Sequence[ElementOutline], lasts_s: Callable[[ElementOutline], float]) -> float:
    return sum(_longest_of_s(element, lasts_s) for element in elements)


def _longest_of_s(element: ElementOutline, lasts_s: Callable[[ElementOutline], float]) -> float:
    if not isinstance(element, ParallelOutline):
        return lasts_s(element)
    return max((_longest_s(branch.steps, lasts_s) for branch in element.branches), default=0.0)


def _forgets(service: Service, saga: SagaOutline, needed: str) -> Diagnostic:
    remembers = f'service "{service.name}" forgets calls after {_in_words(service.retention_s)}'
    needs = f'saga "{saga.name}" may need them for {needed}'
    message = f"{remembers}, but {needs}: its deadline plus every give_up_after on the way"
    hint = f"set the service's retention to more than {needed}, or shorten give_up_after"
    return error(service.retention_span, Code.MEMORY_TOO_SHORT, message, hint)


def _remembering(saga: SagaOutline) -> Iterable[Service]:
    """The services whose barriers record calls of the saga."""
    targets = (target for step in saga.calls for target in (step.action, step.compensation) if target)
    return {target.service.name: target.service for target in targets if not target.method.is_read}.values()


def _check_answers_kept(saga: SagaOutline) -> Iterator[Diagnostic]:
    """A key whose answer is gone would be a new saga to the gateway, and a known one to the services."""
    idempotency = saga.shape.idempotency
    retention = idempotency.retention if idempotency is not None else None
    longest = max(_remembering(saga), key=lambda service: service.retention_s, default=None)
    if retention is not None and longest is not None and retention.value < longest.retention_s:
        kept, known = _in_words(retention.value), _in_words(longest.retention_s)
        message = f'answers are kept for {kept}, but service "{longest.name}" remembers calls for {known}'
        hint = f"keep them for {known} too: a retry in between is refused with 409, and never answered"
        yield warning(retention.span, Code.ANSWERS_FORGOTTEN_FIRST, message, hint)


def _budget_s(policy: Policy) -> float:
    return policy.retry.give_up_after_s or 0.0


def _in_words(seconds: float) -> str:
    """A duration as saga.yaml writes it: `3d1m`."""
    words, left = "", round(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        words += f"{count}{unit}" if count else ""
    return words or "0s"
