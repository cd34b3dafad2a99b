"""How many connections a server has: in all, and from one address."""

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import structlog

from sagagen.runtime.settings import LOOPBACK_NETWORKS, Network

MAX_DISMISSED = 200
"""Connections that are told why they can't stay, at a time; beyond it they are cut off without a word."""
_SAID_EVERY_S = 60.0

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Peers:
    """How many connections clients may have, and which proxies are trusted to name the client."""

    max_connections: int = 2_000
    max_per_address: int = 200
    """Of an address that is no trusted proxy, since all clients behind a proxy come from one address."""
    trusted: Sequence[Network] = LOOPBACK_NETWORKS

    def trusts(self, address: str) -> bool:
        return is_within(self.trusted, address)


def is_within(networks: Sequence[Network], address: str) -> bool:
    """Whether an address is in one of these networks; what is no address is in none."""
    return _is_within(tuple(networks), address)


@lru_cache(maxsize=1024)
def _is_within(networks: tuple[Network, ...], text: str) -> bool:
    address = _parsed(text)
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=1024)
def plain_address(text: str) -> str:
    """An address in its one way of writing, IPv4 in IPv6 as IPv4; empty for what is none."""
    address = _parsed(text)
    return "" if address is None else str(address)


@lru_cache(maxsize=1024)
def counted_as(text: str) -> str:
    """What stands for an address where connections are counted: of IPv6 its /64 network, in which a client has all."""
    address = _parsed(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return text if address is None else str(address)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for what is no address, like that of a socket in a folder."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Connections:
    """Of one server."""

    def __init__(self, peers: Peers, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._peers = peers
        self._clock_s = clock_s
        self._count = 0
        self._by_address: Counter[str] = Counter()
        self.dismissed = 0
        """Connections that could not stay, and are not gone yet."""
        self._unsaid = 0
        self._said_at_s = float("-inf")

    def enter(self, address: str) -> str:
        """Count a new connection. Empty, or why it can't stay; then it is not counted."""
        if self._count >= self._peers.max_connections:
            return self._refused(f"this server has {self._count} connections, which is all that it takes")
        if not self._peers.trusts(address):
            client = counted_as(address)
            if self._by_address[client] >= self._peers.max_per_address:
                return self._refused(f"there are {self._peers.max_per_address} connections from this address")
            self._by_address[client] += 1
        self._count += 1
        return ""

    def leave(self, address: str) -> None:
        """A connection that was counted is gone."""
        self._count -= 1
        client = counted_as(address)
        if client in self._by_address:
            self._by_address[client] -= 1
            if not self._by_address[client]:
                del self._by_address[client]

    def _refused(self, reason: str) -> str:
        """Say so in the log, but not for each: a flood must not fill it."""
        self._unsaid += 1
        if (now_s := self._clock_s()) - self._said_at_s >= _SAID_EVERY_S:
            _logger.warning("connections are refused", reason=reason, count=self._unsaid)
            self._unsaid, self._said_at_s = 0, now_s
        return reason
