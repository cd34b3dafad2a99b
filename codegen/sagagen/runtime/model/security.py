"""The rules of the contract's `security` section: data that edge, services, admin and documents read.

Durations are seconds. Everything here is immutable and made once, at import. A contract without the section has none
of it, and nothing that reads it is imported then.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ClaimType = Literal["string", "bool", "int", "list(string)"]
ClaimValue = str | bool | int | tuple[str, ...]
"""A claim's value, by its type; a claim that a caller does not have is "", false, 0 or the empty list. An int is one
of 64 bits."""

DEFAULT_CLAIMS: Mapping[ClaimType, ClaimValue] = {"string": "", "bool": False, "int": 0, "list(string)": ()}

GATEWAY = "gateway"
"""The gateway's name where services say who may call them."""
MAX_CLAIMS_BYTES = 2048
"""Of all claims of a caller together, as percent-encoded JSON: services are told with each call, in metadata."""


@dataclass(frozen=True, slots=True)
class OidcScheme:
    """A caller shows a token (JWT) of an OpenID provider: `Authorization: Bearer ...`."""

    name: str
    issuer: str
    """Its URL, as tokens have it in `iss`; `/.well-known/openid-configuration` below it says where the keys are."""
    audience: str
    algorithms: tuple[str, ...]
    """JWS algorithms that are believed. `none` and those with a shared secret never are."""
    caller: str = "sub"
    """The claim that is the caller's id."""
    claims: Mapping[str, ClaimType] = field(default_factory=dict[str, ClaimType])
    """Claims that expressions and handlers may read, by name."""


@dataclass(frozen=True, slots=True)
class ApiKeyScheme:
    """A caller shows a key, in a header of its own. The caller's id is the name of the key."""

    name: str
    header: str


Scheme = OidcScheme | ApiKeyScheme


@dataclass(frozen=True, slots=True)
class Access:
    """The callers that a route takes."""

    schemes: tuple[str, ...]
    """Names of schemes, one of which has to know the caller; none: the route is public."""
    scopes: tuple[str, ...] = ()
    """What a caller needs, all of it."""
    allow: Callable[[Any], bool] | None = None
    """From an `AccessScope`; false: 404 on a read, 403 on a write. Total. None: every caller of the schemes."""
    reads_response: bool = False
    """`allow` reads the response, so it is asked when the service has answered a read."""

    @property
    def is_public(self) -> bool:
        return not self.schemes


@dataclass(frozen=True, slots=True)
class AdminAccess:
    """What operators need on the admin listener: scopes of the same schemes."""

    viewer: tuple[str, ...]
    """Scopes that let somebody look."""
    operator: tuple[str, ...]
    """Scopes that let somebody give commands. An operator may look as well."""
    four_eyes: tuple[str, ...] = ()
    """Commands (`resolve`, `skip`) that a second operator has to confirm."""


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """How much one caller may do: by id, and by address where the caller is anonymous. None: as much as fits."""

    rate_per_s: float | None = None
    burst: int = 1
    """Requests that may come at once."""
    running: int | None = None
    """Active sagas."""


@dataclass(frozen=True, slots=True)
class Security:
    """The contract's `security` section."""

    schemes: tuple[Scheme, ...]
    default: tuple[str, ...] = ()
    """Schemes of what has no rule of its own: the gateway's own routes of sagas."""
    trust_domain: str = ""
    """SPIFFE trust domain of the mesh's certificates; empty: the project's name."""
    admin: AdminAccess | None = None
    limits: CallerLimits = CallerLimits()
    origins: tuple[str, ...] = ()
    """Of web pages that may call the gateway (CORS)."""

    @property
    def default_claims(self) -> Mapping[str, ClaimValue]:
        """What callers have who have none of the claims: each that the contract names, with its type's default."""
        return {name: DEFAULT_CLAIMS[type_] for name, type_ in self.claims.items()}

    @property
    def claims(self) -> Mapping[str, ClaimType]:
        """The claims of all schemes; one name has one type."""
        return {
            name: type_
            for scheme in self.schemes
            if isinstance(scheme, OidcScheme)
            for name, type_ in scheme.claims.items()
        }
