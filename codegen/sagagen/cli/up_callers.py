"""Callers of the requests that `sagagen up` prints: by the contract's schemes, or as its hook says."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sagagen.cli.up_keys import DEVELOPER
from sagagen.runtime.addresses import AccessFiles
from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.model.security import Access, ApiKeyScheme, Scheme, Security

if TYPE_CHECKING:
    from sagagen.runtime.edge.gateway import Gateway

_WITHIN_S = 1.0
"""How long the hook may take, in seconds: it may ask others."""
_PROBE = "sagagen-up-1"


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of a request, as the gateway will see it, and the headers that say so."""

    caller: str
    headers: tuple[str, ...] = field(default=(), repr=False)


class Senders(Protocol):
    """The senders whose requests are printed."""

    @property
    def names_anybody(self) -> bool:
        """A request can be sent by any caller, by whatever name."""
        ...

    def sender(self, access: Access | None, caller: str | None = None) -> Sender | None:
        """Of a route with that access: `caller` if that can be, otherwise whoever there is; None if there is nobody."""
        ...

    def why_nobody(self, access: Access | None) -> str:
        """Why no request to a route with that access is printed, in a sentence."""
        ...


REFUSED = "No request can be made up: `caller` in gateway/app.py refuses those without credentials."


@dataclass(frozen=True, slots=True)
class Callers:
    """What is known of the hook."""

    nobody: str | None = "anonymous"
    """Whom it sees in a request without credentials; None: it refuses that."""
    header: str = ""
    """The header whose value it takes for the caller; empty if there is none."""

    @property
    def names_anybody(self) -> bool:
        return bool(self.header)

    def sender(self, access: Access | None, caller: str | None = None) -> Sender | None:
        if self.nobody is not None and caller in (None, self.nobody):
            return Sender(self.nobody)
        if not self.header:
            return None if self.nobody is None else Sender(self.nobody)
        name = caller or "somebody"
        return Sender(name, (f"{self.header.title()}: {name}",))

    def why_nobody(self, access: Access | None) -> str:
        return REFUSED


@dataclass(frozen=True, slots=True)
class KeyCallers:
    """Where the contract has `security`: whoever has the development key; nobody in particular where that will do."""

    security: Security
    key: str = field(default="", repr=False)
    """Empty: there is none."""

    @property
    def names_anybody(self) -> bool:
        return False

    def sender(self, access: Access | None, caller: str | None = None) -> Sender | None:
        schemes = self._schemes(access)
        if not schemes:
            return Sender(ANONYMOUS)
        scheme = next((each for each in schemes if isinstance(each, ApiKeyScheme)), None)
        if scheme is None or not self.key:
            return None
        from sagagen.runtime.access.schemes import caller_id  # the gateway of such a contract has it

        return Sender(caller_id(self.security, scheme.name, DEVELOPER), (f"{scheme.header}: {self.key}",))

    def why_nobody(self, access: Access | None) -> str:
        for scheme in self._schemes(access):
            if isinstance(scheme, ApiKeyScheme):
                return f"No request is shown: send a key of {AccessFiles.API_KEYS} in the header {scheme.header}."
        return "No request is shown: it needs a token in the header Authorization; /docs has a field for it."

    def _schemes(self, access: Access | None) -> Sequence[Scheme]:
        names = self.security.default if access is None else access.schemes
        return [scheme for scheme in self.security.schemes if scheme.name in names]


async def found(gateway: "Gateway") -> Callers:
    """Ask the hook, with requests that nobody sent: which headers it reads, and what it makes of them."""
    asked: list[str] = []
    nobody = await _asked(gateway, {}, asked)
    for name in dict.fromkeys(asked):
        if await _asked(gateway, {name: _PROBE}, []) == _PROBE:
            return Callers(nobody, name)
    return Callers(nobody)


async def _asked(gateway: "Gateway", headers: Mapping[str, str], asked: list[str]) -> str | None:
    """None if it refuses, or fails: whatever it raises is about this request."""
    from starlette.datastructures import Headers
    from starlette.requests import Request

    from sagagen.runtime.edge.entry import caller_of

    class Noting(Headers):
        """Headers that note which of them are asked for."""

        def __getitem__(self, key: str) -> str:
            asked.append(key.lower())
            return super().__getitem__(key)

    class Sample(Request):
        @property
        def headers(self) -> Headers:
            return Noting(headers)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "query_string": b"",
        "client": ("127.0.0.1", 0),
        "state": {},
    }
    try:
        async with asyncio.timeout(_WITHIN_S):
            return await caller_of(gateway.caller, Sample(scope))
    except Exception:  # noqa: BLE001 - code of the project, asked about what it was not written for
        return None
