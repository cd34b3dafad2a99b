"""A saga whose names are bound -> a saga whose expressions are compiled."""

from collections.abc import Iterator

from sagagen.contract.checks import ACCEPTANCE, COMPLETION
from sagagen.contract.digest import digest
from sagagen.contract.element_compiler import ElementCompiler
from sagagen.contract.expressions import Expressions
from sagagen.contract.model import Cancel, Event, IndexValue, Respond, Saga, Start
from sagagen.contract.outline import CancelOutline, SagaOutline
from sagagen.contract.readability import Structure
from sagagen.contract.required import RequiredFields
from sagagen.contract.security import Schemes
from sagagen.contract.shape import RespondShape, StartShape
from sagagen.diagnostics import Report
from sagagen.expression import TypeIndex, compile_condition, compile_index, compile_text
from sagagen.runtime.model.definition import LATEST_START_S

RETENTION_S = 30 * 86400.0
WAIT_S = 10.0
STATUS = 200
CANCELLED = "CANCELLED"


def compile_saga(
    outline: SagaOutline, types: TypeIndex, schemes: Schemes, required: RequiredFields, report: Report
) -> Saga | None:
    """Compile all expressions of a saga. Reports what is wrong, and then returns None."""
    if outline.trigger is None or not outline.steps:
        return None
    structure = Structure(outline)
    expressions = Expressions(outline, outline.trigger, types, structure, schemes, report)
    saga = _saga(outline, expressions, ElementCompiler(outline, structure, expressions, required, report))
    is_broken = expressions.failures or outline.broken.steps or outline.broken.events
    return None if is_broken else saga


def _saga(outline: SagaOutline, expressions: Expressions, elements: ElementCompiler) -> Saga:
    shape, idempotency = outline.shape, outline.shape.idempotency
    version = 1 if shape.version is None else shape.version.value
    key = idempotency.key if idempotency is not None else None
    on_concurrent = idempotency.on_concurrent if idempotency is not None else None
    retention = idempotency.retention if idempotency is not None else None
    steps = elements.all()
    respond = _respond(outline, expressions)
    events = tuple(_events(outline, expressions))
    return Saga(
        name=outline.name,
        version=version,
        trigger=expressions.trigger,
        key="optional" if key is not None and key.value == "optional" else "required",
        on_concurrent="wait" if on_concurrent is not None and on_concurrent.value == "wait" else "conflict",
        retention_s=RETENTION_S if retention is None else retention.value,
        deadline_s=outline.deadline_s,
        respond=respond,
        steps=steps,
        digest=digest(outline.name, version, expressions.trigger, respond, steps, events),
        span=outline.span,
        events=events,
        cancel=_cancel(outline.cancel, expressions) if outline.cancel is not None else None,
        start=_start(shape.start, outline, expressions) if shape.start is not None else None,
        index=tuple(_index(outline, expressions)),
        subject=expressions.optional(shape.subject, compile_text, expressions.of_index()),
    )


def _respond(outline: SagaOutline, expressions: Expressions) -> Respond:
    shape = outline.shape.respond or RespondShape()
    after = COMPLETION if shape.after is None else shape.after.value
    body = None
    if shape.body is not None:
        is_moment = after in {COMPLETION, ACCEPTANCE}
        environment = expressions.of_answer(None if is_moment else after)
        body = expressions.message(shape.body, expressions.trigger.output_type, environment)
    status = STATUS if shape.status is None else shape.status.value
    return Respond(after, status, WAIT_S if shape.wait is None else shape.wait.value, body)


def _events(outline: SagaOutline, expressions: Expressions) -> Iterator[Event]:
    for event in outline.events:
        if event.rpc is None:
            expressions.fail()
            continue
        saga_id = expressions.value(event.shape.saga_id, compile_text, expressions.of_address(event.rpc))
        environment = expressions.of_event(event.rpc)
        allow = expressions.optional(event.shape.allow, compile_condition, environment)
        respond = event.shape.respond
        body = (
            expressions.message(respond.body, event.rpc.output_type, environment)
            if respond is not None and respond.body is not None
            else None
        )
        if saga_id is not None:
            yield Event(event.name, event.rpc, saga_id, allow, body, event.span)


def _cancel(outline: CancelOutline, expressions: Expressions) -> Cancel | None:
    if outline.rpc is None:
        expressions.fail()
        return None
    shape = outline.shape
    saga_id = expressions.value(shape.saga_id, compile_text, expressions.of_address(outline.rpc))
    allow = expressions.optional(shape.allow, compile_condition, expressions.of_event(outline.rpc))
    reason = CANCELLED if shape.reason is None else shape.reason.value
    return None if saga_id is None else Cancel(outline.rpc, saga_id, reason, allow, outline.rpc_span)


def _start(shape: StartShape, outline: SagaOutline, expressions: Expressions) -> Start:
    environment = expressions.of_start()
    after_s, after, at = expressions.time(shape.after, shape.at, environment)
    at_most_s = LATEST_START_S if shape.at_most is None else shape.at_most.value
    return Start(outline.span, after_s, after, at, at_most_s)


def _index(outline: SagaOutline, expressions: Expressions) -> Iterator[IndexValue]:
    for name, node in (outline.shape.index or {}).items():
        value = expressions.value(node, compile_index, expressions.of_index())
        if value is not None:
            yield IndexValue(str(name), value, name.span)
