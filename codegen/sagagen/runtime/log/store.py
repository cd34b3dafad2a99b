"""The saga log: what an engine decides from. A row is durable before anything follows from it.

One SQLite file in WAL mode with synchronous=FULL, owned by one process (P10): an append-only event table and a table
of where each saga stands now. `group_commit` writes to it, `records` maps rows to columns, `schema` has the SQL.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import structlog

from sagagen.runtime.clock import Clock, SystemClock, sleep_unless_woken
from sagagen.runtime.log import schema as sql
from sagagen.runtime.log.audit_table import AuditTable, keep_with_row
from sagagen.runtime.log.damage import damage_of, how_to_mend
from sagagen.runtime.log.errors import LogCorrupted, LogError, LogUnavailable
from sagagen.runtime.log.figures import LogFigures
from sagagen.runtime.log.group_commit import GroupWriter, open_writer
from sagagen.runtime.log.probe import ThreadProbe
from sagagen.runtime.log.reading import (
    active_page,
    find_head,
    find_saga,
    sagas_of_caller,
    search_sagas,
)
from sagagen.runtime.log.records import event_values, saga_values
from sagagen.runtime.log.reserve import Reserve
from sagagen.runtime.log.sealing import NO_KEYS, Sealer, key_ids, open_vault
from sagagen.runtime.log.search import ended_counts, find_ids, open_counts
from sagagen.runtime.saga.events import (
    Accepted,
    Done,
    DoneByHand,
    Ended,
    EventTaken,
    GaveUp,
    LogEvent,
    LoopPlanned,
    OperatorRow,
    SagaStatus,
    Skipped,
    TimedOut,
    TurnedBack,
)
from sagagen.runtime.saga.journal import UNCHANGED
from sagagen.runtime.saga.logged import Found, LoggedSaga, SagaHead, SagaRef
from sagagen.runtime.saga.search import CallerQuery, DueSaga, OpenCount, Place, SagaPage, SagaPlace, SagaQuery
from sagagen.runtime.sqlite.database import Database, OpenDatabase, never_wait
from sagagen.runtime.sqlite.disk_errors import opening
from sagagen.runtime.sqlite.lock import OwnerLock, lock_file
from sagagen.runtime.sqlite.presence import Presence
from sagagen.runtime.vault.keys import KeyWrapper

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault

__all__ = ["LogCorrupted", "LogError", "LogUnavailable", "SagaLog"]

PURGED_AT_ONCE = 100
"""Number of sagas that one write purges: it holds up the rows of other sagas for some milliseconds."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_ANSWERING = (Done, TurnedBack, Ended, DoneByHand, GaveUp, Skipped, TimedOut, LoopPlanned)
_AUDITED = (OperatorRow, EventTaken)


