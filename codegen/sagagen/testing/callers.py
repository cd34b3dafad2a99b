"""Callers of a test, where the contract has `security`: a test names them, and shows neither token nor key.

What the schemes make of tokens and keys is the runtime's own, and tried there. Everything behind that is the product's:
scopes, `allow`, whose saga it is, what handlers are told.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sagagen.runtime.access.identity import Headers, Identity, Unauthenticated
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import ClaimType, ClaimValue, Security

TESTER = "tester"
"""The caller of what a test sends without a word: one with every scope that a route needs."""

_HEADER = "sagagen-test-caller"
_DEFAULTS: Mapping[ClaimType, ClaimValue] = {"string": "", "bool": False, "int": 0, "list(string)": ()}


def as_caller(
    name: str, *, scopes: Sequence[str] | None = None, claims: Mapping[str, object] | None = None
) -> dict[str, str]:
    """Headers of a request that this caller sends: `await t.get(path, headers=as_caller("ann", scopes=[]))`.

    `scopes`: None for every scope of the contract. A claim that is not given has its type's default.
    """
    return {_HEADER: json.dumps({"name": name, "scopes": scopes, "claims": dict(claims or {})})}


def as_nobody() -> dict[str, str]:
    """Headers of a request without credentials."""
    return {_HEADER: "null"}


class TestCallers:
    """The schemes of a contract in a test; implements Authentication, and Authenticator for each set of schemes."""

    __test__ = False  # nothing that pytest collects

    def __init__(self, mesh: Mesh, security: Security) -> None:
        self._scopes = frozenset(
            scope for route in mesh.routes if route.access for scope in route.access.scopes
        )
        self._claims = security.claims

    def by(self, schemes: Sequence[str]) -> "TestCallers":
        return self

    def challenges(self, error: str = "", scopes: Sequence[str] = ()) -> Sequence[str]:
        return ()

    async def identity(self, headers: Headers) -> Identity:
        said: Any = json.loads(next(iter(headers.getlist(_HEADER)), json.dumps({"name": TESTER})))
        if said is None:
            raise Unauthenticated("the test sends this as nobody", is_missing=True)
        scopes: list[str] | None = said.get("scopes")
        given: Mapping[str, Any] = said.get("claims") or {}
        return Identity(
            said["name"],
            self._scopes if scopes is None else frozenset(scopes),
            {name: _claim(given.get(name, _DEFAULTS[type_])) for name, type_ in self._claims.items()},
            "test",
        )


def _claim(value: Any) -> ClaimValue:
    return tuple(cast(list[str], value)) if isinstance(value, list) else value
