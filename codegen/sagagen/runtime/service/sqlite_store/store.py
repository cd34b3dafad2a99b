"""A service's store in one SQLite file: one connection that writes, and a few that read."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from sagagen.runtime.clock import Clock
from sagagen.runtime.model.definition import BARRIER_RETENTION_S
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Record
from sagagen.runtime.service.call import Db
from sagagen.runtime.service.sqlite_store.readers import Readers
from sagagen.runtime.service.sqlite_store.sql_files import Scripts, prepare
from sagagen.runtime.service.sqlite_store.writer import Writer
from sagagen.runtime.service.store import HOLD_LIMIT_S, DatabaseIdentity, Handle, OpenTurn
from sagagen.runtime.sqlite.database import Database, OpenDatabase
from sagagen.runtime.sqlite.disk_errors import opening
from sagagen.runtime.sqlite.lock import OwnerLock, lock_file
from sagagen.runtime.sqlite.presence import Presence
from sagagen.runtime.vault.keys import KeyWrapper


class SqliteStore:
    """A ServiceStore. Made by `open`, which owns the file."""

    def __init__(
        self, identity: DatabaseIdentity, writer: Writer, readers: Readers, presence: Presence
    ) -> None:
        self.identity = identity
        self._presence = presence
        self._writer = writer
        # The writer's and the readers' methods as they are, with nothing in between on every call's way.
        self.write: Callable[[BarredCall, Handle], Awaitable[CallResult]] = writer.write
        self.turn: Callable[[BarredCall, asyncio.Timeout], Awaitable[OpenTurn | CallResult]] = writer.turn
        self.read: Callable[[], AbstractAsyncContextManager[Db]] = readers.read
        self.purge: Callable[[], Awaitable[None]] = writer.purge

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        scripts: Scripts,
        clock: Clock,
        *,
        retention_s: float = BARRIER_RETENTION_S,
        hold_limit_s: float = HOLD_LIMIT_S,
        keys: KeyWrapper | None = None,
    ) -> AsyncGenerator["SqliteStore"]:
        """Create or change the database at `path` as the scripts say, and own it until the block is left.

        With `keys` what the barrier records is encrypted. Raises KeysUnset where it is already and there are none,
        KeysMissing or KeyIsAnother where they are not those that encrypted it; and DatabaseError where it is owned
        already, too new or damaged, or where an SQL file fails.
        """
        async with AsyncExitStack() as stack:
            with opening(path):
                stack.enter_context(OwnerLock(path))
                on_disk = cls.on(
                    Database,
                    path,
                    scripts,
                    clock,
                    retention_s=retention_s,
                    hold_limit_s=hold_limit_s,
                    keys=keys,
                )
                store = await stack.enter_async_context(on_disk)
            yield store

    @classmethod
    @asynccontextmanager
    async def on(
        cls,
        database_at: OpenDatabase,
        path: Path,
        scripts: Scripts,
        clock: Clock,
        *,
        retention_s: float = BARRIER_RETENTION_S,
        hold_limit_s: float = HOLD_LIMIT_S,
        keys: KeyWrapper | None = None,
    ) -> AsyncGenerator["SqliteStore"]:
        """As `open`, where databases lie somewhere else, and nobody else can own them."""
        async with AsyncExitStack() as stack:
            identity, vault = await prepare(path, scripts, database_at, keys)
            opened = Writer.open(
                path,
                clock,
                retention_s=retention_s,
                hold_limit_s=hold_limit_s,
                database_at=database_at,
                vault=vault,
            )
            writer = await stack.enter_async_context(opened)
            readers = await stack.enter_async_context(Readers.open(path, clock, database_at))
            yield cls(identity, writer, readers, Presence([path, lock_file(path)]))

    async def hold(self, call: SagaCall) -> bool:
        """Always: one process owns the file."""
        return True

    async def release(self, call: SagaCall) -> None:
        """As ServiceStore says."""

    async def is_held_elsewhere(self, call: SagaCall) -> bool:
        """Never: one process owns the file."""
        return False

    async def check(self) -> str:
        """As ServiceStore says."""
        return self._presence.problem() or await self._writer.check()

    @property
    def hold_limit_s(self) -> float:
        return self._writer.hold_limit_s

    @property
    def purged_through_ms(self) -> int:
        return self._writer.purged_through_ms

    def report_commits(self, committed: Callable[[Record], None]) -> None:
        self._writer.committed = committed

    def report_loss(self, lost: Callable[[], None]) -> None:
        """As ServiceStore says: a file has no standby."""
