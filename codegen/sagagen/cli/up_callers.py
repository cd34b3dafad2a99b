"""Callers of the requests that `sagagen up` prints, as the caller hook in gateway/app.py names them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagagen.runtime.edge.gateway import Gateway

_WITHIN_S = 1.0
"""How long the hook may take, in seconds: it may ask others."""
_PROBE = "sagagen-up-1"


@dataclass(frozen=True, slots=True)
class Callers:
    """What is known of the hook."""

    nobody: str | None = "anonymous"
    """Whom it sees in a request without credentials; None: it refuses that."""
    header: str = ""
    """The header whose value it takes for the caller; empty if there is none."""


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
