"""The vault of one database: data keys in its tables, and what they seal.

AES-256-GCM (NIST SP 800-38D) throughout. A nonce is 96 random bits: a data key seals some dozens of values and a store
key at most a data key for each saga, far from the 2^32 that random nonces are good for. A counter would need less room,
and repeat itself where a transaction is rolled back or a backup restored.

A data key always comes from its row, wrapped: one that was rolled back or destroyed is not there. What is remembered is
what a wrapped key unwraps to.
"""

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Callable, Mapping
from threading import Lock
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sagagen.runtime.vault.keys import KEY_BYTES, KeyIsAnother, KeysMissing, KeyWrapper

NONCE_BYTES = 12
REMEMBERED = 2048
"""Unwrapped data keys that are kept in memory, some 0.5 KiB each."""
ABOUT_STORE_KEY = b"sagagen store key"
ABOUT_OWN = "own"


class Sealed(ValueError):
    """What is sealed can't be read; the message says why."""


class Forgotten(Sealed):
    """The key was destroyed: nobody can read it any more."""

    def __init__(self) -> None:
        super().__init__("its data were erased by `sagagen forget`")


class FileKeys:
    """A KeyWrapper over keys in memory, in the order of their file."""

    def __init__(self, keys: list[tuple[str, bytes]]) -> None:
        self._keys = {key_id: AESGCM(key) for key_id, key in keys}
        self.first = keys[0][0]
        self.ids = frozenset(self._keys)

    def wrap(self, key: bytes, about: bytes) -> bytes:
        """As KeyWrapper says."""
        return _seal(self._keys[self.first], key, about.decode())

    def unwrap(self, key_id: str, wrapped: bytes, about: bytes) -> bytes:
        """As KeyWrapper says."""
        return _unseal(self._keys[key_id], wrapped, about.decode())


class DataKey:
    """A key that seals values."""

    __slots__ = ("_about", "_cipher")

    def __init__(self, cipher: AESGCM, about: str) -> None:
        self._cipher = cipher
        self._about = about

    def seal(self, place: str, value: bytes) -> bytes:
        """`place` says where it stands among all that has this key: it can be read nowhere else."""
        return _seal(self._cipher, value, f"{self._about}\0{place}")

    def open(self, place: str, sealed: bytes) -> bytes:
        """Raises Sealed where it was altered, or stood somewhere else."""
        return _unseal(self._cipher, sealed, f"{self._about}\0{place}")


class KeyTables:
    """The statements about the keys of a database."""

    def __init__(self, prefix: str, rotatable: Mapping[str, str], mark: Callable[[str], str] = str) -> None:
        """`prefix` begins the tables' names. `mark` goes over each statement.

        `rotatable`: tables with wrapped keys in columns `kek` and `wrapped`; for each the expression of what its keys
        are about, as `about` has it.
        """
        store, own = f"{prefix}store_key", f"{prefix}own_key"
        self.store_keys = mark(f"SELECT kek, wrapped FROM {store} ORDER BY kek")
        self.add_store_key = mark(f"INSERT INTO {store} (kek, wrapped) VALUES (?, ?)")
        self.drop_store_keys = mark(f"DELETE FROM {store} WHERE kek <> ?")
        self.own_key = mark(f"SELECT kek, wrapped FROM {own}")
        self.add_own_key = mark(f"INSERT INTO {own} (number, kek, wrapped) VALUES (1, ?, ?)")
        self.rotatable = [
            (
                mark(
                    f"SELECT rowid, {about}, kek, wrapped FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"
                ),
                mark(f"UPDATE {table} SET kek = ?, wrapped = ? WHERE rowid = ?"),
            )
            for table, about in {own: f"'{ABOUT_OWN}'", **rotatable}.items()
        ]


class StoredKeys(NamedTuple):
    """The wrapped keys of a database."""

    store: Mapping[str, bytes]
    """Store keys by the id of what wraps them."""
    own: tuple[str, bytes] | None
    """The database's own, with the id of the store key that wraps it; None: it is not there."""


