"""What changed about who may call what: the contract's section `security`, and who may call a service."""

from collections.abc import Iterable, Iterator, Mapping

from sagagen.compatibility.change import Change, Rule, Target
from sagagen.compatibility.edge import SAGA_FILE, same_routes
from sagagen.compatibility.new_fields import claims_read
from sagagen.compatibility.pair import difference, is_same
from sagagen.compatibility.rules import security as rules
from sagagen.contract.model import Mesh, Route, Service
from sagagen.contract.security_model import Access, Security
from sagagen.runtime.model.security import (
    AdminAccess,
    ApiKeyScheme,
    CallerLimits,
    ClaimType,
    OidcScheme,
    Scheme,
)
from sagagen.source import Span

_OWN = "GET /sagas"
"""The gateway's own routes, which the default is for."""


def compare_security(old: Mesh, new: Mesh) -> Iterator[Change]:
    yield from _service_callers(old, new)
    yield from _subjects(old, new)
    if old.security is not None and new.security is None:
        yield Change.of(rules.SECURITY_REMOVED, SAGA_FILE, "security", "section `security` is gone")
        return
    if new.security is None:
        return
    for was, now in same_routes(old, new):
        yield from _route(was, now, old, new)
    yield from _asked(
        _OWN, new.security.span, old.security.default if old.security else (), new.security.default
    )
    yield from _section(old.security, new.security)
    yield from _claims(old, new)


# Routes


def _route(was: Route, now: Route, old: Mesh, new: Mesh) -> Iterator[Change]:
    subject, before, after = f"{now.verb} {now.template}", was.access, now.access
    yield from _asked(subject, _place(now), _schemes(before), _schemes(after))
    if not _schemes(before) or not _schemes(after):
        return  # that it became public, or asks now, says all of it
    assert before is not None
    assert after is not None
    for scope in _new(before.scopes, after.scopes):
        yield Change.of(rules.SCOPE_ADDED, _place(now), subject, f"scope {scope} is needed")
    for scope in _new(after.scopes, before.scopes):
        yield Change.of(rules.SCOPE_REMOVED, _place(now), subject, f"scope {scope} is not needed any more")
    if not is_same(before.allow, after.allow):
        yield Change.of(
            _rule_of_owners(before, after),
            _place(now),
            subject,
            difference("allow", before.allow, after.allow),
        )


def _rule_of_owners(before: Access, after: Access) -> Rule:
    if before.allow is None:
        return rules.OWNER_RULE_ADDED
    return rules.OWNER_RULE_REMOVED if after.allow is None else rules.OWNER_RULE_CHANGED


def _schemes(access: Access | None) -> tuple[str, ...]:
    return access.schemes if access else ()


def _place(route: Route) -> Span:
    return route.access.span if route.access else SAGA_FILE


def _asked(subject: str, at: Span, before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Change]:
    """By names of schemes, any of which will do; none: everybody may call."""
    if not before and after:
        yield Change.of(rules.AUTH_ADDED, at, subject, f"public -> {' or '.join(after)}")
    elif before and not after:
        yield Change.of(rules.AUTH_REMOVED, at, subject, f"{' or '.join(before)} -> public")
    else:
        for name in _new(before, after):
            yield Change.of(rules.ROUTE_SCHEME_ADDED, at, subject, f"takes {name} as well")
        for name in _new(after, before):
            yield Change.of(rules.ROUTE_SCHEME_REMOVED, at, subject, f"takes {name} no more")


def _new(before: Iterable[str], after: Iterable[str]) -> tuple[str, ...]:
    known = set(before)
    return tuple(name for name in after if name not in known)


# The section


def _section(old: Security | None, new: Security) -> Iterator[Change]:
    """Without it before, nobody was limited, and no role, second operator or page of another origin was named."""
    found = [
        *_operators(old.admin if old else None, new.admin),
        *_origins(old.origins if old else (), new.origins),
        *_limits(old.limits if old else CallerLimits(), new.limits),
    ]
    for rule, subject, message in found:
        yield Change.of(rule, new.span, f"security.{subject}", message)
    if old is None:
        return
    yield from _schemes_of(old, new)
    if old.trust_domain != new.trust_domain:
        was, now = (each.trust_domain or "of the project's name" for each in (old, new))
        message = f"trust_domain {was} -> {now}"
        yield Change.of(rules.TRUST_DOMAIN_CHANGED, new.span, "security.mesh.trust_domain", message)


Found = Iterator[tuple[Rule, str, str]]
"""Rule, subject within the section, message."""


def _schemes_of(old: Security, new: Security) -> Iterator[Change]:
    before = {scheme.name: scheme for scheme in old.schemes}
    for now in new.schemes:
        if was := before.get(now.name):
            place = new.places.get(now.name, new.span)
            for rule, message in _scheme(was, now):
                yield Change.of(rule, place, f"security.schemes.{now.name}", message)


def _scheme(was: Scheme, now: Scheme) -> Iterator[tuple[Rule, str]]:
    match was, now:
        case OidcScheme(), OidcScheme():
            yield from _oidc(was, now)
        case ApiKeyScheme(), ApiKeyScheme():
            if was.header.lower() != now.header.lower():
                yield rules.HEADER_RENAMED, f"header {was.header} -> {now.header}"
        case _:
            yield rules.SCHEME_RETYPED, f"{_TYPES[type(was)]} -> {_TYPES[type(now)]}"


_TYPES: Mapping[type[Scheme], str] = {OidcScheme: "oidc", ApiKeyScheme: "api_key"}


