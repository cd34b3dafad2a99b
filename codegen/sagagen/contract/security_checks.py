"""Rules about the `security` section that need nothing beside it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.broken import BrokenSecurity
from sagagen.contract.codes import Code
from sagagen.contract.findings import error, note, warning
from sagagen.contract.located import Key, Located
from sagagen.contract.model import Call, Mesh, Saga, Service
from sagagen.contract.security_model import Access, Security
from sagagen.contract.security_shape import ApiKeyShape, OidcShape, SecuritySection
from sagagen.contract.shape import LimitsShape
from sagagen.diagnostics import Diagnostic
from sagagen.runtime.model.definition import Limits
from sagagen.runtime.model.security import GATEWAY
from sagagen.source import Span

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
TAKEN: Mapping[str, str] = {
    "authorization": "it has tokens",
    "idempotency-key": "it has the key of a request",
    "cookie": "browsers send it to any page's requests",
    **dict.fromkeys(
        (
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ),
        "it is about one connection, and proxies remove it",
    ),
    **dict.fromkeys(
        (
            "accept",
            "accept-encoding",
            "content-encoding",
            "content-length",
            "content-type",
            "date",
            "expect",
            "host",
            "origin",
            "user-agent",
        ),
        "HTTP has a use for it",
    ),
    **dict.fromkeys(
        ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
        "proxies write it",
    ),
    **dict.fromkeys(
        ("traceparent", "tracestate", "baggage", "grpc-timeout"), "it goes with traces and calls"
    ),
}
"""Headers that can't have a key -> why. Hop-by-hop headers: RFC 9110, 7.6.1."""
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110, 5.6.2."""

Schemes = Mapping[Key, OidcShape | ApiKeyShape]


def check_schemes(schemes: Schemes) -> Iterator[Diagnostic]:
    for shape in schemes.values():
        if isinstance(shape, OidcShape):
            yield from _check_issuer(shape.issuer)
        else:
            yield from _check_header(shape.header)
    yield from _check_claims(schemes)
    yield from _check_alike(schemes)


def _check_issuer(issuer: Located[str]) -> Iterator[Diagnostic]:
    url = _split(issuer.value)
    if url is None or url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        message = f'"{issuer.value}" is not the URL of an issuer'
        hint = "write it as tokens have it in iss, for example https://id.example"
        yield error(issuer.span, Code.BAD_ISSUER, message, hint)
    elif url.scheme == "http" and url.hostname not in LOOPBACK:
        message = f'"{issuer.value}" is not https: whoever is on the way could answer with keys of their own'
        hint = "write https://; http is only for an issuer on localhost"
        yield error(issuer.span, Code.BAD_ISSUER, message, hint)


def _split(text: str) -> SplitResult | None:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return None
    has_login = url.username is not None or url.password is not None
    return None if has_login or text != text.strip() else url


def _check_header(header: Located[str]) -> Iterator[Diagnostic]:
    why = TAKEN.get(header.value.lower())
    if not _TOKEN.fullmatch(header.value):
        why = "it is no name of a header"
    if header.value.lower().startswith("sagagen-"):
        why = "the mesh uses such names itself"
    if why is not None:
        message = f'"{header.value}" can\'t have an API key: {why}'
        yield error(
            header.span, Code.HEADER_TAKEN, message, "write a header of its own, for example X-Api-Key"
        )


def _check_claims(schemes: Schemes) -> Iterator[Diagnostic]:
    first: dict[str, tuple[Key, Located[str]]] = {}
    for name, shape in schemes.items():
        for claim, type_ in (shape.claims or {}).items() if isinstance(shape, OidcShape) else ():
            scheme, other = first.setdefault(str(claim), (name, type_))
            if other.value != type_.value:
                message = (
                    f'the claim "{claim}" has the type {type_.value} here, and {other.value} in "{scheme}"'
                )
                hint = f"give it one type: claims.{claim} means the same wherever it is read"
                yield error(type_.span, Code.CLAIM_TYPES, message, hint)


def _check_alike(schemes: Schemes) -> Iterator[Diagnostic]:
    """Of two schemes that know the same sign of a caller, nobody can say which one it is."""
    first: dict[tuple[str, ...], Key] = {}
    for name, shape in schemes.items():
        if isinstance(shape, OidcShape):
            sign, what = (shape.issuer.value.rstrip("/"), shape.audience.value), "issuer and audience"
        else:
            sign, what = (shape.header.value.lower(),), "header"
        other = first.setdefault(sign, name)
        if other is not name:
            message = f'"{name}" has the same {what} as "{other}" in line {other.span.line}'
            yield error(
                name.span, Code.SCHEMES_ALIKE, message, "make one scheme of the two, or tell them apart"
            )


def check_unsaid(mesh: Mesh) -> Iterator[Diagnostic]:
    """What it means that a contract says nothing of who may call."""
    if mesh.is_security_unsaid and mesh.routes:
        routes = "its only route" if len(mesh.routes) == 1 else f"all of its {len(mesh.routes)} routes"
        message = f"the contract has no security section: whoever reaches the gateway may call {routes}"
        hint = "write one (docs/saga-yaml.md), or security: none if a proxy or the hook of gateway/app.py decides"
        yield warning(Span(mesh.sources[-1]), Code.SECURITY_UNSAID, message, hint)


def check_unused(security: Security, rules: Iterable[Access | None]) -> Iterator[Diagnostic]:
    """Operators may have a scheme of their own, so with `admin` each is of use."""
    if security.admin is not None:
        return
    used = {*security.default, *(name for rule in rules if rule for name in rule.schemes)}
    for name, span in security.places.items():
        if name not in used:
            message = f'no route asks for the scheme "{name}"'
            hint = "name it in the default or in a rule (any_of), or remove it"
            yield note(span, Code.SCHEME_UNUSED, message, hint)


def no_scheme(at: Span, what: str) -> Diagnostic:
    message = f"{what} names no scheme, and there is no default that does"
    hint = "name one: any_of: [...]; or write public, if anybody may call it"
    return error(at, Code.NO_SCHEME, message, hint)


def check_admin(section: SecuritySection, broken: BrokenSecurity) -> Iterator[Diagnostic]:
    if section.admin is not None and not section.schemes and not broken.schemes:
        at = section.admin.viewer[0].span
        message = "admin asks for scopes, and there is no scheme by which an operator is known"
        yield error(at, Code.NO_SCHEME, message, "declare one under security.schemes")


def check_origins(section: SecuritySection) -> Iterator[Diagnostic]:
    for origin in section.cors.origins if section.cors else ():
        yield from _check_origin(origin)


def _check_origin(origin: Located[str]) -> Iterator[Diagnostic]:
    url = _split(origin.value)
    hint = "write it as browsers send it: scheme, host and port, for example https://shop.example"
    if "*" in origin.value:
        message = f'"{origin.value}" would let any page call the gateway'
        hint = "name each origin: https://shop.example"
    elif url is None or url.scheme not in ("http", "https") or not url.hostname:
        message = f'"{origin.value}" is not an origin'
    elif not origin.value.isascii():
        message = f'"{origin.value}" is not an origin: browsers send such a host in ASCII'
        hint = "write the host as it is registered, beginning with xn--"
    elif origin.value != f"{url.scheme}://{url.netloc}" or url.netloc != url.netloc.lower():
        message = f'"{origin.value}" is not an origin: it has {_too_much(url)}'
        hint = f"write {url.scheme}://{url.netloc.lower()}"
    elif url.port is not None and url.port == {"http": 80, "https": 443}[url.scheme]:
        message = f'"{origin.value}" is not an origin: browsers leave the usual port out'
        hint = f"write {url.scheme}://{url.hostname}"
    elif url.scheme == "http" and url.hostname not in LOOPBACK:
        message = f'"{origin.value}" is not https: whoever is on the way could write the page'
        hint = "write https://; http is only for pages on localhost"
    else:
        return
    yield error(origin.span, Code.BAD_ORIGIN, message, hint)


def _too_much(url: SplitResult) -> str:
    if url.path or url.query or url.fragment:
        return "a path"
    return "capital letters"


def check_limits(section: SecuritySection, limits: LimitsShape | None) -> Iterator[Diagnostic]:
    yield from _check_twice(section, limits)
    ours = section.limits
    if ours is None:
        return
    per_caller, connections = ours.per_caller, ours.connections
    if per_caller is not None and per_caller.burst is not None and per_caller.rate is None:
        message = "burst has no effect without a rate"
        yield error(per_caller.burst.span, Code.IDLE_LIMIT, message, "add rate: 50/s, or remove burst")
    most = Limits().max_running if limits is None or limits.max_running is None else limits.max_running.value
    running = per_caller.running if per_caller else None
    if running is not None and running.value > most:
        message = f"running has no effect: the gateway has at most {most} active sagas (limits.max_running)"
        yield error(running.span, Code.IDLE_LIMIT, message, "lower it, or remove it")
    one = connections.per_address if connections else None
    total = (connections.total if connections else None) or (limits.max_connections if limits else None)
    most = Limits().max_connections if total is None else total.value
    if one is not None and one.value > most:
        message = f"per_address has no effect: there are at most {most} connections"
        yield error(one.span, Code.IDLE_LIMIT, message, "lower it, or remove it")


def _check_twice(section: SecuritySection, limits: LimitsShape | None) -> Iterator[Diagnostic]:
    ours, connections = section.limits, section.limits.connections if section.limits else None
    if ours is None or limits is None:
        return
    body = {str(key): key.span for key in limits.body or {}}
    pairs = (
        ("body", ours.body, "limits.body.default", body.get("default")),
        (
            "connections.total",
            connections and connections.total,
            "limits.max_connections",
            _at(limits.max_connections),
        ),
        (
            "connections.per_address",
            connections and connections.per_address,
            "limits.max_connections_per_address",
            _at(limits.max_connections_per_address),
        ),
    )
    for name, here, there, at in pairs:
        if here is not None and at is not None:
            message = f"security.limits.{name} and {there} (line {at.line}) say the same"
            yield error(here.span, Code.SAID_TWICE, message, "remove one of the two")


def _at(limit: Located[int] | None) -> Span | None:
    return limit and limit.span


def check_callers(
    services: Iterable[Service], sagas: Iterable[Saga], routed: Iterable[MethodDescriptor]
) -> Iterator[Diagnostic]:
    """The gateway makes the calls of sagas and of routes, so it has to be let in."""
    rpcs = {*routed, *(call.method.descriptor for saga in sagas for call in _calls(saga))}
    for service in services:
        used = next((each.descriptor for each in service.methods if each.descriptor in rpcs), None)
        if GATEWAY not in service.callers and used is not None:
            message = f'callers of "{service.name}" keep the gateway out, which calls "{used.name}"'
            hint = f"write callers: [{', '.join((GATEWAY, *service.callers))}]"
            yield error(service.callers_span, Code.GATEWAY_SHUT_OUT, message, hint)


def _calls(saga: Saga) -> Iterator[Call]:
    for step in saga.calls:
        yield step.action
        if step.compensation is not None:
            yield step.compensation
