"""What generated/sagas/<name>_v<N>.py prints. Nothing is decided after this."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import Cancel, Event, IndexValue, Mesh, Respond, Saga, Start
from sagagen.emit.docstrings import docstring
from sagagen.emit.header import header, sources_of
from sagagen.emit.imports import Imports
from sagagen.emit.saga_elements import Elements
from sagagen.emit.saga_functions import OF_THE_SAGA, Functions, function_names
from sagagen.emit.saga_sources import made, seconds
from sagagen.emit.saga_tree import incoming, parts, rpcs
from sagagen.emit.service_names import ServiceNames
from sagagen.python_names import Import, PythonNames, allot, identifier, with_underscore

_TEMPLATE_NAMES = frozenset(
    {"Action", "Code", "Method", "Respond", "Retry", "Saga", "Step", "StepKind", "Scope", "CompensationScope"}
)


@dataclass(frozen=True, slots=True)
class MethodView:
    path: str
    request: str
    response: str
    handler: str
    request_name: str
    response_name: str
    constant: str = ""
    """Of what reaches a saga that runs."""


@dataclass(frozen=True, slots=True)
class RespondView:
    after: str
    status: int
    wait_s: str
    has_body: bool
    body: str
    is_known_at_once: bool


@dataclass(frozen=True, slots=True)
class SagaView:
    header: str
    doc: tuple[str, ...]
    methods: tuple[MethodView, ...]
    functions: tuple[tuple[str, ...], ...]
    constant: str
    name: str
    version: int
    digest: str
    trigger: MethodView
    key: str
    on_concurrent: str
    retention_s: str
    deadline_s: str
    respond: RespondView
    steps: tuple[str, ...]
    """Elements, each as the call that makes it."""
    events: tuple[str, ...]
    cancel: str
    """Empty without it, as `start`."""
    start: str
    index: tuple[str, ...]
    subject: str
    """Name of a function; empty without one."""
    imports: tuple[str, ...]


def saga_module(saga: Saga) -> str:
    """`place_order_v1`."""
    return f"{identifier(saga.name)}_v{saga.version}"


def saga_constant(saga: Saga) -> str:
    """`PLACE_ORDER_V1`."""
    return saga_module(saga).upper()


def incoming_constants(saga: Saga, names: PythonNames) -> Mapping[MethodDescriptor, str]:
    """What the module calls the rpcs that reach a saga that runs: `ANSWER_TICKET`."""
    methods = tuple(incoming(saga))
    wishes = [names.method(rpc).rstrip("_").upper() for rpc in methods]
    return dict(zip(methods, allot(wishes, {saga_constant(saga)}, with_underscore), strict=True))


def saga_view(saga: Saga, mesh: Mesh, services: Mapping[str, ServiceNames]) -> SagaView:
    return _SagaViews(saga, mesh, services).view()


class _SagaViews:
    """Builds one view; rendering a function records what it imports."""

    def __init__(self, saga: Saga, mesh: Mesh, services: Mapping[str, ServiceNames]) -> None:
        self._saga = saga
        self._mesh = mesh
        self._constants = incoming_constants(saga, mesh.names)
        used = sorted({type(part).__name__ for part in parts(saga)})
        self._imports = Imports(
            {
                *_TEMPLATE_NAMES,
                *used,
                *(["EventScope"] if self._constants else []),
                *OF_THE_SAGA,
                *function_names(saga).values(),
                *self._constants.values(),
                saga_constant(saga),
            }
        )
        for name in used:
            self._imports.add(Import("sagagen.runtime", name))
        self._functions = Functions(saga, mesh.names, self._imports)
        self._elements = Elements(self._functions, services, self._imports)

    def view(self) -> SagaView:
        saga = self._saga
        steps = tuple(self._elements.sources(saga.steps))
        respond = self._respond(saga.respond)
        events = tuple(self._event(event) for event in saga.events)
        cancel = self._cancel(saga.cancel) if saga.cancel else ""
        start = self._start(saga.start) if saga.start else ""
        index = tuple(self._index(value) for value in saga.index)
        subject = self._functions.subject(saga.subject) if saga.subject else ""
        return SagaView(
            header=header(sources_of(self._mesh, [rpc.containing_service.file for rpc in rpcs(saga)])),
            doc=docstring(
                f"Saga `{saga.name}`, version {saga.version}: started by `{saga.trigger.full_name}`.",
                self._mesh.docs.get(saga.trigger.full_name, ""),
            ),
            methods=tuple(self._method(rpc, constant) for rpc, constant in self._constants.items()),
            functions=self._functions.rendered,
            constant=saga_constant(saga),
            name=repr(saga.name),
            version=saga.version,
            digest=repr(saga.digest),
            trigger=self._method(saga.trigger),
            key=repr(saga.key),
            on_concurrent=repr(saga.on_concurrent),
            retention_s=repr(float(saga.retention_s)),
            deadline_s=repr(float(saga.deadline_s)),
            respond=respond,
            steps=steps,
            events=events,
            cancel=cancel,
            start=start,
            index=index,
            subject=subject,
            imports=self._imports.statements,
        )

    def _respond(self, respond: Respond) -> RespondView:
        if respond.body:
            self._functions.respond(respond.body, self._saga.trigger.output_type)
        return RespondView(
            after=repr(respond.after),
            status=respond.status,
            wait_s=repr(float(respond.wait_s)),
            has_body=respond.body is not None,
            body="respond",
            is_known_at_once=respond.is_known_at_once,
        )

    def _event(self, event: Event) -> str:
        return made(
            "Event",
            name=repr(event.name),
            method=self._constants[event.rpc],
            saga_id=self._functions.saga_of(event),
            allow=self._functions.allow(event),
            body=self._functions.answer(event),
        )

    def _cancel(self, cancel: Cancel) -> str:
        return made(
            "Cancel",
            method=self._constants[cancel.rpc],
            saga_id=self._functions.saga_to_cancel(cancel),
            reason=repr(cancel.reason),
            allow=self._functions.may_cancel(cancel),
        )

    def _start(self, start: Start) -> str:
        return made(
            "Start",
            after_s=seconds(start.after_s),
            after=self._functions.starts_after(start),
            at=self._functions.starts_at(start),
            at_most_s=seconds(start.at_most_s),
        )

    def _index(self, value: IndexValue) -> str:
        return made("IndexValue", name=repr(value.name), value=self._functions.index(value))

    def _method(self, rpc: MethodDescriptor, constant: str = "") -> MethodView:
        return MethodView(
            path=repr(f"/{rpc.containing_service.full_name}/{rpc.name}"),
            request=self._imports.refer(self._mesh.names.message(rpc.input_type)),
            response=self._imports.refer(self._mesh.names.message(rpc.output_type)),
            handler=repr(self._mesh.names.method(rpc)),
            request_name=repr(rpc.input_type.full_name),
            response_name=repr(rpc.output_type.full_name),
            constant=constant,
        )
