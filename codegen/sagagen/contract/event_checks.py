"""Rules about what comes from outside while a saga runs: events, the waits for them, and the cancel."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.codes import Code
from sagagen.contract.findings import error, note, suggest
from sagagen.contract.outline import EventOutline, SagaOutline
from sagagen.contract.services import Services
from sagagen.diagnostics import Diagnostic
from sagagen.source import Scalar, Span

CANCEL = "cancel"
"""What routes call the cancel of a saga, beside the names of its events."""


def check_events(saga: SagaOutline, services: Services) -> Iterator[Diagnostic]:
    yield from _check_names(saga)
    yield from _check_waits(saga)
    yield from _check_waited_for(saga)
    yield from _check_open(saga)
    for use in _uses([saga]):
        owner = services.owner(use.rpc)
        if owner is not None:
            message = f'"{use.rpc.full_name}" cannot be {use.what}: service "{owner.name}" implements it'
            hint = "move it to a proto service that no service implements: the saga answers it"
            yield error(use.span, Code.TRIGGER_IMPLEMENTED, message, hint)


def _check_names(saga: SagaOutline) -> Iterator[Diagnostic]:
    for event in saga.events:
        if event.name == CANCEL:
            message = 'an event cannot be named "cancel": the word has a meaning of its own in routes'
            yield error(event.span, Code.RESERVED_STEP_NAME, message, "choose another name")


def _check_waits(saga: SagaOutline) -> Iterator[Diagnostic]:
    known = {event.name: event.span for event in saga.events}
    for wait in saga.waits:
        if wait.event not in known and not saga.broken.events & {wait.event, ""}:
            message = f'"{wait.name}" waits for "{wait.event}", which is not an event of this saga'
            hint = suggest(wait.event, known, "declare it under events, with rpc and saga_id")
            yield error(wait.shape.wait.span, Code.UNKNOWN_EVENT, message, hint)


def _check_waited_for(saga: SagaOutline) -> Iterator[Diagnostic]:
    awaited, known = {wait.event for wait in saga.waits}, {event.name for event in saga.events}
    if saga.broken.steps or awaited - known:
        return  # the wait for it may be the one that is wrong
    for event in saga.events:
        if event.name not in awaited:
            message = f'nothing waits for the event "{event.name}", so it can never be accepted'
            hint = f"add a step with wait: {event.name}, or remove the event"
            yield error(event.span, Code.EVENT_NOT_AWAITED, message, hint)


def _check_open(saga: SagaOutline) -> Iterator[Diagnostic]:
    for event in saga.events:
        if event.shape.allow is None:
            message = f'anybody who may call the gateway can send the event "{event.name}"'
            hint = "say who may, for example allow: caller == input.owner_id; or allow: true, if all may"
            yield note(event.span, Code.EVENT_OPEN, message, hint)


@dataclass(frozen=True, slots=True)
class _Use:
    """An rpc that a saga answers while it runs."""

    saga: SagaOutline
    event: EventOutline | None
    """None: the cancel."""
    rpc: MethodDescriptor
    span: Span
    saga_id: str

    @property
    def what(self) -> str:
        return f'the event "{self.event.name}"' if self.event else "the cancel"

    @property
    def name(self) -> str:
        return self.event.name if self.event else CANCEL


def _uses(sagas: Iterable[SagaOutline]) -> Iterator[_Use]:
    for saga in sagas:
        for event in saga.events:
            if event.rpc is not None:
                yield _Use(saga, event, event.rpc, event.rpc_span, _text(event.shape.saga_id))
        cancel = saga.cancel
        if cancel is not None and cancel.rpc is not None:
            yield _Use(saga, None, cancel.rpc, cancel.rpc_span, _text(cancel.shape.saga_id))


def _text(node: object) -> str:
    return node.text.strip() if isinstance(node, Scalar) else ""


def check_rpcs(sagas: Iterable[SagaOutline]) -> Iterator[Diagnostic]:
    """Across sagas: whoever brings a call of an rpc to a saga must know which one is meant, from the call alone."""
    sagas = tuple(sagas)
    triggers = {saga.trigger: saga for saga in sagas if saga.trigger is not None}
    first: dict[MethodDescriptor, _Use] = {}
    for use in _uses(sagas):
        started = triggers.get(use.rpc)
        other = first.setdefault(use.rpc, use)
        if started is not None:
            message = f'"{use.rpc.full_name}" starts the saga "{started.name}", and cannot be {use.what} too'
            yield error(use.span, Code.EVENT_SHARED, message, "give it an rpc of its own")
        elif other is not use:
            yield from _check_shared(use, other)


def _check_shared(use: _Use, other: _Use) -> Iterator[Diagnostic]:
    """Sagas may share an rpc if every call of it means the same for all of them."""
    where = f'of "{other.saga.name}" (line {other.span.line})'
    if use.saga is other.saga or use.name != other.name:
        message = f'"{use.rpc.full_name}" is already {other.what} {where}'
        yield error(use.span, Code.EVENT_SHARED, message, "give it an rpc of its own")
    elif use.saga_id != other.saga_id:
        message = f'"{use.rpc.full_name}" is also {other.what} {where}, whose saga_id is another expression'
        hint = "write the same saga_id in both, or give it an rpc of its own: the id says which saga is meant"
        yield error(use.span, Code.EVENT_SHARED, message, hint)
