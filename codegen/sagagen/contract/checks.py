"""The rules that a saga must keep. Pure: takes a saga whose names are bound, and returns what is wrong with it.

Each rule looks at one thing and stays silent if that could not be resolved, so that nothing is reported twice.
"""

from collections.abc import Iterable, Iterator, Sequence

from sagagen.contract.codes import Code
from sagagen.contract.element_checks import check_elements
from sagagen.contract.event_checks import check_events
from sagagen.contract.findings import error, suggest
from sagagen.contract.outline import ElementOutline, SagaOutline
from sagagen.contract.services import Services
from sagagen.contract.time_checks import check_times
from sagagen.diagnostics import Diagnostic
from sagagen.runtime.model.definition import StepKind
from sagagen.source import Span

COMPLETION = "completion"
ACCEPTANCE = "acceptance"
NO_CONTENT = frozenset({204, 205})
"""RFC 9110, 15.3.5 and 15.3.6."""


def check_saga(saga: SagaOutline, services: Services) -> Iterator[Diagnostic]:
    yield from _check_has_steps(saga)
    yield from _check_names(saga.elements)
    yield from _check_respond(saga)
    yield from _check_status(saga)
    yield from _check_late_answer(saga)
    yield from _check_trigger(saga, services)
    yield from check_elements(saga)
    yield from check_events(saga, services)
    yield from check_times(saga)
    if not saga.broken.steps:
        yield from _check_order(saga.steps)


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
    if not saga.steps and not saga.broken.steps:
        message = f'the saga "{saga.name}" has no steps'
        yield error(saga.span, Code.NO_STEPS, message, "add a step with name, call and request")


def _check_names(elements: Sequence[ElementOutline]) -> Iterator[Diagnostic]:
    first: dict[str, Span] = {}
    for step in elements:
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
    known = {COMPLETION: saga.span, ACCEPTANCE: saga.span} | {each.name: each.span for each in saga.elements}
    if after is None or after.value in known or not saga.steps or saga.broken.steps & {after.value, ""}:
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


def _check_late_answer(saga: SagaOutline) -> Iterator[Diagnostic]:
    """The request does not stay open for days: who starts a saga that starts later is answered at once."""
    respond, start = saga.shape.respond, saga.shape.start
    after = respond.after if respond is not None else None
    if start is not None and (after is None or after.value != ACCEPTANCE):
        said = "is answered at completion" if after is None else f'is answered after "{after.value}"'
        message = f'the saga "{saga.name}" may start later, but its request {said}'
        hint = "set respond: { after: acceptance, status: 202 }"
        yield error(saga.span if after is None else after.span, Code.LATE_ANSWER, message, hint)


def _check_trigger(saga: SagaOutline, services: Services) -> Iterator[Diagnostic]:
    if saga.trigger is None:
        return
    owner = services.owner(saga.trigger)
    if owner is not None:
        message = f'"{saga.trigger.full_name}" cannot trigger a saga: service "{owner.name}" implements it'
        hint = "move the trigger to a proto service that no service implements: the saga answers it"
        yield error(saga.trigger_span, Code.TRIGGER_IMPLEMENTED, message, hint)


def _check_order(steps: Sequence[ElementOutline]) -> Iterator[Diagnostic]:
    """Compensatable steps, then at most one pivot, then retriable ones (Richardson, Microservices Patterns, 4.3)."""
    pivot: ElementOutline | None = None
    for step in steps:
        if step.kind is StepKind.PIVOT and pivot is not None:
            message = (
                f'step "{step.name}" is a second pivot; the first is "{pivot.name}" in line {pivot.span.line}'
            )
            hint = "a saga has only one point of no return: make this one retriable"
            yield error(step.place.span, Code.SECOND_PIVOT, message, hint)
        elif step.kind is StepKind.PIVOT:
            pivot = step
        elif step.kind is StepKind.COMPENSATABLE and pivot is not None:
            message = f'step "{step.name}" is compensatable, but comes after the pivot "{pivot.name}"'
            hint = (
                "after the pivot the saga only goes forward: set kind: retriable, or move the step before it"
            )
            yield error(step.place.span, Code.COMPENSATABLE_AFTER_PIVOT, message, hint)
        elif step.kind is StepKind.RETRIABLE and pivot is None:
            yield _retriable_too_early(step, steps)


def _retriable_too_early(step: ElementOutline, steps: Sequence[ElementOutline]) -> Diagnostic:
    pivot = next((later for later in steps if later.kind is StepKind.PIVOT), None)
    where = f'before the pivot "{pivot.name}"' if pivot is not None else "in a saga without a pivot"
    message = f'step "{step.name}" is retriable, but is {where}'
    hint = (
        "move it after the pivot, or make it compensatable"
        if pivot is not None
        else "mark the go/no-go step before it as kind: pivot"
    )
    return error(step.place.span, Code.RETRIABLE_BEFORE_PIVOT, message, hint)
