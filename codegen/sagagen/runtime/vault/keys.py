"""Key-encryption keys: where they come from, and what is wrong with them."""

import base64
import binascii
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol

from sagagen.runtime.startup import SettingsError, StartupError

VARIABLE = "SAGAGEN_ENCRYPTION_KEYS_FILE"
KEY_BYTES = 32
"""AES-256."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAKE_ONE = 'echo "k1:$(openssl rand -base64 32)"'


class KeyWrapper(Protocol):
    """Wraps the keys of databases. Implement it for a KMS, and name it in SAGAGEN_KEY_WRAPPER: `package.module:name`.

    It is asked when a process starts, for each database and each key-encryption key in use: never by a saga.
    """

    @property
    def first(self) -> str:
        """Id of the key that wraps what is new."""
        ...

    @property
    def ids(self) -> Collection[str]:
        """Ids of all keys that it can unwrap by."""
        ...

    def wrap(self, key: bytes, about: bytes) -> bytes:
        """Wrap 32 bytes by the first key. `about` has to be the same when they are unwrapped."""
        ...

    def unwrap(self, key_id: str, wrapped: bytes, about: bytes) -> bytes:
        """Raises ValueError where this key wrapped something else, or nothing."""
        ...


class KeysUnset(StartupError):
    """A database is encrypted, and whoever opens it has no keys at all."""

    def __init__(self, database: str, ids: Iterable[str]) -> None:
        super().__init__(
            f"{database} is encrypted by the key {', '.join(sorted(ids))}, and {VARIABLE} is not set: "
            "name the file that has it"
        )


class KeysMissing(StartupError):
    """A database was encrypted by keys that are not there."""

    def __init__(self, database: str, missing: Iterable[str]) -> None:
        names = ", ".join(sorted(missing))
        super().__init__(
            f"{database} is encrypted, and the key {names} is not given: add it to the file that {VARIABLE} names. "
            "A key may go once `sagagen keys rotate` says so"
        )


class KeyIsAnother(StartupError):
    """The id of a key is known, and its bytes are not those that encrypted the database."""

    def __init__(self, database: str, key_id: str) -> None:
        super().__init__(
            f"{database} is encrypted by a key {key_id} that has other bytes than the one in the file that {VARIABLE} "
            "names: give the key that was there before, and a new key an id of its own"
        )


def read_keys(file: Path, variable: str = VARIABLE) -> "list[tuple[str, bytes]]":
    """The keys of a file, in its order: `id:base64 of 32 bytes` on each line, but for empty ones and `#` comments.

    Raises SettingsError, which names lines and never what is in them.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise SettingsError(f"{variable}: {file} can't be read: {why}") from error
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key_id, key = _key(text, f"{variable}: {file}:{number}")
        if key_id in keys:
            raise SettingsError(f"{variable}: {file}:{number}: there is a key {key_id} above already")
        keys[key_id] = key
    if not keys:
        raise SettingsError(f"{variable}: {file} has no key; `{_MAKE_ONE}` makes one")
    return list(keys.items())


def _key(text: str, place: str) -> tuple[str, bytes]:
    key_id, separator, encoded = text.partition(":")
    if not separator or not _ID.fullmatch(key_id):
        raise SettingsError(f"{place}: write id:base64 of {KEY_BYTES} bytes; `{_MAKE_ONE}` makes such a line")
    try:
        key = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error as error:
        raise SettingsError(f"{place}: the key {key_id} is no base64; `{_MAKE_ONE}` makes a line") from error
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{place}: the key {key_id} has {len(key)} bytes; AES-256 needs {KEY_BYTES}")
    return key_id, key
