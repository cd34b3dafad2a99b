"""The contract's `security` section, resolved, as far as the runtime's own data do not say it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sagagen.expression import ValueExpr, reads_response
from sagagen.runtime.model.security import (
    AdminAccess,
    ApiKeyScheme,
    CallerLimits,
    ClaimType,
    OidcScheme,
    Scheme,
)
from sagagen.source import Span

__all__ = ["Access", "AdminAccess", "ApiKeyScheme", "CallerLimits", "OidcScheme", "Scheme", "Security"]


@dataclass(frozen=True, slots=True)
class Access:
    """The callers that an rpc takes through the gateway."""

    schemes: tuple[str, ...]
    """Names of schemes, in the order of the contract, one of which has to know the caller; none: it is public."""
    scopes: tuple[str, ...]
    """What a caller needs, all of it."""
    allow: ValueExpr | None
    """A condition over request, response, caller and claims. None: every caller whom the schemes know."""
    allow_text: str
    """The same as it is written, on one line; empty for None."""
    is_default: bool
    """The rpc has no rule of its own."""
    span: Span
    """Where its rule is written, or the default."""

    @property
    def is_public(self) -> bool:
        return not self.schemes

    @property
    def reads_response(self) -> bool:
        """`allow` can be decided only after the service has answered, which it does only for reads."""
        return self.allow is not None and reads_response(self.allow)


@dataclass(frozen=True, slots=True)
class Security:
    """The whole section."""

    schemes: tuple[Scheme, ...]
    default: tuple[str, ...]
    """Names of the schemes of routes without a rule, and of the gateway's own routes of sagas. Without a default in the
    contract all schemes: then every route has a rule."""
    trust_domain: str
    """Empty: the project's name."""
    admin: AdminAccess | None
    limits: CallerLimits
    origins: tuple[str, ...]
    places: Mapping[str, Span]
    """Of each scheme's name."""
    span: Span
    """Of the section's key."""

    @property
    def claims(self) -> Mapping[str, ClaimType]:
        """The claims of all schemes; one name has one type."""
        oidc = (scheme for scheme in self.schemes if isinstance(scheme, OidcScheme))
        return {name: type_ for scheme in oidc for name, type_ in scheme.claims.items()}

    def scheme(self, name: str) -> Scheme:
        return next(scheme for scheme in self.schemes if scheme.name == name)
