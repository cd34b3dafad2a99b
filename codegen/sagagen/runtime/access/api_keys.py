"""API keys: a file of names and hashes, and who shows one of them.

A line is a key; what follows the hash stands in any order:

    acme sha256:9f86d081884c7d65... scope=orders.read scope=orders.write expires=2027-01-31T00:00:00Z scheme=partners

A name may have several keys, so that a new one is valid before the old one goes. The file holds no key, but whoever can
write to it can let anybody in. Keys have 256 random bits, so one round of SHA-256 hides them as well as many.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

PREFIX = "sgk_"
"""Of keys that are made here: by it a program finds one in a text where none belongs."""
MAX_KEY_CHARACTERS = 512
MAX_FILE_BYTES = 4 * 1024 * 1024
HEADER = (
    "# API keys: NAME sha256:HASH [scope=SCOPE]... [expires=TIME] [scheme=NAME], one on each line.\n"
    "# `sagagen keys new NAME` adds one; remove a line, and its key is no longer good.\n"
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749, 3.3."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What the file says of a key."""

    name: str
    digest: bytes
    """SHA-256 of the key."""
    scopes: tuple[str, ...] = ()
    expires_s: float | None = None
    """Seconds since the epoch; None: never."""
    scheme: str = ""
    """The scheme that takes it; empty: each that takes API keys."""

    def line(self) -> str:
        """As it stands in the file, without the line's end."""
        words = [self.name, f"sha256:{self.digest.hex()}", *(f"scope={scope}" for scope in self.scopes)]
        if self.expires_s is not None:
            words.append(f"expires={datetime.fromtimestamp(self.expires_s, UTC):%Y-%m-%dT%H:%M:%SZ}")
        if self.scheme:
            words.append(f"scheme={self.scheme}")
        return " ".join(words)

    def is_good(self, now_s: float) -> bool:
        return self.expires_s is None or now_s < self.expires_s


class KeyFile:
    """The keys of a file. Finding one takes as long for any that is shown, however many there are."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self.keys: Sequence[ApiKey] = tuple(keys)
        # Found by a MAC of the hash: whoever measures how long a lookup takes learns of a number that means nothing.
        self._secret = secrets.token_bytes(32)
        self._by_mac: Mapping[bytes, ApiKey] = {self._mac(key.digest): key for key in self.keys}

    def __repr__(self) -> str:
        return f"KeyFile({len(self.keys)} keys)"

    def find(self, shown: str) -> ApiKey | None:
        """The entry of this key, whether it is valid now or not; None if nobody has it."""
        if len(shown) > MAX_KEY_CHARACTERS:
            return None
        digest = digest_of(shown)
        found = self._by_mac.get(self._mac(digest))
        return found if found and hmac.compare_digest(found.digest, digest) else None

    def _mac(self, digest: bytes) -> bytes:
        return hmac.digest(self._secret, digest, "sha256")


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def new_key(
    name: str, scopes: Sequence[str] = (), expires_s: float | None = None, scheme: str = ""
) -> tuple[str, ApiKey]:
    """A key that nobody can guess, and what the file says of it. Raises ValueError for a name or scope of no use."""
    check_name(name)
    for scope in scopes:
        _check_scope(scope)
    key = PREFIX + secrets.token_urlsafe(32)
    return key, ApiKey(name, digest_of(key), tuple(dict.fromkeys(scopes)), expires_s, scheme)


def check_name(name: str) -> None:
    """Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:40]!a} is no name of a key: 1 to 128 letters, digits and . _ @ + -, the first a letter or digit"
        )


def _check_scope(scope: str) -> None:
    if not _SCOPE.fullmatch(scope):
        raise ValueError(f"{scope[:40]!a} is no scope: it has no blanks, quotes or backslashes")


def parse(content: bytes, schemes: Sequence[str] = ()) -> KeyFile:
    """Raises ValueError, which names the line and repeats no hash. `schemes`: those that take keys, if known."""
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8") from None
    found: dict[bytes, ApiKey] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            key = _key(words, schemes)
            if key.digest in found:
                raise ValueError(f"it is the key of {found[key.digest].name} already")
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        found[key.digest] = key
    return KeyFile(found.values())


def _key(words: Sequence[str], schemes: Sequence[str]) -> ApiKey:
    name, *others = words
    check_name(name)
    matched = _HASH.fullmatch(others[0]) if others else None
    if not matched:
        raise ValueError(
            'behind the name stands "sha256:" and the hash, 64 hex digits; `sagagen keys new` writes it'
        )
    scopes: list[str] = []
    expires_s: float | None = None
    scheme = ""
    for word in others[1:]:
        option, _, value = word.partition("=")
        match option:
            case "scope":
                _check_scope(value)
                scopes.append(value)
            case "expires":
                expires_s = _time(value)
            case "scheme":
                scheme = value
            case _:
                raise ValueError(
                    f"{option[:20]!a} is unknown; behind the hash stand scope=, expires= and scheme="
                )
    if scheme and schemes and scheme not in schemes:
        raise ValueError(f"no scheme {scheme[:40]!a} takes API keys; there are: {', '.join(schemes)}")
    return ApiKey(name, bytes.fromhex(matched[1]), tuple(dict.fromkeys(scopes)), expires_s, scheme)


def _time(text: str) -> float:
    try:
        time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!a} is no time; write it as 2027-01-31T00:00:00Z") from None