class SagaLog:
    """Open one with `async with SagaLog.open(path) as log`."""

    def __init__(
        self,
        path: Path,
        writer: GroupWriter,
        reader: Database,
        reserve: Reserve,
        probes: Sequence[ThreadProbe],
        vault: "Vault | None" = None,
        sealer: Sealer | None = None,
        *,
        figures: LogFigures,
        is_hidden: bool = False,
    ) -> None:
        """`probes` ask the threads that the log needs. The files at `path` are open.

        `sealer` encrypts what is written, by the keys of `vault`; None: nothing does. `is_hidden`: it is encrypted, and
        there is no vault.
        """
        self.path = path
        self.audit = AuditTable(writer, reader, vault.own if vault else None)
        """What operators did, and their orders that wait for a second person."""
        self.figures = figures
        """What is known of many sagas at once."""
        self._writer = writer
        self._reader = reader
        self._reserve = reserve
        self._probes = tuple(probes)
        self._vault = vault
        self._sealer = sealer
        self._is_hidden = is_hidden
        self._presence = Presence([path, path.with_name(path.name + "-wal"), lock_file(path)])
        self._misplaced = ""
        """What `look` found wrong with the files."""
        self._resting = 0
        """Sagas that wait before they repeat a call."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, keys: KeyWrapper | None = None, *, hides: bool = False
    ) -> AsyncGenerator[Self]:
        """Own the log at `path`, made if it is not there. On leaving, what is queued is written.

        With `keys` it is encrypted. Raises KeysUnset where it is and there are none, unless `hides` says that what is
        encrypted may stay hidden; KeysMissing or KeyIsAnother where they are not those that encrypted it.
        Raises LogLocked if another process owns it, DatabaseTooNew if a later version wrote it, LogCorrupted if the
        file is damaged: then it is left as it is. Raises DiskFull or CannotOpen where the system does not let it.
        """
        async with AsyncExitStack() as stack:
            with opening(path):
                stack.enter_context(OwnerLock(path))
                if damage := await asyncio.to_thread(damage_of, path):
                    raise LogCorrupted(how_to_mend(path, damage))
                reserve = Reserve(path)
                if not reserve.make():
                    _logger.error("the disk has no room for the saga log's reserve: new sagas are refused")
                log = await stack.enter_async_context(
                    cls.on(Database, path, SystemClock(), reserve, keys, hides=hides)
                )
            yield log

    @classmethod
    @asynccontextmanager
    async def on(
        cls,
        database_at: OpenDatabase,
        path: Path,
        clock: Clock,
        reserve: Reserve,
        keys: KeyWrapper | None = None,
        *,
        hides: bool = False,
    ) -> AsyncGenerator[Self]:
        """As `open`, where databases lie somewhere else, and nobody else can own or damage them."""
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(database_at(path))
            await database.migrate(sql.MIGRATIONS)
            vault = await database.in_thread(partial(open_vault, keys=keys, name=str(path), hides=hides))
            sealer = await database.in_thread(partial(Sealer.open, vault)) if vault else None
            is_hidden = vault is None and bool(await database.in_thread(key_ids))
            await database.in_thread(never_wait)
            reader = await stack.enter_async_context(database_at(path, is_read_only=True))
            opened = open_writer(database, reserve.release, monotonic_s=clock.monotonic_s)
            writer = await stack.enter_async_context(opened)
            probes = ThreadProbe(database, "writing"), ThreadProbe(reader, "reading")
            figures = LogFigures(partial(database_at, path, is_read_only=True), clock.wall_ms)
            stack.push_async_callback(figures.close)
            yield cls(
                path, writer, reader, reserve, probes, vault, sealer, figures=figures, is_hidden=is_hidden
            )

    @property
    def commits(self) -> int:
        """Transactions written since it was opened; each cost one fsync."""
        return self._writer.commits

    @property
    def is_full(self) -> bool:
        """So many rows wait for the disk that new sagas should be refused."""
        return self._writer.is_full

    @property
    def is_disk_full(self) -> bool:
        """There was no room for a commit, and there is not much yet: open sagas go on, new ones are refused."""
        return self._reserve.is_spent

    async def check(self) -> str:
        """What is in the way of new sagas, in a few words; empty if nothing.

        Each of its threads is asked for a turn, and has `probe.WITHIN_S` seconds for it.
        """
        found = await asyncio.gather(*(probe.check() for probe in self._probes))
        full = "the disk is full" if self.is_disk_full else ""
        # A database whose thread has ended may have taken its WAL along: that is no second problem.
        misplaced = "" if any(found) else self.look()
        return "; ".join(filter(None, [full, misplaced, *found]))

    def look(self) -> str:
        """Are its files in place? What is wrong, in a few words; until it is mended `accept` refuses new sagas.

        The upkeep asks each second, so that whoever accepts need not.
        """
        found = self._presence.problem()
        if found and found != self._misplaced:
            _logger.error("the saga log's files are not in place: new sagas are refused", problem=found)
        self._misplaced = found
        return found

    def gather_for(self, at_work: Callable[[float], int]) -> None:
        """Let commits wait a little for the rows of writers at work, as `GroupWriter` says.

        Sagas that `rest` may be among them: they are subtracted here.
        """
        self._writer.gather_for(lambda since_s: at_work(since_s) - self._resting)

    async def restore_reserve(self) -> None:
        """Make the reserve again if the disk has room for it."""
        await asyncio.to_thread(self._reserve.make)

    @property
    def keeps_subjects(self) -> bool:
        """The subject of a saga is kept with it: where it is encrypted."""
        return self._sealer is not None

    async def accept(
        self, row: Accepted, index: Sequence[tuple[str, str | int]] = (), subject: str = ""
    ) -> SagaRef | None:
        """Begin a saga, durably. None, and nothing written, if its id is already in the log.

        `index` has the values by which it can be found. `subject` is the person whose data it holds, who may ask that
        they be forgotten; where nothing is encrypted it is not kept.

        Raises LogUnavailable if nothing can be written, if too little room is left to finish open sagas, or if the file
        is not where it was opened.
        """
        if self.is_disk_full and await self.head(row.saga_id) is None:
            raise LogUnavailable("the disk is full: no new sagas until there is room again")
        if self._misplaced and await self.head(row.saga_id) is None:
            raise LogUnavailable(self._misplaced)
        insert = partial(_insert_saga, row=row, index=index, subject=subject, sealer=self._sealer)
        number = await self._writer.write(insert)
        return None if number is None else SagaRef(number, row.trace.trace_id)

    async def append(
        self,
        ref: SagaRef,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None:
        """Add rows, all or none. They are on disk when this returns.

        `status` is the saga's status after them, or None if it stays as it was; the rest as the journal's port says.

        Raises LogUnavailable if nothing can be written: none of them is in the log.
        """
        if self._is_hidden:
            raise LogUnavailable(NO_KEYS)
        await self._writer.write(
            lambda connection: _insert_events(connection, ref, rows, status, wake_ms, at_steps, self._sealer)
        )

    async def append_later(self, ref: SagaRef, rows: Sequence[LogEvent]) -> None:
        """Add rows that ride along in some later commit. The log's order is still the order of the calls.

        Raises LogUnavailable if the log is closing. If the process dies before that commit, the rows are lost.
        """
        await self._writer.write_later(
            lambda connection: _insert_events(connection, ref, rows, None, sealer=self._sealer)
        )

    async def rest(self, seconds: float, wake: asyncio.Event) -> None:
        """Wait before an attempt, until `seconds` have passed or `wake` is set. No commit waits for it."""
        self._resting += 1
        try:
            await sleep_unless_woken(seconds, wake)
        finally:
            self._resting -= 1

    async def head(self, saga_id: str) -> SagaHead | None:
        """Where a saga stands, who started it, and its result if it has one; None if there is no such saga.

        Raises LogCorrupted if that can't be read.
        """
        return await self._reader.in_thread(lambda connection: find_head(connection, saga_id, self._vault))

    async def find(self, saga_id: str) -> LoggedSaga | None:
        """A saga with all of its rows; None if there is no such saga. Raises LogCorrupted if they can't be read."""
        return await self._reader.in_thread(lambda connection: find_saga(connection, saga_id, self._vault))

    async def ids(self, beginning: str, at_most: int) -> list[str]:
        """Ids that begin like this, in order."""
        return await self._reader.in_thread(lambda connection: find_ids(connection, beginning, at_most))

    async def active_sagas(self) -> AsyncIterator[list[Found]]:
        """All active sagas, oldest first, a page at a time; those that can't be read among them."""
        after = 0
        while page := await self._reader.in_thread(partial(active_page, after=after, vault=self._vault)):
            yield page
            after = int(page[-1].cursor)

    async def active_by_caller(self) -> dict[str, int]:
        """How many active sagas each caller has; who has none is not in it."""
        records = await self._reader.in_thread(lambda c: c.execute(sql.COUNT_ACTIVE_BY_CALLER).fetchall())
        return {record["caller"]: record["count"] for record in records}

    async def waiting_count(self) -> int:
        """How many sagas only wait."""
        records = await self._reader.in_thread(lambda c: c.execute(sql.COUNT_WAITING).fetchall())
        return records[0]["count"]

    async def unchanged(self, before_ms: int, at_most: int) -> list[SagaPlace]:
        """Active sagas that have something to do and whose status is from before then, oldest first."""
        values = before_ms, at_most
        records = await self._reader.in_thread(lambda c: c.execute(sql.SELECT_UNCHANGED, values).fetchall())
        return [SagaPlace(*record) for record in records]

    async def due(self, after: Place, until_ms: int, at_most: int) -> list[DueSaga]:
        """Sagas that wait until then at most, behind a place in the order in which they wake."""
        values = (until_ms, *after, at_most)
        records = await self._reader.in_thread(lambda c: c.execute(sql.SELECT_DUE, values).fetchall())
        return [DueSaga(each["saga_id"], Place(each["wake_ms"], each["number"])) for each in records]

    async def search(self, query: SagaQuery) -> list[Found]:
        """A page of the sagas that match, newest first; those that can't be read among them."""
        return await self._reader.in_thread(lambda connection: search_sagas(connection, query, self._vault))

    async def of_caller(self, query: CallerQuery) -> SagaPage:
        """A page of a caller's sagas, newest first. Raises UnknownSaga if `after` is none of them."""
        return await self._reader.in_thread(lambda connection: sagas_of_caller(connection, query))

    async def open_counts(self) -> list[OpenCount]:
        """How many sagas are open, by definition and status."""
        return await self._reader.in_thread(open_counts)

    async def ended_counts(self) -> dict[tuple[str, SagaStatus], int]:
        """How many of the kept sagas have ended, by name and status. It reads them all."""
        return await self._reader.in_thread(ended_counts)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, with the WAL."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    async def ended_names(self) -> list[str]:
        """Names of the definitions of which some sagas have ended."""
        return await self._reader.in_thread(_ended_names)

    async def last_ends_ms(self) -> dict[str, int]:
        """When the last saga of each definition has ended, ms since the epoch, of those that are kept."""
        return await self._reader.in_thread(_last_ends)

    async def purge(self, name: str, before_ms: int, at_most: int = PURGED_AT_ONCE) -> int:
        """Forget sagas of this name that ended before a time (ms since the epoch), the longest ended first.

        Returns how many. Open ones stay. Raises LogUnavailable if nothing can be written.
        """
        purge = partial(_purge, name=name, before_ms=before_ms, at_most=at_most)
        return await self._writer.write(purge, is_long=True) or 0

    async def last_ms(self) -> int:
        """Time of the last row, ms since the epoch; 0 if there is none."""
        records = await self._reader.in_thread(lambda c: c.execute(sql.SELECT_LAST_MS).fetchall())
        return records[0]["at_ms"] if records else 0


