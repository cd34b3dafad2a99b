"""What generated/sagas/<name>_v<N>.py prints. Nothing is decided after this."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor

from sagagen.contract.model import Call, Mesh, Respond, Saga, Step
from sagagen.emit.docstrings import docstring
from sagagen.emit.header import header, sources_of
from sagagen.emit.imports import Imports
from sagagen.emit.service_names import ServiceNames
from sagagen.expression import MessageExpr, render_function
from sagagen.python_names import allot, identifier, with_underscore
from sagagen.runtime.model.definition import RETRIED_BY_DEFAULT, Retry

_TEMPLATE_NAMES = frozenset(
    {"Action", "Code", "Method", "Respond", "Retry", "Saga", "Step", "StepKind", "Scope", "CompensationScope"}
)


@dataclass(frozen=True, slots=True)
class CallView:
    service: str
    method: str
    request: str
    timeout_s: str
    retry: str


@dataclass(frozen=True, slots=True)
class StepView:
    name: str
    kind: str
    action: CallView
    is_compensated: bool
    compensation: CallView | None


@dataclass(frozen=True, slots=True)
class TriggerView:
    path: str
    request: str
    response: str
    handler: str
    request_name: str
    response_name: str


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
    functions: tuple[tuple[str, ...], ...]
    constant: str
    name: str
    version: int
    digest: str
    trigger: TriggerView
    key: str
    on_concurrent: str
    retention_s: str
    deadline_s: str
    respond: RespondView
    steps: tuple[StepView, ...]
    imports: tuple[str, ...]


def saga_module(saga: Saga) -> str:
    """`place_order_v1`."""
    return f"{identifier(saga.name)}_v{saga.version}"


def saga_constant(saga: Saga) -> str:
    """`PLACE_ORDER_V1`."""
    return saga_module(saga).upper()


def saga_view(saga: Saga, mesh: Mesh, services: Mapping[str, ServiceNames]) -> SagaView:
    return _SagaViews(saga, mesh, services).view()


class _SagaViews:
    """Builds one view; rendering a function records what it imports."""

    def __init__(self, saga: Saga, mesh: Mesh, services: Mapping[str, ServiceNames]) -> None:
        self._saga = saga
        self._mesh = mesh
        self._services = services
        self._requests = _function_names("request", [step.name for step in saga.calls])
        self._compensations = _function_names(
            "compensate", [step.name for step in saga.calls if step.compensation]
        )
        functions = {"respond", *self._requests.values(), *self._compensations.values()}
        self._imports = Imports(_TEMPLATE_NAMES | functions | {saga_constant(saga)})
        self._functions: list[tuple[str, ...]] = []

    def view(self) -> SagaView:
        saga = self._saga
        steps = tuple(self._step(step) for step in saga.calls)
        respond = self._respond(saga.respond)
        trigger = self._trigger(saga.trigger)
        return SagaView(
            header=header(sources_of(self._mesh, self._files())),
            doc=docstring(
                f"Saga `{saga.name}`, version {saga.version}: started by `{saga.trigger.full_name}`.",
                self._mesh.docs.get(saga.trigger.full_name, ""),
            ),
            functions=tuple(self._functions),
            constant=saga_constant(saga),
            name=repr(saga.name),
            version=saga.version,
            digest=repr(saga.digest),
            trigger=trigger,
            key=repr(saga.key),
            on_concurrent=repr(saga.on_concurrent),
            retention_s=repr(float(saga.retention_s)),
            deadline_s=repr(float(saga.deadline_s)),
            respond=respond,
            steps=steps,
            imports=self._imports.statements,
        )

    def _files(self) -> list[FileDescriptor]:
        calls = [call for step in self._saga.calls for call in (step.action, step.compensation) if call]
        rpcs = [self._saga.trigger, *(call.method.descriptor for call in calls)]
        return [rpc.containing_service.file for rpc in rpcs]

    def _step(self, step: Step) -> StepView:
        action = self._call(step.action, self._requests[step.name], f"What step `{step.name}` sends.")
        compensation = None
        if step.compensation:
            compensation = self._call(
                step.compensation,
                self._compensations[step.name],
                f"What undoes step `{step.name}`.",
                in_compensation=True,
            )
        return StepView(
            name=repr(step.name),
            kind=f"StepKind.{step.kind.name}",
            action=action,
            is_compensated=compensation is not None,
            compensation=compensation,
        )

    def _call(self, call: Call, function: str, doc: str, *, in_compensation: bool = False) -> CallView:
        rpc = call.method.descriptor
        self._render(function, call.request, rpc.input_type, doc, in_compensation=in_compensation)
        names = self._services[call.service.name]
        return CallView(
            service=repr(call.service.name),
            method=self._imports.name(f"generated.services.{names.module}", names.constant(rpc)),
            request=function,
            timeout_s=repr(float(call.timeout_s)),
            retry=retry_source(call.retry),
        )

    def _respond(self, respond: Respond) -> RespondView:
        if respond.body:
            doc = "What the caller gets as the answer."
            self._render("respond", respond.body, self._saga.trigger.output_type, doc, in_compensation=False)
        return RespondView(
            after=repr(respond.after),
            status=respond.status,
            wait_s=repr(float(respond.wait_s)),
            has_body=respond.body is not None,
            body="respond",
            is_known_at_once=respond.is_known_at_once,
        )

    def _trigger(self, rpc: MethodDescriptor) -> TriggerView:
        return TriggerView(
            path=repr(f"/{rpc.containing_service.full_name}/{rpc.name}"),
            request=self._imports.refer(self._mesh.names.message(rpc.input_type)),
            response=self._imports.refer(self._mesh.names.message(rpc.output_type)),
            handler=repr(self._mesh.names.method(rpc)),
            request_name=repr(rpc.input_type.full_name),
            response_name=repr(rpc.output_type.full_name),
        )

    def _render(
        self, name: str, expr: MessageExpr, target: Descriptor, doc: str, *, in_compensation: bool
    ) -> None:
        rendered = render_function(
            name,
            expr,
            target=target,
            input=self._saga.trigger.input_type,
            in_compensation=in_compensation,
            names=self._mesh.names,
            doc=doc,
            refer=self._imports.refer,
        )
        self._functions.append(rendered.lines)
        for wanted in rendered.imports:
            self._imports.add(wanted)


def retry_source(retry: Retry) -> str:
    """`Retry(initial_s=0.05, ...)`, without what is the default."""
    arguments = [
        f"initial_s={float(retry.initial_s)!r}",
        f"multiplier={float(retry.multiplier)!r}",
        f"max_s={float(retry.max_s)!r}",
    ]
    if retry.max_attempts is not None:
        arguments.append(f"max_attempts={retry.max_attempts}")
    if retry.give_up_after_s is not None:
        arguments.append(f"give_up_after_s={float(retry.give_up_after_s)!r}")
    if retry.codes != RETRIED_BY_DEFAULT:
        codes = ", ".join(f"Code.{code.name}" for code in sorted(retry.codes, key=lambda code: code.value))
        arguments.append(f"codes=frozenset({{{codes}}})" if codes else "codes=frozenset[Code]()")
    return f"Retry({', '.join(arguments)})"


def _function_names(prefix: str, steps: list[str]) -> dict[str, str]:
    wishes = [identifier(f"{prefix}_{step}") for step in steps]
    return dict(zip(steps, allot(wishes, (), with_underscore), strict=True))
