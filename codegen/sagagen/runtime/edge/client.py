"""The client of a request, when proxies stand between: the address and the scheme that the client itself used.

A header that anybody can write proves nothing. So only what a trusted proxy wrote counts: of a list of addresses, each
of which a proxy has put behind what it was given, the right-most one that is no trusted proxy's. Whatever stands to the
left of it is the client's own text. docs/decisions/217-who-a-request-comes-from.md
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import Scope

from sagagen.runtime.edge.exchange import TRUSTS
from sagagen.runtime.edge.http.connections import plain_address

CLIENT = "sagagen.client"
"""Key of the ASGI scope that holds the request's Client, once it has been asked for."""
MAX_PROXIES = 16
"""Of a longer list only the right end is read: the rest is a client's own text, and costs time."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = re.compile(rf'[ \t]*({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")[ \t]*([;,]|$)')
"""A pair of RFC 7239, section 4, and what ends it."""


@dataclass(frozen=True, slots=True)
class Client:
    """The sender of a request."""

    address: str
    """As `ipaddress` writes it; empty where the connection has none, as that of a socket in a folder."""
    is_secure: bool
    """It used https, as far as trusted proxies can tell."""


def client_of(scope: Scope) -> Client:
    """The sender of a request. Found out at the first call."""
    client: Client | None = scope.get(CLIENT)
    if client is None:
        client = scope[CLIENT] = _client(scope)
    return client


def _client(scope: Scope) -> Client:
    peer = scope.get("client")
    address = plain_address(peer[0]) or peer[0] if peer else ""
    is_secure = scope.get("scheme") == "https"
    state: Mapping[str, Any] = scope.get("state") or {}
    trusts: Callable[[str], bool] | None = state.get(TRUSTS)
    if trusts is None or not address or not trusts(address):
        return Client(address, is_secure)
    return Client(_address(scope, address, trusts), is_secure or _proto(scope) == "https")


def _address(scope: Scope, proxy: str, trusts: Callable[[str], bool]) -> str:
    """What the trusted proxy `proxy` says; that proxy's own address where it says nothing, or two things.

    A proxy writes one of the two headers, and passes on what a client wrote into the other one.
    """
    said = {
        _right_most(hops, proxy, trusts)
        for hops in (_x_forwarded_for(scope), _forwarded(scope, "for"))
        if hops is not None
    }
    return said.pop() if len(said) == 1 else proxy


def _right_most(hops: Sequence[str], proxy: str, trusts: Callable[[str], bool]) -> str:
    """The right-most hop that is not trusted; the last one that was told, where all are, or one is no address."""
    last = proxy
    for hop in reversed(hops[-MAX_PROXIES:]):
        address = plain_address(_without_port(hop))
        if not address:
            return last
        if not trusts(address):
            return address
        last = address
    return last


def _x_forwarded_for(scope: Scope) -> Sequence[str] | None:
    values = _values(scope, b"x-forwarded-for")
    return [hop.strip() for hop in ",".join(values).rsplit(",", MAX_PROXIES)] if values else None


def _proto(scope: Scope) -> str:
    """The scheme that the nearest proxy was asked with; empty if it says nothing."""
    values = _values(scope, b"x-forwarded-proto") or _forwarded(scope, "proto")
    return values[-1].rpartition(",")[2].strip().lower() if values else ""


def _forwarded(scope: Scope, name: str) -> Sequence[str] | None:
    """The parameter `name` of each element of Forwarded, empty where it has none. None without that header.

    A header that is not whole tells of no hop: an open quote of the client's would swallow what a proxy wrote behind.
    """
    values = _values(scope, b"forwarded")
    return list(_parameters(", ".join(values), name)) if values else None


def _parameters(text: str, name: str) -> Iterator[str]:
    found, at = [""], 0
    while at < len(text) or at == 0:
        pair = _PAIR.match(text, at)
        if pair is None:
            return iter(("",))
        if pair[1].lower() == name:
            found[-1] = _unquoted(pair[2])
        if pair[3] == ",":
            found.append("")
        at = pair.end()
    return iter(found)


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _without_port(hop: str) -> str:
    """`192.0.2.7:4711` and `[2001:db8::7]:4711`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _values(scope: Scope, name: bytes) -> list[str]:
    headers: list[tuple[bytes, Any]] = scope["headers"]
    return [value.decode("latin-1") for each, value in headers if each == name]