class Vault:
    """Made by `open`, for all connections to one database."""

    def __init__(self, first: str, store_keys: Mapping[str, AESGCM], own: bytes) -> None:
        """`own` is the key of the database itself."""
        self.first = first
        """The key-encryption key by which what is new is wrapped."""
        self.own = DataKey(AESGCM(own), ABOUT_OWN)
        """For what outlives the data of a saga."""
        # Of its own, so that no key does two things.
        self._names = hmac.digest(own, b"names of subjects", hashlib.sha256)
        self._store_keys = store_keys
        self._remembered: dict[bytes, AESGCM] = {}
        self._lock = Lock()
        """Of what is remembered: a database has several connections, each in a thread of its own."""

    @classmethod
    def open(
        cls, connection: sqlite3.Connection, wrapper: KeyWrapper, tables: KeyTables, name: str
    ) -> "Vault":
        """The keys of a database, begun if it has none. Writes outside any transaction, or in one that has begun.

        Raises KeysMissing or KeyIsAnother; `name` is what they call the database.
        """
        stored = StoredKeys(
            {row[0]: row[1] for row in connection.execute(tables.store_keys)},
            connection.execute(tables.own_key).fetchone(),
        )
        vault, new = cls.of(wrapper, stored, name)
        for row in new.store.items():
            connection.execute(tables.add_store_key, row)
        if new.own:
            connection.execute(tables.add_own_key, new.own)
        return vault

    @classmethod
    def of(cls, wrapper: KeyWrapper, stored: StoredKeys, name: str) -> "tuple[Vault, StoredKeys]":
        """The vault of a database that has these keys, and the keys that it has to store besides.

        Raises KeysMissing or KeyIsAnother; `name` is what they call the database.
        """
        if missing := set(stored.store) - set(wrapper.ids):
            raise KeysMissing(name, missing)
        store_keys: dict[str, AESGCM] = {}
        for kek, key in stored.store.items():
            try:
                store_keys[kek] = AESGCM(wrapper.unwrap(kek, key, ABOUT_STORE_KEY))
            except ValueError as error:
                raise KeyIsAnother(name, kek) from error
        new: dict[str, bytes] = {}
        if wrapper.first not in store_keys:
            key = os.urandom(KEY_BYTES)
            new[wrapper.first] = wrapper.wrap(key, ABOUT_STORE_KEY)
            store_keys[wrapper.first] = AESGCM(key)
        if stored.own is not None:
            own = _unwrap(store_keys, *stored.own, ABOUT_OWN)
            return cls(wrapper.first, store_keys, own), StoredKeys(new, None)
        own = os.urandom(KEY_BYTES)
        wrapped = _seal(store_keys[wrapper.first], own, ABOUT_OWN)
        return cls(wrapper.first, store_keys, own), StoredKeys(new, (wrapper.first, wrapped))

    def knows(self, kek: str) -> bool:
        """Whether this process started with that key."""
        return kek in self._store_keys

    def begin(self, about: str) -> tuple[DataKey, bytes]:
        """A new data key, and how it is stored: wrapped by the first key. `about` says what it is for."""
        key = os.urandom(KEY_BYTES)
        wrapped = _seal(self._store_keys[self.first], key, about)
        return DataKey(self._remember(wrapped, key), about), wrapped

    def begin_below(self, above: DataKey, about: str) -> tuple[DataKey, bytes]:
        """A new data key that another one wraps."""
        key = os.urandom(KEY_BYTES)
        wrapped = above.seal(about, key)
        return DataKey(self._remember(wrapped, key), about), wrapped

    def unwrap(self, kek: str | None, wrapped: bytes, about: str) -> DataKey:
        """A data key, as it is stored. Raises Forgotten, or Sealed."""
        if kek is None:
            raise Forgotten
        if (cipher := self._remembered.get(wrapped)) is None:
            cipher = self._remember(wrapped, _unwrap(self._store_keys, kek, wrapped, about))
        return DataKey(cipher, about)

    def unwrap_below(self, above: DataKey, wrapped: bytes, about: str) -> DataKey:
        """One that another key wraps, which is there. Raises Sealed."""
        if (cipher := self._remembered.get(wrapped)) is None:
            cipher = self._remember(wrapped, above.open(about, wrapped))
        return DataKey(cipher, about)

    def rewrapped(self, kek: str, wrapped: bytes, about: str) -> bytes:
        """The same key, wrapped by the first one. Raises Sealed."""
        return _seal(self._store_keys[self.first], _unwrap(self._store_keys, kek, wrapped, about), about)

    def name_of(self, subject: str) -> bytes:
        """What the tables call a subject: nobody can tell from it who that is."""
        return hmac.digest(self._names, subject.encode(errors="surrogatepass"), hashlib.sha256)

    def _remember(self, wrapped: bytes, key: bytes) -> AESGCM:
        cipher = AESGCM(key)
        with self._lock:
            if len(self._remembered) >= REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[wrapped] = cipher
        return cipher


def _unwrap(store_keys: Mapping[str, AESGCM], kek: str, wrapped: bytes, about: str) -> bytes:
    if (store_key := store_keys.get(kek)) is None:
        raise Sealed(f"its key {kek} is not among those that this process started with")
    return _unseal(store_key, wrapped, about)


def _seal(cipher: AESGCM, value: bytes, about: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, value, about.encode())


def _unseal(cipher: AESGCM, sealed: bytes, about: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about.encode())
    except (InvalidTag, ValueError) as error:
        raise Sealed("what was encrypted was altered, or moved from where it stood") from error
