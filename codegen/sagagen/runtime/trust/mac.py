"""A MAC on every call within the mesh: whoever has its key has made the call, and nobody has changed it.

HMAC-SHA-256 (RFC 2104) over what a call does and for whom:

    text        "sagagen mac 1", service, method path, expiry, then the entries of SIGNED in that order, each on a line;
                an entry that is absent is an empty line, and no entry holds the end of a line
    message     the length of that text in bytes, the text, and the request's bytes, with the end of a line between
    entry       sagagen-mac: KEY ID.EXPIRY.MAC

The number of lines is fixed and the text's length is told, so no two calls have one message. The service's name is in
it, so a call to one service is none to another that has the same proto service. The expiry (ms since the epoch) lies
`signed.MARGIN_S` beyond the call's own time-out: a recorded call can be sent again until then, and no more. What such a
repeat does is the barrier's to say, and nothing of what was signed can be another. The key's id tells which of two
valid keys it is, and nothing of the key.

What a service answers is not covered, nor is anything secret from who listens: that takes certificates
(SAGAGEN_TLS_DIR).
"""

import hashlib
import hmac
from collections.abc import Mapping
from itertools import repeat
from typing import Any, NamedTuple

from grpclib.const import Status as Code

from sagagen.runtime.rpc.caller_claims import CLAIMS
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.metadata import (
    ATTEMPT,
    CALLER,
    DIRECTION,
    IDEMPOTENCY_KEY,
    KIND,
    MAC,
    NOT_AFTER,
    RUN,
    SAGA_ID,
    STARTED,
    STEP,
)
from sagagen.runtime.rpc.refusals import MacRefusal
from sagagen.runtime.secret_file import Secret

SIGNED = (
    SAGA_ID,
    RUN,
    STARTED,
    STEP,
    KIND,
    DIRECTION,
    ATTEMPT,
    NOT_AFTER,
    IDEMPOTENCY_KEY,
    CALLER,
    CLAIMS,
)
"""The metadata entries that decide what a call does. Those of the trace are left out: they decide nothing."""
_BLOCK_BYTES = 64
"""Of SHA-256."""
_MAC_DIGITS = 32
"""Half of the hash, in hex: no less by RFC 2104, section 5, and no more to send with every call."""
_LINES = 4 + len(SIGNED)
_ABSENT = repeat("")


class _Key(NamedTuple):
    """A key, as far as it can be computed before there is a message: half of the work of an HMAC."""

    id: str
    inner: Any
    """SHA-256 that has taken in the key's inner pad; hashlib has no name for its type."""
    outer: Any

    @classmethod
    def of(cls, key: bytes) -> "_Key":
        if len(key) > _BLOCK_BYTES:
            key = hashlib.sha256(key).digest()
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))
        return cls(hmac.digest(key, b"sagagen key id", "sha256")[:4].hex(), inner, outer)

    def mac(self, text: str, request: bytes) -> str:
        encoded = text.encode()
        inner = self.inner.copy()
        inner.update(b"%d\n%b\n" % (len(encoded), encoded))
        inner.update(request)
        outer = self.outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()[:_MAC_DIGITS]


class MeshKeys:
    """The keys of a mesh that are valid now: the first signs, each verifies."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._of: tuple[bytes, ...] = ()
        self._keys: dict[str, _Key] = {}
        self._first = self._known()

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the keys that are valid now, as a log may show them."""
        self._known()
        return tuple(self._keys)

    def look_again(self) -> bool:
        """Whether there are others now: for a key that one side knows and the other does not yet."""
        return self._secret.look_again()

    def sign(
        self, service: str, path: str, request: bytes, metadata: Mapping[str, str], expiry_ms: int
    ) -> str:
        """The MAC's entry of a call. Raises ValueError for metadata that no call can have."""
        key = self._known()
        expiry = str(expiry_ms)
        return f"{key.id}.{expiry}.{key.mac(_text(service, path, expiry, metadata), request)}"

    def verify(
        self, service: str, path: str, request: bytes, metadata: Mapping[str, str], now_ms: int
    ) -> None:
        """Raises RpcError UNAUTHENTICATED, with a reason of MacRefusal, for what nobody of this mesh has called."""
        entry = metadata.get(MAC, "")
        if not entry:
            raise refusal(MacRefusal.UNSIGNED, f"service {service} takes signed calls alone")
        try:
            key_id, expiry, given = entry.split(".", 2)
        except ValueError:
            raise refusal(MacRefusal.ALTERED, f"the metadata entry {MAC} can't be read") from None
        key = self._of_id(key_id)
        if key is None:
            raise refusal(MacRefusal.UNKNOWN_KEY, f"service {service} does not know the key of this call")
        try:
            text = _text(service, path, expiry, metadata)
        except ValueError as error:
            raise refusal(MacRefusal.ALTERED, str(error)) from None
        if not (given.isascii() and hmac.compare_digest(key.mac(text, request), given)):
            raise refusal(MacRefusal.ALTERED, "the call is not the one that was signed")
        if int(expiry) < now_ms:  # a number: it is what was signed
            raise refusal(MacRefusal.STALE, "the call was signed for a time that is over")

    def _known(self) -> _Key:
        values = self._secret.values()
        if values is not self._of:
            keys = [_Key.of(value) for value in values]
            self._keys = {key.id: key for key in keys}
            self._of, self._first = values, keys[0]
        return self._first

    def _of_id(self, key_id: str) -> _Key | None:
        self._known()
        key = self._keys.get(key_id)
        if key is None and self.look_again():
            self._known()
            key = self._keys.get(key_id)
        return key


def refusal(reason: MacRefusal, message: str) -> RpcError:
    """As a service answers a call that it does not believe."""
    return RpcError(Code.UNAUTHENTICATED, message, reason=reason, domain=DOMAIN)


def _text(service: str, path: str, expiry: str, metadata: Mapping[str, str]) -> str:
    """Raises ValueError for an entry with the end of a line in it: gRPC has none, and it would be another's start."""
    text = "\n".join(("sagagen mac 1", service, path, expiry, *map(metadata.get, SIGNED, _ABSENT)))
    if text.count("\n") != _LINES - 1:
        raise ValueError("a metadata entry has more than one line")
    return text
