"""The gate of the admin listener: it lets operators in, as viewer or operator.

Where the contract has `security.admin`, its schemes know who asks, and scopes say what they may (`SchemeGate`).
Otherwise a token keeps strangers away (`TokenGate`): whoever has it may do everything, under the name that they give.
On loopback none is needed, and two checks keep web pages out instead: the Host must be this machine (DNS rebinding),
and a command must be JSON (a browser sends other content types to other origins without asking).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from starlette.requests import Request

from sagagen.runtime.access.identity import Authenticator, CannotTell, Identity, Unauthenticated
from sagagen.runtime.model.security import AdminAccess
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.settings import ADMIN_TOKEN

OPERATOR_HEADER = "sagagen-operator"
"""The name of whoever asks, percent-encoded UTF-8; a name in a command's `by` goes before it. Where a scheme knows who
asks, it is not looked at."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Admitted:
    """Somebody who may look, at least."""

    by: str
    """Their id, or the name that they gave; empty where they gave none."""
    scheme: str
    """As of an AuditEntry."""
    is_known: bool
    """A scheme of the contract knows them: no other name is believed."""
    is_operator: bool
    """They may give commands."""


class NotAdmitted(Exception):
    """Somebody is turned away; the message is for them, and repeats nothing that is secret."""

    def __init__(
        self,
        status: int,
        why: str,
        *,
        by: str = "",
        scheme: str = "",
        challenges: Sequence[str] = (),
        retry_after_s: float | None = None,
    ) -> None:
        """`status` is 401 where nobody knows them, 403 where they may not, 503 where that can't be told now.

        `challenges` are values of WWW-Authenticate; `retry_after_s` is in seconds.
        """
        super().__init__(why)
        self.status = status
        self.retry_after_s = retry_after_s
        self.by = by
        self.scheme = scheme
        self.challenges = tuple(challenges)


class Gate(Protocol):
    async def admit(self, request: Request) -> Admitted:
        """Raises NotAdmitted."""
        ...


class TokenGate:
    """Lets in whoever has the token; where there is none, whoever is on this machine."""

    def __init__(self, host: str, token: Secret | None = None) -> None:
        """`host` is where the listener binds. Without a token nobody is let in but on loopback."""
        self._host = host
        self._token = token

    async def admit(self, request: Request) -> Admitted:
        by = unquote(request.headers.get(OPERATOR_HEADER, ""))
        if self._token:
            _check_token(self._token, request)
            return Admitted(by, "token", is_known=False, is_operator=True)
        self._check_is_local(request)
        return Admitted(by, "loopback", is_known=False, is_operator=True)

    def _check_is_local(self, request: Request) -> None:
        if self._host not in LOOPBACK:
            raise NotAdmitted(
                403,
                f"this listener is not on loopback ({self._host}): set {ADMIN_TOKEN} for the gateway to open its sagas",
            )
        if request.url.hostname not in LOOPBACK:
            raise NotAdmitted(
                403, f"without a token ({ADMIN_TOKEN}) the sagas can be reached at localhost only"
            )


def _check_token(token: Secret, request: Request) -> None:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.is_one(given.strip().encode()):
        raise NotAdmitted(
            401,
            f"the sagas need a token: send the value of {ADMIN_TOKEN} as `Authorization: Bearer`",
            challenges=("Bearer",),
        )


class SchemeGate:
    """Lets in whom a scheme of the contract knows, and who has the scopes."""

    def __init__(self, authenticator: Authenticator, access: AdminAccess) -> None:
        self._authenticator = authenticator
        self._viewer = frozenset(access.viewer)
        self._operator = frozenset(access.operator)

    async def admit(self, request: Request) -> Admitted:
        try:
            known = await self._authenticator.identity(request.headers)
        except Unauthenticated as error:
            raise NotAdmitted(401, str(error), challenges=error.challenges) from error
        except CannotTell as error:
            raise NotAdmitted(503, str(error), retry_after_s=error.retry_after_s) from error
        is_operator = _has(known, self._operator)
        if not (is_operator or _has(known, self._viewer)):
            needed = " ".join(sorted(self._viewer))
            raise NotAdmitted(
                403,
                f"{known.caller} is no operator: to look here takes the scopes {needed}",
                by=known.caller,
                scheme=known.scheme,
                challenges=self._authenticator.challenges("insufficient_scope", sorted(self._viewer)),
            )
        return Admitted(known.caller, known.scheme, is_known=True, is_operator=is_operator)


def _has(known: Identity, scopes: frozenset[str]) -> bool:
    """All of them. A role without scopes is nobody's: everybody would have it."""
    return bool(known.scheme and scopes) and scopes <= known.scopes
