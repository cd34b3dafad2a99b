"""The saga log in PostgreSQL: what the engines of several gateways decide from."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

import asyncpg
import structlog

from sagagen.runtime.clock import Clock, sleep_unless_woken
from sagagen.runtime.postgres.connection import (
    LOST,
    CannotConnect,
    PgConnection,
    Pool,
    Record,
    connect,
    end,
    why_not,
)
from sagagen.runtime.postgres.server import PostgresError
from sagagen.runtime.postgres_log import schema as sql
from sagagen.runtime.postgres_log.audit import AuditTable
from sagagen.runtime.postgres_log.errors import DatabaseAway, Superseded
from sagagen.runtime.postgres_log.figures import BOUNDS, FiguresInPostgres
from sagagen.runtime.postgres_log.leases import LEASE_S, Lease, Left
from sagagen.runtime.postgres_log.preparing import WHAT, prepare, sealing_beside
from sagagen.runtime.postgres_log.reading import (
    OwnedRef,
    Owner,
    active_page,
    find_head,
    find_ids,
    find_saga,
    sagas_of_caller,
    search_sagas,
)
from sagagen.runtime.postgres_log.sealing import SagaSeal, Sealing
from sagagen.runtime.postgres_log.server_time import ServerTime
from sagagen.runtime.postgres_log.subjects import Subjects
from sagagen.runtime.postgres_log.writer import ANOTHER_OWNS, Life, Writer
from sagagen.runtime.postgres_log.writing import Write
from sagagen.runtime.saga.events import Accepted, LogEvent, SagaStatus
from sagagen.runtime.saga.journal import UNCHANGED, JournalUnreadable
from sagagen.runtime.saga.logged import Found, LoggedSaga, SagaHead, SagaRef
from sagagen.runtime.saga.search import CallerQuery, DueSaga, OpenCount, Place, SagaPage, SagaPlace, SagaQuery
from sagagen.runtime.saga.searched_figures import SearchedFigures
from sagagen.runtime.vault.keys import KeyWrapper

READ_CONNECTIONS = 6
READ_S = 10.0
"""Time in seconds that a query may take."""
PURGED_AT_ONCE = 500
SETTINGS = {
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "timezone": "UTC",
    "idle_in_transaction_session_timeout": "5000",
    "client_connection_check_interval": "500",
}
T = TypeVar("T")
_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that came for a saga at another gateway."""

    id: int
    body: bytes
    was_taken: bool
    """A gateway that has died since had begun with it."""


