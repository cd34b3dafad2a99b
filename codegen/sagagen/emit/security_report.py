"""Callers and their rights, limits, what is hidden and kept: a contract as the reviewer of its security reads it.

One report for generated/docs/security.md and `sagagen check --security`. Nothing is decided after it. Without the
section `security` it is complete as well: then everybody may call.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor

from sagagen.contract.model import Mesh, Method, Route, Saga, Service, ValueExpr
from sagagen.contract.security_model import Security
from sagagen.emit.docs_text import in_words
from sagagen.emit.saga_tree import CANCEL
from sagagen.runtime.model.security import ApiKeyScheme, OidcScheme, Scheme

_KIB = 1024


@dataclass(frozen=True, slots=True)
class OwnerRule:
    """A condition on the caller and on what the request, its answer or the saga says."""

    rule: str
    """As the contract has it, or in words where the contract leaves it to the default."""
    is_written: bool
    otherwise: int
    """HTTP status for whoever it does not hold for."""


@dataclass(frozen=True, slots=True)
class RouteSecurity:
    verb: str
    path: str
    rpc: str
    does: str
    schemes: tuple[str, ...]
    """One of them has to know the caller; none: everybody may call."""
    scopes: tuple[str, ...]
    """All of them are needed."""
    rules: tuple[OwnerRule, ...]
    body: str
    """The most that a request may hold; empty: the route reads no body."""
    redacted: tuple[str, ...]
    """Fields of request and response whose values no log line, trace or console shows."""
    kept: tuple[str, ...]
    """What is kept of a request, and for how long."""


@dataclass(frozen=True, slots=True)
class ServiceSecurity:
    name: str
    callers: tuple[str, ...]
    """Processes of the mesh that may call it."""
    kept: str
    """How long it remembers calls and what they answered."""


@dataclass(frozen=True, slots=True)
class SchemeSecurity:
    name: str
    type: str
    shown: str
    """Where a request has it."""
    caller: str
    facts: tuple[tuple[str, str], ...]
    """Name and value: issuer, audience, algorithms, claims."""


@dataclass(frozen=True, slots=True)
class KeptData:
    what: str
    where: str
    how_long: str
    subject: str = ""
    """The person whose data it is, as the contract has it; empty where it does not say so."""


@dataclass(frozen=True, slots=True)
class SecretSetting:
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class SecurityReport:
    project: str
    is_written: bool
    """The contract has the section `security`."""
    is_left_open: bool
    """It says `none` in its place."""
    routes: tuple[RouteSecurity, ...]
    own_routes: tuple[RouteSecurity, ...]
    """The gateway's."""
    limits: tuple[tuple[str, str], ...]
    """Of one caller: name and value."""
    admin: tuple[tuple[str, tuple[str, ...]], ...]
    """What one may do there, and the scopes that it takes."""
    four_eyes: tuple[str, ...]
    services: tuple[ServiceSecurity, ...]
    trust_domain: str
    schemes: tuple[SchemeSecurity, ...]
    origins: tuple[str, ...]
    redacted: tuple[str, ...]
    """Full names of all fields of the contract's own messages that are."""
    data: tuple[KeptData, ...]
    secrets: tuple[SecretSetting, ...]


def security_report(mesh: Mesh) -> SecurityReport:
    security = mesh.security
    admin = security.admin if security else None
    return SecurityReport(
        project=mesh.project,
        is_written=security is not None,
        is_left_open=security is None and not mesh.is_security_unsaid,
        routes=tuple(_route(route, mesh) for route in mesh.routes),
        own_routes=tuple(_own_routes(security)),
        limits=tuple(_limits(security)),
        admin=(("look", admin.viewer), ("give commands", admin.operator)) if admin else (),
        four_eyes=admin.four_eyes if admin else (),
        services=tuple(
            ServiceSecurity(each.name, each.callers, in_words(each.retention_s)) for each in mesh.services
        ),
        trust_domain=(security.trust_domain or mesh.project) if security else "",
        schemes=tuple(_schemes(security)) if security else (),
        origins=security.origins if security else (),
        redacted=tuple(_redacted_anywhere(mesh)),
        data=tuple(_data(mesh)),
        secrets=tuple(_secrets(mesh)),
    )


