"""What generated/security.py prints, and what routes say of who may call them. Nothing is decided after this."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import Mesh
from sagagen.contract.protos import rpc_name
from sagagen.contract.security_model import Access, AdminAccess, ApiKeyScheme, CallerLimits, Scheme, Security
from sagagen.emit.docstrings import docstring
from sagagen.emit.header import header, sources_of
from sagagen.emit.imports import Imports
from sagagen.emit.saga_sources import listed, made
from sagagen.expression import RESERVED_NAMES, render_access
from sagagen.python_names import allot, identifier, snake_case, with_underscore

MODULE = "generated.security"
_CONSTANT = "SECURITY"
_CLASSES = ("AdminAccess", "ApiKeyScheme", "CallerLimits", "OidcScheme", "Security")


@dataclass(frozen=True, slots=True)
class SecurityView:
    header: str
    doc: tuple[str, ...]
    runtime_names: str
    security: str
    functions: tuple[tuple[str, ...], ...]
    imports: tuple[str, ...]


def allow_names(mesh: Mesh) -> Mapping[MethodDescriptor, str]:
    """The function of each rpc that has an `allow`."""
    methods = [method for method, access in _rules(mesh).items() if access.allow is not None]
    wishes = [identifier(f"allow_{snake_case(method.name)}") for method in methods]
    return dict(zip(methods, allot(wishes, {_CONSTANT, *RESERVED_NAMES}, with_underscore), strict=True))


def _rules(mesh: Mesh) -> Mapping[MethodDescriptor, Access]:
    return {route.method: route.access for route in mesh.routes if route.access is not None}


def security_view(mesh: Mesh, security: Security) -> SecurityView:
    names = allow_names(mesh)
    imports = Imports({_CONSTANT, *_CLASSES, *RESERVED_NAMES, *names.values()})
    functions: list[tuple[str, ...]] = []
    for method, access in _rules(mesh).items():
        if access.allow is not None:
            rendered = render_access(
                names[method],
                access.allow,
                request=method.input_type,
                response=method.output_type,
                names=mesh.names,
                doc=f"Whether the caller may have `{rpc_name(method)}`.",
                refer=imports.refer,
            )
            functions.append(rendered.lines)
            for wanted in rendered.imports:
                imports.add(wanted)
    source = _security_source(security)
    return SecurityView(
        header=header(sources_of(mesh, [method.containing_service.file for method in names])),
        doc=docstring("Who may call what: the `security` section of the contract."),
        runtime_names=", ".join(name for name in _CLASSES if f"{name}(" in source),
        security=source,
        functions=tuple(functions),
        imports=imports.statements,
    )


def access_source(access: Access, allow: str | None) -> str:
    """`allow`: the name of its function."""
    return made(
        "Access",
        schemes=_texts(access.schemes),
        scopes=_texts(access.scopes) if access.scopes else None,
        allow=allow,
        reads_response="True" if access.reads_response else None,
    )


def _security_source(security: Security) -> str:
    return made(
        "Security",
        schemes=listed([_scheme(scheme) for scheme in security.schemes]) if security.schemes else "()",
        default=_texts(security.default) if security.default else None,
        trust_domain=repr(security.trust_domain) if security.trust_domain else None,
        admin=_admin(security.admin) if security.admin else None,
        limits=_limits(security.limits) if security.limits != CallerLimits() else None,
        origins=_texts(security.origins) if security.origins else None,
    )


def _scheme(scheme: Scheme) -> str:
    if isinstance(scheme, ApiKeyScheme):
        return made("ApiKeyScheme", name=repr(scheme.name), header=repr(scheme.header))
    claims = ", ".join(f"{name!r}: {type_!r}" for name, type_ in scheme.claims.items())
    return made(
        "OidcScheme",
        name=repr(scheme.name),
        issuer=repr(scheme.issuer),
        audience=repr(scheme.audience),
        algorithms=_texts(scheme.algorithms),
        caller=None if scheme.caller == "sub" else repr(scheme.caller),
        claims=f"{{{claims}}}" if claims else None,
    )


def _admin(admin: AdminAccess) -> str:
    return made(
        "AdminAccess",
        viewer=_texts(admin.viewer),
        operator=_texts(admin.operator),
        four_eyes=_texts(admin.four_eyes) if admin.four_eyes else None,
    )


def _limits(limits: CallerLimits) -> str:
    rate = limits.rate_per_s
    return made(
        "CallerLimits",
        rate_per_s=None if rate is None else repr(rate),
        burst=None if rate is None else repr(limits.burst),
        running=None if limits.running is None else repr(limits.running),
    )


def _texts(texts: Iterable[str]) -> str:
    return repr(tuple(texts))