def _insert_saga(
    connection: sqlite3.Connection,
    row: Accepted,
    index: Sequence[tuple[str, str | int]],
    subject: str,
    sealer: Sealer | None,
) -> int | None:
    values, key = saga_values(row), None
    if sealer is not None:
        values, key = sealer.seal_saga(connection, values, subject)
    inserted = connection.execute(sql.INSERT_SAGA, values)
    if inserted.rowcount == 0 or inserted.lastrowid is None:
        return None
    # The saga's row comes first: its number is what the events refer to.
    ref = SagaRef(inserted.lastrowid, row.trace.trace_id)
    if sealer is not None and key is not None:
        sealer.accepted(ref.number, key)
    _insert_events(connection, ref, [row], None, sealer=sealer)
    if index:
        connection.executemany(sql.INSERT_INDEX, [(ref.number, name, value) for name, value in index])
    return ref.number


def _insert_events(
    connection: sqlite3.Connection,
    ref: SagaRef,
    rows: Sequence[LogEvent],
    status: SagaStatus | None,
    wake_ms: int | None = UNCHANGED,
    at_steps: str = "",
    sealer: Sealer | None = None,
) -> int | None:
    for row in rows:
        values = event_values(ref, row)
        if sealer is not None:
            sealer.seal(connection, ref.number, values)
        inserted = connection.execute(sql.insert_event(tuple(values)), tuple(values.values()))
        # After the event, whose number it takes. The first result stays: SET_ANSWER changes no saga that has one.
        if isinstance(row, _ANSWERING) and row.result is not None:
            connection.execute(sql.SET_ANSWER, (inserted.lastrowid, ref.number))
        if isinstance(row, _AUDITED) and row.audit:
            keep_with_row(connection, row.audit, has_notes=sealer is None)
    if status is not None:
        connection.execute(sql.UPDATE_STATUS, (str(status), rows[-1].at_ms, ref.number))
    if wake_ms != UNCHANGED:
        connection.execute(sql.SET_WAKE, (wake_ms, ref.number))
    if at_steps:
        connection.execute(sql.SET_AT_STEPS, (at_steps, ref.number))
    return None


