"""What this process wrote to Redis, and what anybody else did: a MAC tells them apart.

Whoever can write to Redis could otherwise have a service say that an order is paid. The MAC covers the name under which
a value is stored, so that it is believed nowhere else.
"""

import hmac

_HASH = "sha256"
_MAC_BYTES = 32


class Seal:
    """Seals values with one key (HMAC-SHA-256, RFC 2104)."""

    def __init__(self, key: bytes) -> None:
        """`key` is secret, and has at least as many bytes as a MAC unless a person chose it."""
        self._key = key

    def close(self, name: str, value: bytes) -> bytes:
        """The value with its MAC in front, to be stored under `name`."""
        return self._mac(name, value) + value

    def open(self, name: str, sealed: bytes | None) -> bytes | None:
        """The value that was sealed for this name; None if there is none, or somebody else made or changed it."""
        if sealed is None:
            return None
        mac, value = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        return value if hmac.compare_digest(mac, self._mac(name, value)) else None

    def _mac(self, name: str, value: bytes) -> bytes:
        named = name.encode()
        return hmac.digest(self._key, b"%d:%b%b" % (len(named), named, value), _HASH)
