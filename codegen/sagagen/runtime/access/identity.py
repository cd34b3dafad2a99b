"""A caller's identity: what a scheme found out about the sender of a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.model.security import ClaimValue
from sagagen.runtime.rpc.caller_claims import canonical


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

    @property
    def told_claims(self) -> str:
        """The claims as canonical JSON, for the log and for services. Raises ClaimsTooLong."""
        return canonical(self.claims) if self.claims else ""


NOBODY = Identity(ANONYMOUS)


class Unauthenticated(Exception):
    """What was shown is not believed, or nothing was shown. The text says why, and repeats nothing that is secret."""

    def __init__(self, why: str, challenges: Sequence[str] = (), *, is_missing: bool = False) -> None:
        super().__init__(why)
        self.challenges = tuple(challenges)
        """Values of WWW-Authenticate (RFC 9110, 11.6.1), one for each scheme that would do."""
        self.is_missing = is_missing
        """Nothing was shown."""


class CannotTell(Exception):
    """Nobody can be known now, whatever they show: a provider's keys are not here yet. The text says whose."""

    def __init__(self, why: str, retry_after_s: float) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Headers(Protocol):
    """Header fields of a request, by lower-case name."""

    def getlist(self, key: str) -> list[str]: ...


class Authenticator(Protocol):
    """Tells who sent a request, by any of a set of schemes."""

    async def identity(self, headers: Headers) -> Identity:
        """Raises Unauthenticated where no scheme knows the sender, and where two of them were shown something.

        Raises CannotTell while a scheme's keys are missing.
        """
        ...

    def challenges(self, error: str = "", scopes: Sequence[str] = ()) -> Sequence[str]:
        """Values of WWW-Authenticate, one for each scheme. `error` is RFC 6750's, for example `insufficient_scope`."""
        ...


class Authentication(Protocol):
    """The schemes of a contract, at work."""

    def by(self, schemes: Sequence[str]) -> Authenticator:
        """What knows the callers of these schemes. Raises KeyError for a name that is no scheme's."""
        ...
