"""The `security` section of saga.yaml, bound to the routes that it is about.

In two steps, since expressions of sagas read claims, and rules are about routes, which are known after the sagas:
`resolve_schemes`, then `resolve_rules`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract import security_checks as checks
from sagagen.contract.broken import BrokenSecurity
from sagagen.contract.codes import Code
from sagagen.contract.findings import error, suggest
from sagagen.contract.located import Key, Located
from sagagen.contract.protos import Protos, http_rule, is_streaming, rpc_name
from sagagen.contract.reading import Reading
from sagagen.contract.routes import Answerers, Binding
from sagagen.contract.security_model import Access, AdminAccess, CallerLimits, Security
from sagagen.contract.security_shape import (
    AdminShape,
    ApiKeyShape,
    CallerLimitsShape,
    OidcShape,
    RuleShape,
    SecuritySection,
)
from sagagen.diagnostics import Diagnostic, Report
from sagagen.expression import Environment, TypeIndex, ValueExpr, compile_condition
from sagagen.expression.codes import Code as ExpressionCode
from sagagen.expression.types import INT, ListType, Simple, Type
from sagagen.runtime.model.security import ApiKeyScheme, ClaimType, OidcScheme, Scheme
from sagagen.source import Scalar, Span

ALGORITHMS = ("ES256", "RS256")
SUBJECT = "sub"
NAMED = 3
"""So many rpcs without a rule are named; of the others only the number."""
TYPES: Mapping[ClaimType, Type] = {
    "string": Simple.STRING,
    "bool": Simple.BOOL,
    "int": INT,
    "list(string)": ListType(Simple.STRING),
}
_BEFORE_SAGAS = "a route's allow is asked without regard to any saga"
_IS_REQUEST = 'in a route\'s allow the message is called "request"'
_IS_WRITE = "a write is decided on before it is done: answers of reads can be read"


@dataclass(frozen=True, slots=True)
class Schemes:
    """How callers are known, and what may be read of them."""

    by_name: Mapping[str, Scheme]
    places: Mapping[str, Span]
    claims: Mapping[str, Type]
    broken: BrokenSecurity

    def is_follow_up(self, finding: Diagnostic) -> bool:
        """Whether something that was reported before may be the cause of a finding about an expression."""
        return finding.code == ExpressionCode.UNKNOWN_CLAIM and self.broken.hides_claims


def section_of(reading: Reading) -> SecuritySection | None:
    """None where it is missing, and for `security: none`."""
    section = reading.file.security
    return section if isinstance(section, SecuritySection) else None


def is_unsaid(reading: Reading) -> bool:
    """Whether the contract says nothing of who may call, not even that this is meant."""
    return reading.file.security is None and not reading.broken_security.rules


def resolve_schemes(reading: Reading, report: Report) -> Schemes:
    section = section_of(reading)
    shapes = (section and section.schemes) or {}
    for problem in checks.check_schemes(shapes):
        report(problem)
    schemes = {str(name): _scheme(str(name), shape) for name, shape in shapes.items()}
    claims: dict[str, Type] = {}
    for scheme in schemes.values():
        for name, type_ in scheme.claims.items() if isinstance(scheme, OidcScheme) else ():
            claims.setdefault(name, TYPES[type_])
    return Schemes(schemes, {str(name): name.span for name in shapes}, claims, reading.broken_security)


def _scheme(name: str, shape: OidcShape | ApiKeyShape) -> Scheme:
    if isinstance(shape, ApiKeyShape):
        return ApiKeyScheme(name, shape.header.value)
    algorithms = _texts(shape.algorithms) if shape.algorithms else ALGORITHMS
    claims: dict[str, ClaimType] = {
        str(claim): _claim_type(type_) for claim, type_ in (shape.claims or {}).items()
    }
    caller = SUBJECT if shape.caller is None else shape.caller.value
    return OidcScheme(name, shape.issuer.value, shape.audience.value, algorithms, caller, claims)


def _claim_type(said: Located[str]) -> ClaimType:
    return cast(ClaimType, said.value)  # the shape allows no other


@dataclass(frozen=True, slots=True)
class Rules:
    """Which callers each rpc takes; empty without the section."""

    security: Security | None
    by_rpc: Mapping[MethodDescriptor, Access]


def resolve_rules(
    reading: Reading,
    schemes: Schemes,
    protos: Protos,
    bindings: Sequence[Binding],
    answerers: Answerers,
    report: Report,
) -> Rules:
    section = section_of(reading)
    if section is None:
        return Rules(None, {})
    span = reading.security_span
    types = TypeIndex(protos.files)
    resolver = _Resolver(section, schemes, protos, types, tuple(bindings), answerers, report, span)
    by_rpc = dict(resolver.rules())
    for problem in (
        *checks.check_limits(section, reading.file.limits),
        *checks.check_origins(section),
        *checks.check_admin(section, schemes.broken),
    ):
        report(problem)
    return Rules(_security(section, schemes, span), by_rpc)


def _security(section: SecuritySection, schemes: Schemes, span: Span) -> Security:
    default = section.default
    trust_domain = section.mesh.trust_domain if section.mesh else None
    per_caller = section.limits.per_caller if section.limits else None
    return Security(
        schemes=tuple(schemes.by_name.values()),
        default=tuple(schemes.by_name) if default is None else _texts(default.any_of),
        trust_domain="" if trust_domain is None else trust_domain.value,
        admin=_admin(section.admin) if section.admin else None,
        limits=_limits(per_caller) if per_caller else CallerLimits(),
        origins=_texts(section.cors.origins) if section.cors else (),
        places=schemes.places,
        span=span,
    )


def _texts(located: Iterable[Located[str]]) -> tuple[str, ...]:
    """Each once, in the order of the file."""
    return tuple(dict.fromkeys(each.value for each in located))


def _admin(shape: AdminShape) -> AdminAccess:
    return AdminAccess(_texts(shape.viewer), _texts(shape.operator), _texts(shape.four_eyes or ()))


def _limits(shape: CallerLimitsShape) -> CallerLimits:
    rate_per_s = None if shape.rate is None else shape.rate.value
    second = max(1, round(rate_per_s or 0))
    burst = second if shape.burst is None else shape.burst.value
    return CallerLimits(rate_per_s, burst, None if shape.running is None else shape.running.value)


@dataclass(frozen=True, slots=True)
class _Resolver:
    section: SecuritySection
    schemes: Schemes
    protos: Protos
    types: TypeIndex
    bindings: tuple[Binding, ...]
    answerers: Answerers
    report: Report
    span: Span

    def rules(self) -> Iterator[tuple[MethodDescriptor, Access]]:
        default = self._default()
        written = {str(key): (key, rule) for key, rule in (self.section.routes or {}).items()}
        self._check_names(written)
        unruled: list[str] = []
        for method in dict.fromkeys(binding.method for binding in self.bindings):
            key, rule = written.get(rpc_name(method), (None, None))
            if key is not None and rule is not None:
                access = self._access(key, rule, method, default)
            else:
                access = default
                unruled.append(rpc_name(method))
            if access is not None:
                yield method, access
        if self.section.default is None:
            self._report_unruled(unruled)

    def _default(self) -> Access | None:
        shape = self.section.default
        if shape is None:
            return None
        schemes = self._known(shape.any_of)
        span = shape.any_of[0].span if shape.any_of else self.span
        if not shape.any_of:
            self.report(checks.no_scheme(span, "the default"))
        return Access(schemes, (), None, "", is_default=True, span=span) if schemes else None

    def _known(self, names: Sequence[Located[str]]) -> tuple[str, ...]:
        """Those that there are, in the order of the contract."""
        for name in names:
            if name.value not in self.schemes.by_name and not self.schemes.broken.may_lack_scheme(name.value):
                message = f'there is no scheme "{name.value}"'
                hint = suggest(name.value, self.schemes.places, "declare it under security.schemes")
                self.report(error(name.span, Code.UNKNOWN_SCHEME, message, hint))
        wanted = {name.value for name in names}
        return tuple(name for name in self.schemes.by_name if name in wanted)

    def _access(
        self, key: Key, rule: Located[str] | RuleShape, method: MethodDescriptor, default: Access | None
    ) -> Access | None:
        if not isinstance(rule, RuleShape):
            return Access((), (), None, "", is_default=False, span=key.span)
        schemes = default.schemes if default else ()
        if rule.any_of is not None:
            schemes = self._known(rule.any_of)
        is_inherited = rule.any_of is None and (self.section.default is not None or self._lacks_default())
        if not rule.any_of and not is_inherited:
            self.report(checks.no_scheme(key.span, f'the rule of "{key}"'))
        allow = self._allow(rule, method)
        text = " ".join(rule.allow.text.split()) if isinstance(rule.allow, Scalar) else ""
        scopes = _texts(rule.scopes or ())
        return Access(schemes, scopes, allow, text, is_default=False, span=key.span) if schemes else None

    def _lacks_default(self) -> bool:
        """It was reported, and left out."""
        return "" in self.schemes.broken.rules

    def _allow(self, rule: RuleShape, method: MethodDescriptor) -> ValueExpr | None:
        if rule.allow is None:
            return None
        return compile_condition(rule.allow, self._environment(method), self._without_follow_ups)

    def _without_follow_ups(self, finding: Diagnostic) -> None:
        if not self.schemes.is_follow_up(finding):
            self.report(finding)

    def _environment(self, method: MethodDescriptor) -> Environment:
        is_read = self.answerers.is_read(method)
        hidden = {
            **dict.fromkeys(("saga.id", "saga.started_at"), _BEFORE_SAGAS),
            **dict.fromkeys(("input", "event"), _IS_REQUEST),
            **({} if is_read else {"response": _IS_WRITE}),
        }
        return Environment(
            types=self.types,
            package=method.containing_service.file.package,
            input=None,
            steps={},
            unreadable={},
            failure=False,
            total=True,
            saga_id=False,
            started_at=False,
            request=method.input_type,
            response=method.output_type if is_read else None,
            claims=self.schemes.claims,
            hidden=hidden,
        )

    def _report_unruled(self, names: Sequence[str]) -> None:
        """One finding for all of them: without a default there may be hundreds."""
        missing = [name for name in names if not self.schemes.broken.may_lack_rule(name)]
        if not missing:
            return
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        shown = ", ".join(f'"{name}"' for name in missing[:NAMED])
        message = f"nothing says who may call {shown}{more}, and security has no default"
        hint = f"write under security.routes: {missing[0]}: public, or its scopes; or give security a default"
        self.report(error(self.span, Code.ROUTE_UNRULED, message, hint))

    def _check_names(self, written: Mapping[str, tuple[Key, object]]) -> None:
        routed = {rpc_name(each.method): each.span for each in self.bindings}
        for name, (key, _) in written.items():
            if name not in routed and not self.protos.is_partial:
                self._report_unrouted(name, key, routed)

    def _report_unrouted(self, name: str, key: Key, routed: Mapping[str, Span]) -> None:
        service = self.protos.services.get(name.partition("/")[0])
        method = service.methods_by_name.get(name.partition("/")[2]) if service else None
        if method is None:
            message = f'no proto declares an rpc "{name}"'
            hint = suggest(name, routed, "name an rpc that has an HTTP route: package.Service/Method")
            self.report(error(key.span, Code.UNKNOWN_RULE, message, hint))
            return
        if http_rule(method) is not None and not is_streaming(method):
            return  # nothing answers it, of which more is said elsewhere
        why = "is a streaming rpc, which no route serves" if is_streaming(method) else "has no HTTP route"
        message = f'"{name}" {why}, so that its rule has no effect'
        hint = "remove it; which processes of the mesh may call a service, its callers say"
        self.report(error(key.span, Code.RULE_WITHOUT_ROUTE, message, hint))
