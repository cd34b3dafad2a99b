"""Callers, as the document has them: schemes, what each operation asks for, and how it refuses.

A contract without the section `security` has none of it.
"""

from collections.abc import Iterable, Iterator, Mapping

from sagagen.contract.model import Mesh, Route
from sagagen.contract.security_model import Access, Security
from sagagen.emit.openapi_answers import refused
from sagagen.emit.openapi_rules import JsonSchema
from sagagen.runtime.model.security import OidcScheme, Scheme

_LATER = ("Retry-After",)


def security_schemes(security: Security | None) -> JsonSchema:
    """`components.securitySchemes`, or nothing."""
    if security is None:
        return {}
    return {"securitySchemes": {scheme.name: _described(scheme) for scheme in security.schemes}}


def _described(scheme: Scheme) -> JsonSchema:
    if isinstance(scheme, OidcScheme):
        # Not as `openIdConnect`: what reads documents, Swagger UI among them, then wants to fetch the token itself,
        # from a host that the page /docs must not reach, as a client that the provider does not know.
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": f"A token of {scheme.issuer} for the audience `{scheme.audience}`.",
            "x-openIdConnectUrl": f"{scheme.issuer.rstrip('/')}/.well-known/openid-configuration",
        }
    return {"type": "apiKey", "in": "header", "name": scheme.header, "description": "A key of this API."}


def guarded(operation: JsonSchema, route: Route, mesh: Mesh, *, is_read: bool) -> JsonSchema:
    """An operation of a route, with what it asks of its caller."""
    if mesh.security is None:
        return operation
    access = route.access
    refusals: Mapping[int, Refusal] = {}
    if access and not access.is_public:
        refusals = _refusals(access, is_read=is_read)
    return _with(
        operation, _asked(access), [*refusals.items(), *_limited(mesh.security, starts=bool(route.starts))]
    )


def guarded_by_default(operation: JsonSchema, security: Security | None) -> JsonSchema:
    """One of the gateway's own operations."""
    if security is None:
        return operation
    refusals = [(401, (_NOBODY, ("WWW-Authenticate",)))] if security.default else []
    asked: list[JsonSchema] = [{name: []} for name in security.default]
    return _with(operation, asked, [*refusals, *_limited(security, starts=False)])


def _asked(access: Access | None) -> list[JsonSchema]:
    """Any one of these; none at all where the route is public."""
    return [{name: list(access.scopes)} for name in access.schemes] if access else []


Refusal = tuple[str, tuple[str, ...]]
"""Why, and which headers it has besides."""

_NOBODY = "The gateway does not know who sent the request; `WWW-Authenticate` says what it takes."
_NOT_YOURS = "A resource that is not for this caller to see is not found either."


def _refusals(access: Access, *, is_read: bool) -> Mapping[int, Refusal]:
    why = list(_why_forbidden(access, is_read=is_read))
    found: dict[int, Refusal] = {401: (_NOBODY, ("WWW-Authenticate",))}
    if why:
        found[403] = (" ".join(why), ("WWW-Authenticate",) if access.scopes else ())
    if access.allow and is_read:
        found[404] = (_NOT_YOURS, ())
    return found


def _why_forbidden(access: Access, *, is_read: bool) -> Iterator[str]:
    if access.scopes:
        needed = " and ".join(f"`{scope}`" for scope in access.scopes)
        yield f"The caller lacks a scope: it needs {needed}."
    if access.allow and not is_read:
        yield "The caller may not do this with what the request names."


def _limited(security: Security, *, starts: bool) -> Iterator[tuple[int, Refusal]]:
    limits = security.limits
    too_much = [
        *(["has sent too many requests"] if limits.rate_per_s is not None else []),
        *(["has too many active sagas"] if limits.running is not None and starts else []),
    ]
    if too_much:
        yield (
            429,
            (f"The caller {', or '.join(too_much)}: send the same request again after Retry-After.", _LATER),
        )


def _with(
    operation: JsonSchema, asked: list[JsonSchema], refusals: Iterable[tuple[int, Refusal]]
) -> JsonSchema:
    answers: JsonSchema = dict(operation["responses"])
    for status, (why, headers) in refusals:
        known = None if status == 401 else answers.get(str(status))
        answers[str(status)] = refused(known, why, *headers)
    in_order = dict(sorted(answers.items(), key=lambda each: (not each[0].isdigit(), each[0])))
    return {**operation, "security": asked, "responses": in_order}
