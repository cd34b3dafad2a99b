"""What we write to Redis where data are encrypted at rest: ciphertext, in place of a value with a MAC."""

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sagagen.runtime.redis.seal import Seal
from sagagen.runtime.secret_file import Secret

_NONCE_BYTES = 12


class Cipher(Seal):
    """Seals values by AES-256-GCM, which has a MAC in it, for the name under which each is stored."""

    def __init__(self, key: Secret) -> None:
        super().__init__(key)
        self._secret = key
        self._ciphers: dict[bytes, AESGCM] = {}

    def close(self, name: str, value: bytes) -> bytes:
        """The value encrypted, to be stored under `name`."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._of(self._secret.current).encrypt(nonce, value, name.encode())

    def open(self, name: str, sealed: bytes | None) -> bytes | None:
        """As Seal says."""
        if sealed is None:
            return None
        nonce, encrypted, about = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode()
        for key in self._secret.values():
            try:
                return self._of(key).decrypt(nonce, encrypted, about)
            except (InvalidTag, ValueError):
                continue
        return None

    def _of(self, key: bytes) -> AESGCM:
        """A secret may be a person's text, and is used for MACs elsewhere: a key is made of it."""
        if (cipher := self._ciphers.get(key)) is None:
            made = hmac.digest(key, b"sagagen encryption in redis", hashlib.sha256)
            cipher = self._ciphers[key] = AESGCM(made)
        return cipher
