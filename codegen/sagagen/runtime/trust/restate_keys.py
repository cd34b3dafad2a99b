"""The pair of keys by which adapters know Restate: it signs what it sends to them."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from sagagen.runtime.startup import StartupError

PRIVATE, PUBLIC = "identity.pem", "identity.pub"
_PREFIX = "publickeyv1_"
_DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Of base58, as Bitcoin has it."""


def new_private_key() -> str:
    """Ed25519, as a PEM that Restate reads (PKCS 8)."""
    return (
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    )


def public_key_of(private: Path) -> str:
    """As Restate writes it, and SAGAGEN_ENGINE_IDENTITY_KEY takes it. Raises StartupError."""
    try:
        key = load_pem_private_key(private.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise StartupError(f"{private} holds no private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StartupError(f"{private} holds a key of another kind than Ed25519, which Restate signs with")
    return _PREFIX + _base58(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _base58(data: bytes) -> str:
    number, digits = int.from_bytes(data), ""
    while number:
        number, rest = divmod(number, len(_DIGITS))
        digits = _DIGITS[rest] + digits
    zeros = len(data) - len(data.lstrip(b"\0"))
    return _DIGITS[0] * zeros + digits
