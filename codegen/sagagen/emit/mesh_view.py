"""What generated/mesh.py, generated/gateway/routes.py and the package files print. Nothing is decided after this."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.model import Mesh, Route, Saga, Service
from sagagen.emit.docstrings import docstring
from sagagen.emit.header import header, sources_of
from sagagen.emit.imports import Imports
from sagagen.emit.renaming import redacted_attributes, registered_names
from sagagen.emit.saga_view import incoming_constants, saga_constant, saga_module
from sagagen.emit.security_view import MODULE as SECURITY_MODULE
from sagagen.emit.security_view import access_source, allow_names
from sagagen.emit.service_names import ServiceNames
from sagagen.python_names import PythonNames
from sagagen.runtime.model.compatibility import API
from sagagen.runtime.model.definition import MAX_BODY_BYTES, Limits


@dataclass(frozen=True, slots=True)
class RouteView:
    verb: str
    template: str
    method: str
    target: str
    starts_saga: bool
    has_body: bool
    body: str
    has_response_body: bool
    response_body: str
    max_body_bytes: str
    """Empty for the default."""
    event: str
    """Empty without one."""
    access: str
    """Empty without one."""


@dataclass(frozen=True, slots=True)
class RoutesView:
    header: str
    runtime_names: str
    routes: tuple[RouteView, ...]
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MeshView:
    header: str
    doc: tuple[str, ...]
    project: str
    services: tuple[str, ...]
    sagas: tuple[str, ...]
    limits: str
    has_security: bool
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PackageView:
    header: str
    doc: tuple[str, ...]
    api: int = API


@dataclass(frozen=True, slots=True)
class RenameView:
    package: str
    name: str
    contract_package: str
    contract_name: str


@dataclass(frozen=True, slots=True)
class RedactedView:
    message: str
    attributes: str


@dataclass(frozen=True, slots=True)
class MessagePoolView:
    header: str
    renamed: tuple[RenameView, ...]
    redacted: tuple[RedactedView, ...]
    """Messages with fields that say `debug_redact`."""


def routes_view(mesh: Mesh, services: Mapping[str, ServiceNames]) -> RoutesView:
    runtime_names = ("Access", "Route") if mesh.security else ("Route",)
    imports = Imports({*runtime_names, "ROUTES"})
    allowed = allow_names(mesh)
    routes = tuple(
        _route_view(
            route,
            _method_source(route, mesh, services, imports),
            imports.name(SECURITY_MODULE, allowed[route.method]) if route.method in allowed else None,
        )
        for route in mesh.routes
    )
    files = [route.method.containing_service.file for route in mesh.routes]
    return RoutesView(header(sources_of(mesh, files)), ", ".join(runtime_names), routes, imports.statements)


def _route_view(route: Route, method: str, allow: str | None) -> RouteView:
    return RouteView(
        verb=repr(str(route.verb)),
        template=repr(route.template),
        method=method,
        target=repr(route.target.name),
        starts_saga=route.starts is not None,
        has_body=bool(route.body),
        body=repr(route.body),
        has_response_body=bool(route.response_body),
        response_body=repr(route.response_body),
        max_body_bytes=_max_body_source(route),
        event=repr(route.event) if route.event else "",
        access=access_source(route.access, allow) if route.access else "",
    )


def _max_body_source(route: Route) -> str:
    is_usual = not route.body or route.max_body_bytes == MAX_BODY_BYTES
    return "" if is_usual else f"{route.max_body_bytes:_}"


def _method_source(route: Route, mesh: Mesh, services: Mapping[str, ServiceNames], imports: Imports) -> str:
    saga = route.target
    if isinstance(saga, Saga):
        module = f"generated.sagas.{saga_module(saga)}"
        if route.event:
            return imports.name(module, incoming_constants(saga, mesh.names)[route.method])
        return f"{imports.name(module, saga_constant(saga))}.trigger"
    names = services[route.target.name]
    return imports.name(f"generated.services.{names.module}", names.constant(route.method))


def mesh_view(mesh: Mesh, services: Mapping[str, ServiceNames]) -> MeshView:
    imports = Imports({"Limits", "MESH", "Mesh", "Path", "ROUTES", *(["SECURITY"] if mesh.security else [])})
    return MeshView(
        header=header([SAGA_YAML]),
        doc=docstring(f"The mesh of project `{mesh.project}`: its services, sagas and routes."),
        project=repr(mesh.project),
        services=tuple(_service_source(service, services, imports) for service in mesh.services),
        sagas=tuple(
            imports.name(f"generated.sagas.{saga_module(saga)}", saga_constant(saga))
            for saga in (*mesh.sagas, *mesh.kept)
        ),
        limits=limits_source(mesh.limits),
        has_security=mesh.security is not None,
        imports=imports.statements,
    )


def limits_source(limits: Limits) -> str:
    """The limits that differ from the runtime's defaults; empty if none does."""
    ours = asdict(Limits())
    said = [f"{name}={value}" for name, value in asdict(limits).items() if value != ours[name]]
    return f"Limits({', '.join(said)})" if said else ""


def _service_source(service: Service, services: Mapping[str, ServiceNames], imports: Imports) -> str:
    module = services[service.name].module
    return imports.name(f"generated.services.{module}", "SERVICE", wish=module.upper())


def package_view(doc: str) -> PackageView:
    return PackageView(header([SAGA_YAML]), docstring(doc))


def message_pool_view(names: PythonNames) -> MessagePoolView:
    renamed = [
        RenameView(*map(repr, (*ours, *contract)))
        for ours, contract in sorted(registered_names(names).items())
    ]
    redacted = [
        RedactedView(repr(message), repr(attributes))
        for message, attributes in sorted(redacted_attributes(names).items())
    ]
    return MessagePoolView(header([SAGA_YAML]), tuple(renamed), tuple(redacted))
