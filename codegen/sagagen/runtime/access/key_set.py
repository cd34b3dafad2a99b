"""The keys of an issuer (JWK Set, RFC 7517), by id: of each key the algorithms that it fits.

What is no public key for signatures is passed over: secrets, keys for encryption, curves and sizes that nobody should
use. So an algorithm can only be used with a key of its own kind, whatever a token's header says.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from joserfc.jws import JWSRegistry

MAX_BYTES = 256 * 1024
"""Of a JWK Set."""
MAX_KEYS = 100
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""The work of a check grows with the size."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_OF_CURVE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
}
ALGORITHMS = frozenset({*_RSA, *(name for names in _OF_CURVE.values() for name in names)})
"""JWS algorithms with a public key; no others are ever believed (RFC 7518, 3.1; RFC 8037; RFC 9864)."""
_MODELS = {name: JWSRegistry.algorithms["Ed25519" if name == "EdDSA" else name] for name in ALGORITHMS}


@dataclass(frozen=True, slots=True)
class PublicKey:
    id: str
    """Its `kid`; empty if it has none."""
    algorithms: frozenset[str]
    key: Any

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether the signature over `signed` is by this key. False for an algorithm that it does not fit."""
        if algorithm not in self.algorithms:
            return False
        try:
            return bool(_MODELS[algorithm].verify(signed, signature, self.key))
        except (JoseError, ValueError):
            return False


class KeySet:
    """What an issuer signs with, at one time."""

    def __init__(self, keys: tuple[PublicKey, ...], content: bytes = b"") -> None:
        self.keys = keys
        self.content = content
        """What it was read from."""
        self._of_id: dict[str, list[PublicKey]] = {}
        for key in keys:
            self._of_id.setdefault(key.id, []).append(key)

    def find(self, key_id: str, algorithm: str) -> PublicKey | None:
        """The key of that id for this algorithm; without an id the only one that fits."""
        named = self._of_id.get(key_id, []) if key_id else self.keys
        found = [key for key in named if algorithm in key.algorithms]
        return found[0] if len(found) == 1 else None


def parse(content: bytes) -> KeySet:
    """Raises ValueError for what is no JWK Set, is too large, or has no key that can be used."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    listed = cast(dict[str, object], document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError('it is no JWK Set: a JSON object with a list "keys"')
    entries = cast(list[object], listed)
    if len(entries) > MAX_KEYS:
        raise ValueError(f"it has {len(entries)} keys, at most {MAX_KEYS} are read")
    keys = tuple(key for entry in entries if isinstance(entry, dict) for key in _key(cast(Any, entry)))
    if not keys:
        raise ValueError(
            "none of its keys is a public key for signatures (RSA of 2048 bits and more, EC, Ed25519)"
        )
    return KeySet(keys, content)


def _key(entry: dict[str, Any]) -> Iterator[PublicKey]:
    operations = entry.get("key_ops")
    if entry.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return
    fits = _fits(entry)
    if "alg" in entry:
        fits &= {str(entry["alg"])}
    key_id = entry.get("kid", "")
    if not fits or not isinstance(key_id, str):
        return
    # Only what is public: whoever publishes a private key by mistake is not helped by its being here.
    public = {name: entry[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in entry}
    try:
        key = JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return
    yield PublicKey(key_id, fits, key)


def _fits(entry: dict[str, Any]) -> frozenset[str]:
    kind = entry.get("kty")
    if kind == "RSA":
        return frozenset(_RSA) if MIN_RSA_BITS <= _bits(entry.get("n")) <= MAX_RSA_BITS else frozenset()
    return frozenset(_OF_CURVE.get((str(kind), str(entry.get("crv"))), ()))


def _bits(modulus: object) -> int:
    if not isinstance(modulus, str) or len(modulus) > MAX_RSA_BITS // 4:
        return 0
    try:
        return int.from_bytes(urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))).bit_length()
    except ValueError:
        return 0