class PostgresLog:
    """Implements `EngineLog`, for one gateway of several. Open one with `async with PostgresLog.open(...) as log`."""

    is_disk_full = False
    size_bytes = None

    def __init__(
        self,
        pool: Pool,
        writer: Writer,
        lease: Lease,
        life: Life,
        sealing: Sealing,
        clock: ServerTime | None = None,
    ) -> None:
        self.clock = clock or ServerTime()
        """The server's time, by which gateways write rows."""
        self._sealing = sealing
        self._subjects = Subjects(sealing.vault, self._use) if sealing.vault else None
        self._pool = pool
        self._writer = writer
        self._lease = lease
        self._life = life
        self.audit = AuditTable(self._use)
        """What operators did, and their orders that wait for a second person."""
        self.figures = SearchedFigures(FiguresInPostgres(self), BOUNDS)
        """What is known of many sagas at once."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        project: str,
        *,
        keys: KeyWrapper | None = None,
        lease_s: float = LEASE_S,
        clock: Clock | None = None,
    ) -> AsyncGenerator[Self]:
        """Join the gateways of the log at `url`; its tables are made if they are not there.

        `keys` are by what it is encrypted; `clock` is this machine's, unless a test chooses. On leaving, what is queued
        is written, and what is owned is given away. Raises PostgresError, KeysUnset, KeysMissing or KeyIsAnother.
        """
        sealing = await _prepared(url, project, keys)
        life, kek = Life(), keys.first if keys else None
        made = partial(connect, url, "sagagen gateway")
        time = ServerTime(clock)
        writer, lease = Writer(made, life, lease_s), Lease(made, life, lease_s, kek, time)
        pooled = Pool.open(
            url, size=READ_CONNECTIONS, settings=_read_settings(), application="sagagen gateway reads"
        )
        async with pooled as pool:
            await lease.begin()
            tasks = [
                asyncio.create_task(writer.run(), name="saga log"),
                asyncio.create_task(lease.run(), name=f"saga log lease {life.number}"),
            ]
            try:
                yield cls(pool, writer, lease, life, sealing, time)
            finally:
                await writer.close(tasks[0])
                tasks[1].cancel()
                await asyncio.wait(tasks)
                await lease.end()

    @classmethod
    @asynccontextmanager
    async def beside(cls, url: str, keys: KeyWrapper | None = None) -> AsyncGenerator[Self]:
        """The log as it is, without a lease: nothing is driven, and nothing written but letters and the audit.

        Without `keys` what is encrypted is hidden. Raises PostgresError where there is none.
        """
        life = Life()
        made = partial(connect, url, "sagagen")
        async with Pool.open(url, size=2, settings=_read_settings(), application="sagagen") as pool:
            log = cls(
                pool, Writer(made, life, LEASE_S), Lease(made, life, LEASE_S), life, Sealing(hides=True)
            )
            try:
                sealing = await log._read(partial(sealing_beside, keys=keys))
            except DatabaseAway as error:
                raise PostgresError(str(error)) from error
            log._sealing = sealing
            yield log

    @property
    def keeps_subjects(self) -> bool:
        """The subject of a saga is kept with it: where it is encrypted."""
        return self._sealing.vault is not None

    @property
    def commits(self) -> int:
        """Statements written since it was opened."""
        return self._writer.commits

    @property
    def is_full(self) -> bool:
        """So many rows wait to be written that new sagas should be refused."""
        return self._writer.is_full

    async def check(self) -> str:
        """What is in the way of new sagas, in a few words; empty if nothing."""
        if not self._life.number:
            return "this gateway has no lease"
        if self._lease.problem:
            return self._lease.problem
        try:
            await self._read(lambda connection: connection.fetchval("SELECT 1"))
        except DatabaseAway as error:
            return str(error)
        return ""

    def look(self) -> str:
        """There are no files that could be gone."""
        return ""

    async def restore_reserve(self) -> None:
        """There is no disk here that could be full."""

    def gather_for(self, at_work: Callable[[float], int]) -> None:
        """Nothing waits for company here: a write takes as long as the server's commit, and others gather then."""

    async def accept(
        self, row: Accepted, index: Sequence[tuple[str, str | int]] = (), subject: str = ""
    ) -> SagaRef | None:
        """Begin a saga, durably. None, and nothing written, if its id is in the log: whichever gateway brought it.

        Raises DatabaseAway or Superseded.
        """
        life, above = self._life.number, None
        while True:
            if self._subjects and subject:
                above = await self._subjects.key(subject)
            seal = self._sealing.begin(row.saga_id, above)
            number = await self._writer.write(Write.accepting(life, row, index, self._sealing, seal))
            if number is not None:
                if seal:
                    seal.stored = None
                return OwnedRef(number, row.trace.trace_id, life, seal)
            if self._subjects is None or above is None or await self.head(row.saga_id):
                return None
            self._subjects.forget(subject)  # its key was destroyed meanwhile: it gets another one

    async def append(
        self,
        ref: SagaRef,
        rows: Sequence[LogEvent],
        status: SagaStatus | None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
    ) -> None:
        """Add rows, all or none. They are durable when this returns. Raises DatabaseAway or Superseded."""
        life, seal = _life_of(ref), _seal_of(ref)
        await self._writer.write(Write.appending(ref.number, life, rows, status, wake_ms, at_steps, seal))
        if seal:
            seal.stored = None

    async def append_later(self, ref: SagaRef, rows: Sequence[LogEvent]) -> None:
        """Add rows that ride along in some later write. Raises DatabaseAway or Superseded."""
        await self._writer.write_later(Write.appending(ref.number, _life_of(ref), rows, seal=_seal_of(ref)))

    async def rest(self, seconds: float, wake: asyncio.Event) -> None:
        """Wait before an attempt, until `seconds` have passed or `wake` is set."""
        await sleep_unless_woken(seconds, wake)

    async def head(self, saga_id: str) -> SagaHead | None:
        """Where a saga stands; None if there is no such saga. Raises SagaUnreadable, or DatabaseAway."""
        return await self._read(lambda connection: find_head(connection, saga_id, self._owner))

    async def find(self, saga_id: str) -> LoggedSaga | None:
        """A saga with all of its rows; None if there is no such saga. Raises SagaUnreadable, or DatabaseAway."""
        return await self._read(lambda connection: find_saga(connection, saga_id, self._owner))

    async def ids(self, beginning: str, at_most: int) -> list[str]:
        """Ids that begin like this, in order."""
        return await self._read(lambda connection: find_ids(connection, beginning, at_most))

    async def active_sagas(self, shards: Collection[int] | None = None) -> AsyncIterator[list[Found]]:
        """The active sagas of this gateway, or of some of its shards, oldest first, a page at a time."""
        own, after = set(self._life.shards if shards is None else shards), 0
        while page := await self._read(partial(active_page, shards=own, after=after, owner=self._owner)):
            yield page
            after = int(page[-1].cursor)

    async def active_by_caller(self) -> Mapping[str, int]:
        """How many active sagas each caller has, at all gateways."""
        records = await self._read(lambda connection: connection.fetch(sql.ACTIVE_BY_CALLER))
        return {record["caller"]: record["count"] for record in records}

    async def active_of(self, caller: str) -> int:
        """How many active sagas a caller has, at all gateways; 0 for those that nobody knows."""
        return await self._read(lambda connection: connection.fetchval(sql.ACTIVE_OF, caller))

    async def waiting_count(self, shards: Collection[int] | None = None) -> int:
        """How many sagas of this gateway, or of some of its shards, only wait."""
        own = list(self._life.shards if shards is None else shards)
        return await self._read(lambda connection: connection.fetchval(sql.WAITING, own))

    async def unchanged(self, before_ms: int, at_most: int) -> list[SagaPlace]:
        """Active sagas that have something to do and whose status is from before then, oldest first.

        Those that this gateway has to drive, and those of gateways that are gone.
        """
        values = before_ms, at_most, list(self._life.shards)
        records = await self._read(lambda connection: connection.fetch(sql.UNCHANGED, *values))
        return [SagaPlace(*record) for record in records]

    async def due(self, after: Place, until_ms: int, at_most: int) -> list[DueSaga]:
        """Sagas of this gateway that wait until then at most, behind a place in the order in which they wake."""
        values = list(self._life.shards), until_ms, *after, at_most
        records = await self._read(lambda connection: connection.fetch(sql.DUE, *values))
        return [DueSaga(each["saga_id"], Place(each["wake_ms"], each["number"])) for each in records]

    async def search(self, query: SagaQuery) -> list[Found]:
        """A page of the sagas that match, newest first; those that can't be read among them."""
        return await self._read(lambda connection: search_sagas(connection, query, self._owner))

    async def of_caller(self, query: CallerQuery) -> SagaPage:
        """A page of a caller's sagas, newest first. Raises UnknownSaga if `after` is none of them."""
        return await self._read(lambda connection: sagas_of_caller(connection, query))

    async def open_counts(self) -> list[OpenCount]:
        """How many sagas are open, by definition and status, at all gateways."""
        return [
            OpenCount(
                record["name"],
                record["version"],
                record["digest"],
                SagaStatus(record["status"]),
                record["count"],
                record["oldest_ms"],
                tuple(record["at_steps"].split()),
            )
            for record in await self._read(lambda connection: connection.fetch(sql.OPEN_COUNTS))
        ]

    async def ended_counts(self) -> Mapping[tuple[str, SagaStatus], int]:
        """How many of the kept sagas have ended, by name and status. It reads them all."""
        records = await self._read(lambda connection: connection.fetch(sql.ENDED_COUNTS))
        return {(record["name"], SagaStatus(record["status"])): record["count"] for record in records}

    async def last_ends_ms(self) -> dict[str, int]:
        """When the last saga of each definition has ended, ms since the epoch, of those that are kept."""
        records = await self._read(lambda connection: connection.fetch(sql.LAST_ENDS))
        return {record["name"]: record["ended_ms"] for record in records}

    async def ended_names(self) -> list[str]:
        """Names of the definitions of which some sagas have ended."""
        return [
            record["name"]
            for record in await self._read(lambda connection: connection.fetch(sql.ENDED_NAMES))
        ]

    async def purge(self, name: str, before_ms: int, at_most: int = PURGED_AT_ONCE) -> int:
        """Forget sagas of this name that ended before a time (ms since the epoch), the longest ended first.

        Returns how many. Any gateway may do it; two at once take others. Raises DatabaseAway.
        """
        return await self._use(lambda connection: connection.fetchval(sql.PURGE, name, before_ms, at_most))

    async def fetch(self, query: str, *values: object) -> Sequence[Record]:
        """The rows of a query that writes nothing. Raises DatabaseAway."""
        return await self._read(lambda connection: connection.fetch(query, *values))

    async def last_ms(self) -> int:
        """Time of the last row of any gateway, ms since the epoch; 0 if there is none."""
        return await self._read(lambda connection: connection.fetchval(sql.LAST_MS))

    # what the gateways of one log have to do with each other

    @property
    def life(self) -> int:
        """Number of the life that runs; 0: none does."""
        return self._life.number

    @property
    def has_lease(self) -> bool:
        """False: others own the sagas that this gateway drove; `begin_again`."""
        return bool(self._life.number)

    async def begin_again(self) -> None:
        """Ask for another lease, once nothing here drives a saga any more. Raises DatabaseAway."""
        await self._told(self._lease.begin())

    @property
    def begun_with(self) -> Sequence[Left]:
        """What the life that runs took when it began."""
        return self._lease.begun_with

    async def take(self) -> Sequence[Left]:
        """Own what nobody owns, and what gateways have left whose lease has run out. Raises DatabaseAway.

        Returns what is new.
        """
        return await self._told(self._lease.take())

    async def counted_deaths(self, saga_ids: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """How many gateways in a row have died with each of these sagas under way, and its rows then."""
        records = await self._read(lambda connection: connection.fetch(sql.DEATHS, list(saga_ids)))
        return {each["saga_id"]: (each["deaths"], each["deaths_rows"]) for each in records}

    async def count_deaths(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Keep them. Raises DatabaseAway."""
        deaths, rows = [count[0] for count in counts.values()], [count[1] for count in counts.values()]
        await self._use(lambda connection: connection.execute(sql.COUNT_DEATHS, list(counts), deaths, rows))

    async def try_alone(self, saga_id: str) -> None:
        """Say whose fault it is if this gateway dies now; empty: nobody's. Raises DatabaseAway."""
        life = self._life.number
        await self._use(lambda connection: connection.execute(sql.TRY_ALONE, life, saga_id))

    async def rung(self) -> None:
        """Return when another gateway has something for this one, or it is time to look."""
        await self._lease.rung()

    async def post(self, saga_id: str, body: bytes, within_s: float) -> int | None:
        """Send something to whoever owns the saga. Returns the letter's number; None if there is no such saga."""
        sealed = self._sealing.letter(body)
        record = await self._use(lambda connection: connection.fetchrow(sql.POST, saga_id, sealed, within_s))
        return record["id"] if record else None

    async def letters(self) -> Sequence[Letter]:
        """What has come for sagas of this gateway; it is given out once."""
        life, shards = self._life.number, list(self._life.shards)
        records = await self._use(lambda connection: connection.fetch(sql.FETCH_MAIL, life, shards))
        found: list[Letter] = []
        for each in records:
            try:
                body = self._sealing.opened_letter(each["body"])
            except JournalUnreadable as error:
                _logger.warning("a letter of another gateway can't be read", error=str(error))
                continue  # whoever sent it is told that nobody has answered
            found.append(Letter(each["id"], body, each["was_taken_by"] is not None))
        return sorted(found, key=lambda letter: letter.id)

    async def reply(self, letter_id: int, body: bytes) -> None:
        """Answer a letter."""
        sealed = self._sealing.letter(body)
        await self._use(lambda connection: connection.execute(sql.REPLY, letter_id, sealed))

    async def replies(self, ids: Collection[int]) -> Mapping[int, bytes]:
        """The answers that are there."""
        records = await self._use(lambda connection: connection.fetch(sql.REPLIES, list(ids)))
        return {record["id"]: self._sealing.opened_letter(record["reply"]) for record in records}

    async def forget_letter(self, letter_id: int) -> None:
        """Nobody waits for its answer any more."""
        await self._use(lambda connection: connection.execute(sql.REMOVE_MAIL, letter_id))

    async def tidy(self) -> None:
        """Remove what nobody asks for any more: letters, and lives that are over. Any gateway may do it."""
        await self._use(lambda connection: connection.execute(f"{sql.REMOVE_OLD_MAIL}; {sql.REMOVE_LIVES}"))
        if self._subjects:
            with suppress(asyncpg.ForeignKeyViolationError):  # a saga has come of one that had none
                await self._use(lambda connection: connection.execute(sql.REMOVE_SUBJECTS))

    @property
    def _owner(self) -> Owner:
        return Owner(self._life.number, self._life.shards, self._sealing)

    async def _told(self, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except (CannotConnect, *LOST) as error:
            raise DatabaseAway(f"the saga log's database is away: {error}") from error

    async def _use(self, work: Callable[[PgConnection], Awaitable[Any]]) -> Any:
        try:
            async with asyncio.timeout(READ_S), self._pool.connection() as connection:
                return await work(connection)
        except (CannotConnect, *LOST) as error:
            said = str(error) if isinstance(error, CannotConnect) else why_not(error)
            raise DatabaseAway(f"the saga log's database is away: {said}") from error

    _read = _use


def _life_of(ref: SagaRef) -> int:
    if not isinstance(ref, OwnedRef) or not ref.life:
        raise Superseded(ANOTHER_OWNS)
    return ref.life


def _seal_of(ref: SagaRef) -> SagaSeal | None:
    return ref.seal if isinstance(ref, OwnedRef) else None


def _read_settings() -> dict[str, str]:
    return {**SETTINGS, "statement_timeout": str(round(READ_S * 1000))}


async def _prepared(url: str, project: str, keys: KeyWrapper | None) -> Sealing:
    try:
        connection = await connect(url, "sagagen gateway start")
    except CannotConnect as error:
        raise PostgresError(f"{WHAT}: {error}") from error
    try:
        return await prepare(connection, project, keys)
    finally:
        end(connection)