def _ended_names(connection: sqlite3.Connection) -> list[str]:
    # One look into the index for each name: DISTINCT would walk through all sagas.
    names = [""]
    while (
        found := connection.execute(sql.SELECT_NEXT_ENDED_NAME, (names[-1],)).fetchone()["name"]
    ) is not None:
        names.append(found)
    return names[1:]


def _last_ends(connection: sqlite3.Connection) -> dict[str, int]:
    # A look into the index for each name, as for the names.
    return {
        name: connection.execute(sql.SELECT_LAST_END, (name,)).fetchone()["ended_ms"]
        for name in _ended_names(connection)
    }


def _purge(connection: sqlite3.Connection, name: str, before_ms: int, at_most: int) -> int:
    found = connection.execute(sql.SELECT_PURGEABLE, (name, before_ms, at_most)).fetchall()
    numbers = [(record["number"],) for record in found]
    # Events first: they refer to their saga, and SQLite checks that at each statement.
    connection.executemany(sql.DELETE_INDEX, numbers)
    connection.executemany(sql.DELETE_EVENTS, numbers)
    connection.executemany(sql.DELETE_SAGA, numbers)
    for subject in {record["subject"] for record in found} - {None}:
        connection.execute(sql.DELETE_SUBJECT_KEY, (subject,))
    return len(numbers)
