"""The rules that a saga must keep. Pure: takes a saga whose names are bound, and returns what is wrong with it.

Each rule looks at one thing and stays silent if that could not be resolved, so that nothing is reported twice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from sagagen.contract.codes import Code
from sagagen.contract.findings import error, suggest, warning
from sagagen.contract.model import Service
from sagagen.contract.outline import SagaOutline, StepOutline, Target, Undo
from sagagen.contract.policies import Policy, check_compensation_policy, check_step_policy
from sagagen.contract.services import Services
from sagagen.diagnostics import Diagnostic
from sagagen.runtime.model.definition import StepKind
from sagagen.source import Span

COMPLETION = "completion"
ACCEPTANCE = "acceptance"
NO_CONTENT = frozenset({204, 205})
"""RFC 9110, 15.3.5 and 15.3.6."""


def check_saga(saga: SagaOutline, services: Services) -> Iterator[Diagnostic]:
    yield from _check_has_steps(saga)
    yield from _check_names(saga.steps)
    yield from _check_respond(saga)
    yield from _check_status(saga)
    yield from _check_trigger(saga, services)
    for step in saga.steps:
        yield from _check_compensation(step)
        yield from _check_policies(step)
    yield from _check_timeouts(saga)
    yield from _check_first_waits(saga)
    if not saga.broken_steps:
        yield from _check_order(saga.steps)
    yield from _check_answers_kept(saga)


def check_triggers(sagas: Iterable[SagaOutline]) -> Iterator[Diagnostic]:
    """Across sagas: one call can start only one saga."""
    first: dict[str, SagaOutline] = {}
    for saga in sagas:
        if saga.trigger is None:
            continue
        other = first.setdefault(saga.trigger.full_name, saga)
        if other is not saga:
            line = other.trigger_span.line
            message = f'"{saga.trigger.full_name}" already triggers the saga "{other.name}" (line {line})'
            yield error(saga.trigger_span, Code.TRIGGER_SHARED, message, "give each saga an rpc of its own")


def _check_has_steps(saga: SagaOutline) -> Iterator[Diagnostic]:
    if not saga.steps and not saga.broken_steps:
        message = f'the saga "{saga.name}" has no steps'
        yield error(saga.span, Code.NO_STEPS, message, "add a step with name, call and request")


def _check_names(steps: Sequence[StepOutline]) -> Iterator[Diagnostic]:
    first: dict[str, Span] = {}
    for step in steps:
        if step.name in {COMPLETION, ACCEPTANCE}:
            message = (
                f'a step cannot be named "{step.name}": the word has a meaning of its own in respond.after'
            )
            yield error(step.span, Code.RESERVED_STEP_NAME, message, "choose another name")
        at = first.setdefault(step.name, step.span)
        if at is not step.span:
            message = f'there is already a step "{step.name}", in line {at.line}'
            yield error(
                step.span,
                Code.DUPLICATE_STEP,
                message,
                "rename one of the two: steps.<name> can read only one response",
            )


def _check_respond(saga: SagaOutline) -> Iterator[Diagnostic]:
    after = saga.shape.respond.after if saga.shape.respond is not None else None
    known = {COMPLETION: saga.span, ACCEPTANCE: saga.span} | {step.name: step.span for step in saga.steps}
    if after is None or after.value in known or not saga.steps or saga.broken_steps & {after.value, ""}:
        return
    message = f'respond.after names "{after.value}", which is not a step of this saga'
    hint = suggest(after.value, known, "name a step, completion or acceptance")
    yield error(after.span, Code.UNKNOWN_RESPOND_STEP, message, hint)


def _check_status(saga: SagaOutline) -> Iterator[Diagnostic]:
    respond = saga.shape.respond
    status = respond.status if respond is not None else None
    if respond is not None and respond.body is not None and status is not None and status.value in NO_CONTENT:
        message = f"an answer with status {status.value} has no body"
        hint = "remove body, or answer with status 200 or 201"
        yield error(status.span, Code.BODY_WITHOUT_CONTENT, message, hint)


def _check_trigger(saga: SagaOutline, services: Services) -> Iterator[Diagnostic]:
    if saga.trigger is None:
        return
    owner = services.owner(saga.trigger)
    if owner is not None:
        message = f'"{saga.trigger.full_name}" cannot trigger a saga: service "{owner.name}" implements it'
        hint = "move the trigger to a proto service that no service implements: the saga answers it"
        yield error(saga.trigger_span, Code.TRIGGER_IMPLEMENTED, message, hint)


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
    for step in saga.steps:
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
    undoing_s = sum(_budget_s(step.compensation_policy) for step in saga.steps if step.compensation)
    going_on_s = sum(_budget_s(step.action_policy) for step in saga.steps if step.kind is StepKind.RETRIABLE)
    deciding_s = sum(_budget_s(step.action_policy) for step in saga.steps if step.kind is StepKind.PIVOT)
    return saga.deadline_s + deciding_s + max(undoing_s, going_on_s)


def _forgets(service: Service, saga: SagaOutline, needed: str) -> Diagnostic:
    remembers = f'service "{service.name}" forgets calls after {_in_words(service.retention_s)}'
    needs = f'saga "{saga.name}" may need them for {needed}'
    message = f"{remembers}, but {needs}: its deadline plus every give_up_after on the way"
    hint = f"set the service's retention to more than {needed}, or shorten give_up_after"
    return error(service.retention_span, Code.MEMORY_TOO_SHORT, message, hint)


def _remembering(saga: SagaOutline) -> Iterable[Service]:
    """The services whose barriers record calls of the saga."""
    targets = (target for step in saga.steps for target in (step.action, step.compensation) if target)
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


def _check_order(steps: Sequence[StepOutline]) -> Iterator[Diagnostic]:
    """Compensatable steps, then at most one pivot, then retriable ones (Richardson, Microservices Patterns, 4.3)."""
    pivot: StepOutline | None = None
    for step in steps:
        if step.kind is StepKind.PIVOT and pivot is not None:
            message = (
                f'step "{step.name}" is a second pivot; the first is "{pivot.name}" in line {pivot.span.line}'
            )
            hint = "a saga has only one point of no return: make this one retriable"
            yield error(step.kind_span, Code.SECOND_PIVOT, message, hint)
        elif step.kind is StepKind.PIVOT:
            pivot = step
        elif step.kind is StepKind.COMPENSATABLE and pivot is not None:
            message = f'step "{step.name}" is compensatable, but comes after the pivot "{pivot.name}"'
            hint = (
                "after the pivot the saga only goes forward: set kind: retriable, or move the step before it"
            )
            yield error(step.kind_span, Code.COMPENSATABLE_AFTER_PIVOT, message, hint)
        elif step.kind is StepKind.RETRIABLE and pivot is None:
            yield _retriable_too_early(step, steps)


def _retriable_too_early(step: StepOutline, steps: Sequence[StepOutline]) -> Diagnostic:
    pivot = next((later for later in steps if later.kind is StepKind.PIVOT), None)
    where = f'before the pivot "{pivot.name}"' if pivot is not None else "in a saga without a pivot"
    message = f'step "{step.name}" is retriable, but is {where}'
    hint = (
        "move it after the pivot, or make it compensatable"
        if pivot is not None
        else "mark the go/no-go step before it as kind: pivot"
    )
    return error(step.kind_span, Code.RETRIABLE_BEFORE_PIVOT, message, hint)