def _route(route: Route, mesh: Mesh) -> RouteSecurity:
    access = route.access
    return RouteSecurity(
        verb=route.verb,
        path=route.template,
        rpc=f"{route.method.containing_service.full_name}/{route.method.name}",
        does=_does(route),
        schemes=access.schemes if access else (),
        scopes=access.scopes if access else (),
        rules=tuple(_rules(route, mesh)),
        body=_size(route.max_body_bytes) if route.body else "",
        redacted=(
            *(f"request.{path}" for path in _redacted(route.method.input_type)),
            *(f"response.{path}" for path in _redacted(route.method.output_type)),
        ),
        kept=tuple(_kept(route, mesh)),
    )


def _does(route: Route) -> str:
    if route.event == CANCEL:
        return f"cancels {route.target.name}"
    if route.event:
        return f"brings {route.event} to {route.target.name}"
    return f"starts {route.target.name}" if route.starts else f"is answered by {route.target.name}"


def _method(route: Route) -> Method | None:
    """What answers it, if that is a service."""
    return route.target.method(route.method) if isinstance(route.target, Service) else None


def _rules(route: Route, mesh: Mesh) -> Iterator[OwnerRule]:
    method = _method(route)
    if route.access and route.access.allow:
        is_read = method is not None and method.is_read
        yield OwnerRule(route.access.allow_text, is_written=True, otherwise=404 if is_read else 403)
    if route.event:
        seen: set[OwnerRule] = set()
        for saga in _sagas(route, mesh):
            for rule in _rules_of_event(route, saga):
                if rule not in seen:
                    seen.add(rule)
                    yield rule


def _sagas(route: Route, mesh: Mesh) -> Iterator[Saga]:
    """Those that a request by this route may be for, older versions included."""
    name = route.target.name
    yield from (saga for saga in (*mesh.sagas, *mesh.kept) if saga.name == name)


def _rules_of_event(route: Route, saga: Saga) -> Iterator[OwnerRule]:
    if route.event == CANCEL:
        if saga.cancel:
            yield _rule_of(saga.cancel.allow, "the caller has started the saga")
        return
    for event in saga.events:
        if event.name == route.event and event.allow:
            yield _rule_of(event.allow, "")


def _rule_of(allow: ValueExpr | None, otherwise: str) -> OwnerRule:
    return OwnerRule(allow.text if allow else otherwise, is_written=allow is not None, otherwise=403)


def _kept(route: Route, mesh: Mesh) -> Iterator[str]:
    if isinstance(route.target, Saga):
        longest = max(saga.retention_s for saga in _sagas(route, mesh))
        what = "input and answer" if route.starts else "request" if route.event == CANCEL else "event"
        yield f"{what}: {in_words(longest)} after the saga has ended"
        return
    method = _method(route)
    if method and not method.is_read:
        yield f"answer: {in_words(route.target.retention_s)}"


def _redacted(message: Descriptor) -> Iterator[str]:
    yield from sorted(set(_redacted_in(message, "", ())))


def _redacted_in(message: Descriptor, before: str, above: tuple[str, ...]) -> Iterator[str]:
    """Dotted paths. A message that contains itself is followed once."""
    if message.full_name in above:
        return
    for field in message.fields:
        path = f"{before}{field.name}"
        if field.GetOptions().debug_redact:
            yield path
        elif field.message_type:
            yield from _redacted_in(field.message_type, f"{path}.", (*above, message.full_name))


def _redacted_anywhere(mesh: Mesh) -> Iterator[str]:
    pending = [message for file in mesh.files for message in file.message_types_by_name.values()]
    while pending:
        message = pending.pop(0)
        yield from (field.full_name for field in message.fields if field.GetOptions().debug_redact)
        pending += message.nested_types


def _own_routes(security: Security | None) -> Iterator[RouteSecurity]:
    schemes = security.default if security else ()
    own = OwnerRule("the caller has started it", is_written=False, otherwise=404)
    for path, does, asked, rules in (
        ("/sagas", "lists the sagas that the caller has started", schemes, ()),
        ("/sagas/{id}", "shows a saga, without payloads", schemes, (own,)),
        ("/openapi.json", "shows the HTTP API", (), ()),
        ("/docs", "shows it as pages", (), ()),
        ("/healthz", "says that the process runs", (), ()),
        ("/readyz", "says whether it can serve", (), ()),
    ):
        yield RouteSecurity("GET", path, "", does, asked, (), rules, "", (), ())


