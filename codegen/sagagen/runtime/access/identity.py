"""Who calls: what a scheme found out about the sender of a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.model.security import ClaimValue


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller who is known; or nobody in particular, on a route that is public."""

    caller: str
    """Its id: within the mesh no two callers have the same one."""
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, ClaimValue] = field(default_factory=dict[str, ClaimValue])
    """Each claim that the contract names, with its type's default where the caller has none."""
    scheme: str = ""
    """Name of the scheme that knows the caller; empty for nobody in particular."""
    expires_s: float | None = None
    """When what was shown is no longer good, in seconds since the epoch; None: never."""


NOBODY = Identity(ANONYMOUS)


class Unauthenticated(Exception):
    """What was shown is not believed, or nothing was shown. The text says why, and repeats nothing that is secret."""

    def __init__(self, why: str, challenges: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.challenges = challenges
        """Values of WWW-Authenticate (RFC 9110, 11.6.1), one for each scheme that would do."""


class Headers(Protocol):
    """Header fields of a request, by lower-case name."""

    def getlist(self, key: str) -> list[str]: ...


class Authenticator(Protocol):
    """Tells who sent a request, by any of a set of schemes."""

    async def identity(self, headers: Headers) -> Identity:
        """Raises Unauthenticated where no scheme knows the sender, and where two schemes know different ones."""
        ...
