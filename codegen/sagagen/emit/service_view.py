"""What generated/services/<name>.py and handlers/<name>.py print. Nothing is decided after this."""

from dataclasses import dataclass

from sagagen.contract.model import Mesh, Method, Service
from sagagen.emit.docstrings import docstring, first_paragraph
from sagagen.emit.header import header, sources_of
from sagagen.emit.imports import Imports
from sagagen.emit.service_names import ServiceNames
from sagagen.runtime.model.definition import BARRIER_RETENTION_S, ISOLATION, Transaction
from sagagen.runtime.model.security import GATEWAY

CLIENT_TIMEOUT_S = 5.0
"""Default of a direct call through the generated client, in seconds."""

_SERVICE_TEMPLATE_NAMES = frozenset(
    {"ABC", "abstractmethod", "Call", "Mapping", "Method", "SERVICE", "Service", "Transaction", "Transport"}
)
_HANDLER_TEMPLATE_NAMES = frozenset({"Call", "RpcError", "Status"})


@dataclass(frozen=True, slots=True)
class MethodView:
    """One rpc of a service. All but the booleans is Python source."""

    constant: str
    name: str
    path: str
    request: str
    response: str
    handler: str
    request_name: str
    response_name: str
    is_read: bool
    is_manual: bool
    doc: tuple[str, ...]
    unwritten: str
    """The answer of a handler that is not written yet."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    header: str
    doc: tuple[str, ...]
    handlers_class: str
    handlers_doc: tuple[str, ...]
    client_class: str
    client_doc: tuple[str, ...]
    timeout_s: float
    name: str
    port: int
    handlers: str
    schema: str
    retention_s: str
    """Empty for the runtime's default."""
    isolation: str
    """Empty for the default."""
    callers: str
    """The same."""
    methods: tuple[MethodView, ...]
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HandlerView:
    doc: tuple[str, ...]
    module: str
    handlers_class: str
    class_name: str
    methods: tuple[MethodView, ...]
    imports: tuple[str, ...]


def service_view(service: Service, names: ServiceNames, mesh: Mesh) -> ServiceView:
    classes = (names.handlers_class, names.client_class)
    imports = Imports(_SERVICE_TEMPLATE_NAMES.union(classes, names.constants.values()))
    methods = _method_views(service, names, mesh, imports)
    implemented = ", ".join(f"`{proto.full_name}`" for proto in service.implements)
    return ServiceView(
        header=header(sources_of(mesh, [proto.file for proto in service.implements])),
        doc=docstring(f"Service `{service.name}`: implements {implemented}."),
        handlers_class=names.handlers_class,
        handlers_doc=docstring(_service_doc(service, mesh), f"Implemented in handlers/{names.module}.py."),
        client_class=names.client_class,
        client_doc=docstring(
            f"Calls service `{service.name}` directly, outside of any saga.",
            "A call waits at most `timeout_s` seconds, and raises RpcError with the service's status.",
        ),
        timeout_s=CLIENT_TIMEOUT_S,
        name=repr(service.name),
        port=service.port,
        handlers=repr(f"handlers.{names.module}:{names.implementation}"),
        schema=repr(f"handlers/{names.module}.sql"),
        retention_s="" if service.retention_s == BARRIER_RETENTION_S else repr(service.retention_s),
        isolation="" if service.isolation == ISOLATION else repr(service.isolation),
        callers="" if service.callers == (GATEWAY,) else repr(service.callers),
        methods=methods,
        imports=imports.statements,
    )


def handler_view(service: Service, names: ServiceNames, mesh: Mesh) -> HandlerView:
    imports = Imports(_HANDLER_TEMPLATE_NAMES.union((names.handlers_class, names.implementation)))
    methods = _method_views(service, names, mesh, imports)
    return HandlerView(
        doc=docstring(
            f"Service `{service.name}`. {first_paragraph(_service_doc(service, mesh))}",
            "`sagagen generate` created this file once; from now on it is yours.",
        ),
        module=names.module,
        handlers_class=names.handlers_class,
        class_name=names.implementation,
        methods=methods,
        imports=imports.statements,
    )


def _service_doc(service: Service, mesh: Mesh) -> str:
    return "\n\n".join(filter(None, (mesh.docs.get(proto.full_name, "") for proto in service.implements)))


def _method_views(
    service: Service, names: ServiceNames, mesh: Mesh, imports: Imports
) -> tuple[MethodView, ...]:
    return tuple(_method_view(method, service, names, mesh, imports) for method in service.methods)


def _method_view(
    method: Method, service: Service, names: ServiceNames, mesh: Mesh, imports: Imports
) -> MethodView:
    rpc = method.descriptor
    name = names.methods[rpc.full_name]
    return MethodView(
        constant=names.constant(rpc),
        name=name,
        path=repr(f"/{rpc.containing_service.full_name}/{rpc.name}"),
        request=imports.refer(mesh.names.message(rpc.input_type)),
        response=imports.refer(mesh.names.message(rpc.output_type)),
        handler=repr(name),
        request_name=repr(rpc.input_type.full_name),
        response_name=repr(rpc.output_type.full_name),
        is_read=method.is_read,
        is_manual=method.transaction is Transaction.MANUAL,
        doc=docstring(mesh.docs.get(rpc.full_name, "")),
        unwritten=repr(f"{service.name}.{name} is not written yet"),
    )