def _oidc(was: OidcScheme, now: OidcScheme) -> Iterator[tuple[Rule, str]]:
    for rule, name, before, after in (
        (rules.ISSUER_CHANGED, "issuer", was.issuer, now.issuer),
        (rules.ISSUER_CHANGED, "audience", was.audience, now.audience),
        (rules.CALLER_CHANGED, "caller", was.caller, now.caller),
    ):
        if before != after:
            yield rule, f"{name} {before} -> {after}"
    for name in _new(was.algorithms, now.algorithms):
        yield rules.ALGORITHM_ADDED, f"believes {name} as well"
    for name in _new(now.algorithms, was.algorithms):
        yield rules.ALGORITHM_REMOVED, f"believes {name} no more"


def _operators(was: AdminAccess | None, now: AdminAccess | None) -> Found:
    for role in ("viewer", "operator"):
        before: tuple[str, ...] = getattr(was, role, ())
        after: tuple[str, ...] = getattr(now, role, ())
        for scope in _new(before, after):
            yield rules.OPERATORS_ADDED, f"admin.{role}", f"scope {scope} is needed"
        for scope in _new(after, before):
            yield rules.OPERATORS_LOOSENED, f"admin.{role}", f"scope {scope} is not needed any more"
    confirmed, to_confirm = was.four_eyes if was else (), now.four_eyes if now else ()
    for command in _new(confirmed, to_confirm):
        yield rules.FOUR_EYES_ADDED, "admin.four_eyes", f"a second operator confirms {command}"
    for command in _new(to_confirm, confirmed):
        yield rules.FOUR_EYES_REMOVED, "admin.four_eyes", f"one operator is enough for {command}"


def _origins(before: tuple[str, ...], after: tuple[str, ...]) -> Found:
    for origin in _new(before, after):
        yield rules.ORIGINS_WIDENED, "cors.origins", f"pages of {origin} may call"
    for origin in _new(after, before):
        yield rules.ORIGINS_NARROWED, "cors.origins", f"pages of {origin} may not call any more"


def _limits(was: CallerLimits, now: CallerLimits) -> Found:
    """A burst is part of the rate, and says nothing without one."""
    bursts = [(limits.burst if limits.rate_per_s is not None else None) for limits in (was, now)]
    for name, before, after in (
        ("rate", was.rate_per_s, now.rate_per_s),
        ("burst", *bursts),
        ("running", was.running, now.running),
    ):
        is_of_another = name == "burst" and (before is None or after is None)
        if is_of_another or before == after:
            continue
        message = f"{name} {_limit(before)} -> {_limit(after)}"
        if after is None:
            yield rules.CALLER_LIMITS_REMOVED, f"limits.per_caller.{name}", message
        elif before is None or after < before:
            yield rules.CALLER_LIMITS_LOWERED, f"limits.per_caller.{name}", message


def _limit(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


# Claims


def _claims(old: Mesh, new: Mesh) -> Iterator[Change]:
    before, after = _types_of_claims(old), _types_of_claims(new)
    place = new.security.span if new.security else SAGA_FILE
    for name, type_ in before.items():
        subject = f"claims.{name}"
        if name not in after:
            yield Change.of(rules.CLAIM_REMOVED, place, subject, f"claim {name} is gone")
        elif after[name] != type_:
            yield Change.of(rules.CLAIM_RETYPED, place, subject, f"{type_} -> {after[name]}")
    for name, type_ in after.items():
        if name not in before:
            yield Change.of(rules.CLAIM_ADDED, place, f"claims.{name}", f"claim {name} ({type_}) is new")
            yield from _read_by_open(name, old, new)


def _types_of_claims(mesh: Mesh) -> Mapping[str, ClaimType]:
    return mesh.security.claims if mesh.security else {}


def _read_by_open(name: str, old: Mesh, new: Mesh) -> Iterator[Change]:
    """Sagas that read a new claim, in a version that has sagas without it."""
    known = {(saga.name, saga.version) for saga in (*old.sagas, *old.kept)}
    for saga in (*new.sagas, *new.kept):
        if (saga.name, saga.version) in known and name in claims_read(saga):
            message = f"{saga.name} reads claims.{name}, which open sagas do not have"
            target = Target(saga.name, saga.version)
            yield Change.of(rules.CLAIM_READ, saga.span, f"{saga.name}/claims.{name}", message, target)


# Whose data


def _subjects(old: Mesh, new: Mesh) -> Iterator[Change]:
    before = {saga.name: saga for saga in old.sagas}
    for now in new.sagas:
        was = before.get(now.name)
        if was is None or is_same(was.subject, now.subject):
            continue
        rule = rules.SUBJECT_ADDED if was.subject is None else rules.SUBJECT_CHANGED
        message = difference("subject", was.subject, now.subject)
        yield Change.of(rule, now.span, f"{now.name}/subject", message)


# Services


def _service_callers(old: Mesh, new: Mesh) -> Iterator[Change]:
    before = {service.name: service for service in old.services}
    for now in new.services:
        if was := before.get(now.name):
            yield from _callers(was, now)


def _callers(was: Service, now: Service) -> Iterator[Change]:
    for name in _new(was.callers, now.callers):
        message = f"{name} may call it"
        yield Change.of(rules.SERVICE_CALLER_ADDED, now.span, f"services.{now.name}.callers", message)
    for name in _new(now.callers, was.callers):
        message = f"{name} may not call it any more"
        yield Change.of(rules.SERVICE_CALLER_REMOVED, now.span, f"services.{now.name}.callers", message)