def _limits(security: Security | None) -> Iterator[tuple[str, str]]:
    if security is None:
        return
    limits = security.limits
    if limits.rate_per_s is not None:
        yield "rate", f"{limits.rate_per_s:g}/s, {limits.burst} at once"
    if limits.running is not None:
        yield "active sagas", str(limits.running)


def _schemes(security: Security) -> Iterator[SchemeSecurity]:
    """No two callers have the same id: those of all schemes but the first have its name in front."""
    first, *others = security.schemes
    yield _scheme(first, "")
    for scheme in others:
        yield _scheme(scheme, f'"{scheme.name}:" and ')


def _scheme(scheme: Scheme, before: str) -> SchemeSecurity:
    match scheme:
        case OidcScheme():
            facts = (
                ("issuer", scheme.issuer),
                ("audience", scheme.audience),
                ("algorithms", ", ".join(scheme.algorithms)),
                *((f"claim {name}", type_) for name, type_ in scheme.claims.items()),
            )
            return SchemeSecurity(
                scheme.name, "oidc", "Authorization: Bearer", f"{before}claim {scheme.caller}", facts
            )
        case ApiKeyScheme():
            return SchemeSecurity(scheme.name, "api_key", scheme.header, f"{before}name of the key", ())


def _data(mesh: Mesh) -> Iterator[KeptData]:
    for saga in (*mesh.sagas, *mesh.kept):
        yield KeptData(
            f"{saga.name} v{saga.version}: input, what its calls were sent and answered, events, answer, caller"
            + (", claims" if mesh.security and mesh.security.claims else "")
            + (f", index ({', '.join(value.name for value in saga.index)})" if saga.index else ""),
            "saga-log.db",
            f"{in_words(saga.retention_s)} after it has ended",
            saga.subject.text if saga.subject else "",
        )
    for service in mesh.services:
        what = f"{service.name}: what its writes answered or refused"
        yield KeptData(what, f"{service.name}.db", in_words(service.retention_s))
    stores = ", ".join(f"{service.name}.db" for service in mesh.services)
    yield KeptData("what handlers store", stores, "until handlers delete it")
    audit = "what operators did, and who was refused (the audit)"
    yield KeptData(audit, "saga-log.db", "365d, or SAGAGEN_AUDIT_DAYS")
    yield KeptData("copies of what writes answered", "Redis, where SAGAGEN_REDIS_URL is set", "1h")


def _secrets(mesh: Mesh) -> Iterator[SecretSetting]:
    schemes = mesh.security.schemes if mesh.security else ()
    if any(isinstance(scheme, ApiKeyScheme) for scheme in schemes):
        yield SecretSetting("SAGAGEN_API_KEYS_FILE", "hashes of the API keys, their scopes and when they end")
    has_roles = mesh.security is not None and mesh.security.admin is not None
    for name, what in _SETTINGS:
        if name != _ADMIN_TOKEN or not has_roles:  # it opens nothing where there are roles
            yield SecretSetting(name, what)


_ADMIN_TOKEN = "SAGAGEN_ADMIN_TOKEN"
_SETTINGS = (
    ("SAGAGEN_ENCRYPTION_KEYS_FILE", "the keys by which what is kept is encrypted"),
    ("SAGAGEN_MESH_KEY", "proves calls within the mesh, where there are no certificates"),
    ("SAGAGEN_TLS_DIR", "certificate and private key within the mesh"),
    ("SAGAGEN_HTTP_TLS_DIR", "certificate and private key of the gateway"),
    ("SAGAGEN_ADMIN_KEY", "an operator's API key, for `sagagen sagas`"),
    (_ADMIN_TOKEN, "lets whoever has it do everything on the admin listener"),
    ("SAGAGEN_ENGINE_URL", "may hold the password of the saga log's database"),
    ("SAGAGEN_ENGINE_LEAVING_URL", "the same, of the engine that sagas move away from"),
    ("SAGAGEN_REDIS_URL", "may hold the password of Redis"),
    ("SAGAGEN_REDIS_PASSWORD", "the password of Redis"),
    ("SAGAGEN_SHARE_ANSWERS_KEY", "proves answers that gateways share"),
)


def _size(count: int) -> str:
    return f"{count // _KIB}KiB" if count % _KIB == 0 else f"{count}B"
