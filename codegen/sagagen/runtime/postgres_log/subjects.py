"""The keys of persons whose sagas can be forgotten: each wraps the keys of all of that person's sagas."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sagagen.runtime.postgres.connection import PgConnection
from sagagen.runtime.postgres_log import schema as sql
from sagagen.runtime.postgres_log.sealing import ABOUT_SUBJECT

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import DataKey, Vault

REMEMBERED = 2048
"""Subjects whose keys are at hand without a look into the log."""
Use = Callable[[Callable[[PgConnection], Awaitable[Any]]], Awaitable[Any]]


class Subjects:
    """Of one log. What is remembered may be out of date: the write of a new saga says so, and adds nothing."""

    def __init__(self, vault: "Vault", use: Use) -> None:
        """`use` does something with a connection; raises JournalUnavailable."""
        self._vault = vault
        self._use = use
        self._known: dict[str, tuple[int, DataKey]] = {}

    async def key(self, subject: str) -> "tuple[int, DataKey]":
        """A subject's number and key; begun if it has none that lives."""
        if known := self._known.get(subject):
            return known
        found = await self._use(lambda connection: self._found(connection, subject))
        if len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[subject] = found
        return found

    def forget(self, subject: str) -> None:
        """Look for it again."""
        self._known.pop(subject, None)

    async def _found(self, connection: PgConnection, subject: str) -> "tuple[int, DataKey]":
        name = self._vault.name_of(subject)
        while True:
            if found := await connection.fetchrow(sql.FIND_SUBJECT, name):
                return found["number"], self._vault.unwrap(found["kek"], found["wrapped"], ABOUT_SUBJECT)
            _, wrapped = self._vault.begin(ABOUT_SUBJECT)
            # Another gateway may have begun one in this moment: then that one is found.
            await connection.execute(sql.ADD_SUBJECT, name, self._vault.first, wrapped)
