"""What we wrote to Redis, and what anybody else did: a MAC tells them apart.

Whoever can write to Redis could otherwise have a service say that an order is paid. The MAC covers the name under which
a value is stored, so that it is believed nowhere else.
"""

import hmac

from sagagen.runtime.secret_file import Secret

_HASH = "sha256"
_MAC_BYTES = 32


class Seal:
    """Seals values with a key (HMAC-SHA-256, RFC 2104), and opens those of the key before it too."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def close(self, name: str, value: bytes) -> bytes:
        """The value with its MAC in front, to be stored under `name`."""
        return _mac(self._key.current, name, value) + value

    def open(self, name: str, sealed: bytes | None) -> bytes | None:
        """The value that was sealed for this name; None if there is none, or somebody else made or changed it."""
        if sealed is None:
            return None
        mac, value = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        is_ours = any(hmac.compare_digest(mac, _mac(key, name, value)) for key in self._key.values())
        return value if is_ours else None


def seal(key: Secret, *, is_encrypted: bool) -> Seal:
    """By this key; `is_encrypted`: what is sealed can't be read either."""
    if not is_encrypted:
        return Seal(key)
    from sagagen.runtime.redis.cipher import Cipher

    return Cipher(key)


def _mac(key: bytes, name: str, value: bytes) -> bytes:
    named = name.encode()
    return hmac.digest(key, b"%d:%b%b" % (len(named), named, value), _HASH)
