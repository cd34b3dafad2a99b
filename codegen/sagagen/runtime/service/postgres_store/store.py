"""A service's store in PostgreSQL: a transaction for each call, on a connection of a pool. Implements ServiceStore."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import structlog
from grpclib.const import Status as Code

from sagagen.runtime.clock import Clock
from sagagen.runtime.model.definition import BARRIER_RETENTION_S, ISOLATION, Isolation
from sagagen.runtime.postgres.connection import (
    CONNECTIONS,
    LOST,
    READ_CONNECTIONS,
    CannotConnect,
    PgConnection,
    Pool,
    RolledBack,
    ServerStarts,
    connect,
    session_settings,
    share,
    why_not,
)
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import (
    BarredCall,
    CallResult,
    Handled,
    Record,
    result_of,
    unavailable,
)
from sagagen.runtime.service.barrier.rules import RecordEmpty, RunHandler, State
from sagagen.runtime.service.call import Db
from sagagen.runtime.service.postgres_store.db import CONFLICTS, TOO_LONG, PostgresDb
from sagagen.runtime.service.postgres_store.holding import Holding, running_lock
from sagagen.runtime.service.postgres_store.observation import StoreObservation
from sagagen.runtime.service.postgres_store.place import Place
from sagagen.runtime.service.postgres_store.preparing import (
    PostgresError,
    PostgresScripts,
    Prepared,
    names_of,
    prepare,
    way_out,
)
from sagagen.runtime.service.postgres_store.purging import purge
from sagagen.runtime.service.postgres_store.repeating import Met, Turns
from sagagen.runtime.service.postgres_store.sealing import Sealing
from sagagen.runtime.service.postgres_store.transaction import Entered, NotCommitted, Transactions
from sagagen.runtime.service.postgres_store.turn import PostgresTurn
from sagagen.runtime.service.store import HOLD_LIMIT_S, Handle, held_too_long
from sagagen.runtime.vault.keys import KeyWrapper

REPEATS = 5
"""How often a call's transaction is tried that conflicts with others'."""
FIRST_PAUSE_S = 0.005
"""Before it is tried again, at most; doubled each time."""
MAX_WAITING = 1024
"""Calls that may be on their way; one more is turned away with RESOURCE_EXHAUSTED."""
AGAIN_S = 0.2
"""When a call is worth sending again that could not be decided for conflicts or locks, in seconds."""

STARTING_S = 60.0
"""How long a service waits at its start for a server that says it is starting, in seconds."""
LOOK_AGAIN_S = 0.25

_FAILED = (
    "the handler went on after a failed statement, so nothing of it was kept; the service's log says which"
)
_AWAY = "the service's database can't be reached"
_LOST = "the service could not commit"
_STOPPED = "the service has stopped"

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Conflict(RolledBack):
    """The transaction was undone for the sake of another one; it is tried again as a whole."""

    def __init__(self, error: asyncpg.PostgresError, met: Met | None = None) -> None:
        """`met`: at a handler's statement."""
        super().__init__(type(error).__name__)
        self.met = met
        self.code = _CODES.get(type(error).__name__, "barrier")


_CODES = {
    "SerializationError": "40001",
    "DeadlockDetectedError": "40P01",
    "LinedUp": "turn",
    "InvalidCachedStatementError": "0A000",
}
"""Labels' values; what else conflicts is the barrier's key."""


class _TookLong(RolledBack):
    """A lock was not free in time, and the transaction was undone: its caller tries it again."""


_NO_ANSWER = (CannotConnect, NotCommitted, _TookLong, *LOST)
"""Nothing is known of a call, or nothing happened."""


class PostgresStore:
    """Made by `open`."""

    def __init__(
        self,
        service: str,
        prepared: Prepared,
        pool: Pool,
        readers: Pool,
        holding: Holding,
        place: Place,
        clock: Clock,
        *,
        retention_s: float,
        hold_limit_s: float,
        isolation: Isolation,
    ) -> None:
        self.identity = prepared.identity
        self.purged_through_ms = prepared.purged_through_ms
        self.hold_limit_s = hold_limit_s
        self._service = service
        self._pool = pool
        self._readers = readers
        self._holding = holding
        self._place = place
        self._clock = clock
        self._retention_ms = round(retention_s * 1000)
        self._schema = names_of(service)["schema"]
        self._transactions = Transactions(self._schema, isolation, Sealing(prepared.vault))
        self._turns = None if isolation == "read_committed" else Turns()
        """There writers of a row wait for one another, and go on."""
        self._observation = StoreObservation(service, prepared.database)
        self._committed: Callable[[Record], None] = _ignore
        self._under_way = 0
        self._is_stopping = False
        self._left: set[asyncio.Task[None]] = set()
        """Connections of turns that were abandoned, on their way back."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        service: str,
        url: str,
        scripts: PostgresScripts,
        clock: Clock,
        *,
        read_url: str = "",
        retention_s: float = BARRIER_RETENTION_S,
        hold_limit_s: float = HOLD_LIMIT_S,
        isolation: Isolation = ISOLATION,
        connections: int = CONNECTIONS,
        keys: KeyWrapper | None = None,
    ) -> AsyncGenerator["PostgresStore"]:
        """Make or change the service's tables, and answer calls until the block is left.

        Raises PostgresError where the database can't be reached or used.
        """
        name = f"sagagen {service}"
        try:
            prepared = await _prepared(service, url, scripts, keys)
        except CannotConnect as error:
            said = f"service {service}: its database can't be used: {error}"
            raise PostgresError(f"{said}; {way_out(error, service)}") from error
        writes = session_settings(hold_limit_s, prepared.role, isolation, is_read_only=False)
        reads = session_settings(hold_limit_s, prepared.role, isolation, is_read_only=True)
        place = Place(service)

        async def begin(connection: PgConnection) -> None:
            await share(connection, running_lock(service))
            await place.look(connection)

        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(
                Pool.open(url, size=connections, settings=writes, application=name, begin=begin)
            )
            try:
                async with pool.connection():
                    pass  # what would fail with the first call shall fail here
            except CannotConnect as error:
                raise PostgresError(f"service {service}: {error}") from error
            readers = await stack.enter_async_context(
                Pool.open(
                    read_url or url, size=READ_CONNECTIONS, settings=reads, application=f"{name} (reads)"
                )
            )
            holding = Holding(url, service)
            stack.callback(holding.close)
            await holding.begin()
            store = cls(
                service,
                prepared,
                pool,
                readers,
                holding,
                place,
                clock,
                retention_s=retention_s,
                hold_limit_s=hold_limit_s,
                isolation=isolation,
            )
            try:
                yield store
            finally:
                store._is_stopping = True
                if store._left:
                    await asyncio.wait(store._left)

    def report_commits(self, committed: Callable[[Record], None]) -> None:
        """As ServiceStore says."""
        self._committed = committed

    def report_loss(self, lost: Callable[[], None]) -> None:
        """As ServiceStore says."""
        self._place.moved = lost

    async def write(self, call: BarredCall, handle: Handle) -> CallResult:
        """As ServiceStore says. `handle` runs again where its transaction conflicts with another one."""
        if refusal := self._refusal():
            return refusal
        self._under_way += 1
        try:
            try:
                return await self._try_once(call, handle)
            except _Conflict as conflict:
                self._observation.repeated(conflict.code)
                if self._turns is None:
                    return await self._repeat(call, handle)
                async with self._turns.turn(conflict.met or Met(call.name, "")) as turn:
                    return await self._repeat(call, handle, turn)
        finally:
            self._under_way -= 1

    async def _repeat(self, call: BarredCall, handle: Handle, turn: int | None = None) -> CallResult:
        for number in range(1, REPEATS):
            if turn is None:
                await asyncio.sleep(random.uniform(0, FIRST_PAUSE_S * 2**number))
            if not self._has_time(call):
                break
            try:
                return await self._try_once(call, handle, turn)
            except _Conflict as conflict:
                self._observation.repeated(conflict.code)
        return _again("the call conflicts with others")

    async def turn(self, call: BarredCall, limit: asyncio.Timeout) -> PostgresTurn | CallResult:
        """As ServiceStore says."""
        if refusal := self._refusal():
            return refusal
        try:
            async with AsyncExitStack() as stack:
                connection = await stack.enter_async_context(self._pool.connection())
                entered = await self._begin(connection, call)
                if not isinstance(entered.decision, RunHandler):
                    return await self._settle(connection, call, entered)
                return PostgresTurn(self, stack.pop_all(), connection, call, entered, entered.decision, limit)
        except _Conflict:
            return _again("the call conflicts with others")
        except _NO_ANSWER as error:
            return self.without_answer(error)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Db]:
        """As ServiceStore says. Raises RpcError where the database can't be reached."""
        try:
            async with self._readers.connection() as connection:
                await self._begin_reading(connection)
                db = PostgresDb(connection)
                try:
                    yield db
                finally:
                    db.close()
                await _end_reading(connection)
        except CannotConnect as error:
            raise RpcError(Code.UNAVAILABLE, _AWAY) from error

    async def _begin_reading(self, connection: PgConnection) -> None:
        """Raises CannotConnect, for a connection that was lost since it was used last."""
        try:
            await connection.execute("BEGIN")
        except LOST as error:
            raise CannotConnect(why_not(error)) from error

    async def purge(self) -> None:
        """As ServiceStore says; one replica at a time."""
        try:
            async with self._pool.connection() as connection:
                through_ms = await purge(connection, self._schema, self._retention_ms, self._clock.wall_ms())
            self.purged_through_ms = max(self.purged_through_ms, through_ms)
        except (CannotConnect, *LOST) as error:
            _logger.warning("what is old could not be forgotten", service=self._service, why=why_not(error))

    async def hold(self, call: SagaCall) -> bool:
        """As ServiceStore says."""
        return await self._holding.hold(call)

    async def release(self, call: SagaCall) -> None:
        """As ServiceStore says."""
        await self._holding.release(call)

    async def is_held_elsewhere(self, call: SagaCall) -> bool:
        """As ServiceStore says."""
        return await self._holding.is_held_elsewhere(call)

    async def check(self) -> str:
        """As ServiceStore says."""
        try:
            async with self._pool.connection() as connection:
                if await connection.fetchval("SELECT pg_is_in_recovery()"):
                    return "its database is a standby, which takes no writes"
        except CannotConnect as error:
            return f"its database can't be reached: {error}"
        except LOST as error:
            return why_not(error)
        return ""

    def _refusal(self) -> CallResult | None:
        if self._is_stopping:
            return unavailable(_STOPPED)
        if self._under_way >= MAX_WAITING:
            return CallResult(
                error=RpcError(Code.RESOURCE_EXHAUSTED, "too many writes wait", retry_after_s=1.0)
            )
        return None

    def _has_time(self, call: BarredCall) -> bool:
        return call.saga is None or self._clock.wall_ms() <= call.saga.not_after_ms

    async def _try_once(self, call: BarredCall, handle: Handle, number: int | None = None) -> CallResult:
        """`number`: of its turn, if it has one. Raises _Conflict."""
        try:
            async with self._pool.connection() as connection:
                entered = await self._begin(connection, call, number)
                if not isinstance(entered.decision, RunHandler):
                    return await self._settle(connection, call, entered)
                turns = self._turns if number is None else None
                turn = PostgresTurn.of_write(self, connection, call, entered, entered.decision, turns)
                limit = asyncio.timeout(self.hold_limit_s)
                try:
                    async with limit:
                        handled = await handle(turn)
                except TimeoutError:
                    connection.terminate()
                    return held_too_long(call, self.hold_limit_s).result
                finally:
                    turn.db.close()
                return await self._end(connection, call, entered, turn.db, handled)
        except _NO_ANSWER as error:
            return self.without_answer(error)

    async def _begin(self, connection: PgConnection, call: BarredCall, turn: int | None = None) -> Entered:
        """Raises _Conflict, with no transaction open."""
        try:
            entered = await self._transactions.begin(
                connection, call, self._clock.wall_ms(), self.purged_through_ms, turn
            )
        except asyncpg.PostgresError as error:
            raise await _conflict_of(connection, error) from error
        self.purged_through_ms = max(self.purged_through_ms, entered.purged_through_ms)
        self._observation.decided(call, entered.decision)
        return entered

    async def _settle(self, connection: PgConnection, call: BarredCall, entered: Entered) -> CallResult:
        """Of a call whose handler is not to run. Raises _Conflict."""
        assert not isinstance(entered.decision, RunHandler), "its handler runs"
        record = call.record(State.EMPTY) if isinstance(entered.decision, RecordEmpty) else None
        if record is None:
            await connection.execute("ROLLBACK")
        else:
            await self._keep(connection, call, entered, record)
        return result_of(entered.decision)

    async def end_turn(
        self, connection: PgConnection, call: BarredCall, entered: Entered, db: PostgresDb, handled: Handled
    ) -> CallResult:
        """As `_end`, of a turn that nobody can repeat: its handler has run already."""
        try:
            return await self._end(connection, call, entered, db, handled)
        except _Conflict:
            return _again("the call conflicts with others")
        except _TookLong as error:
            return self.without_answer(error)

    async def _end(
        self, connection: PgConnection, call: BarredCall, entered: Entered, db: PostgresDb, handled: Handled
    ) -> CallResult:
        """A handler has ended: keep its effects and its record, or the record alone, or nothing.

        Raises _Conflict, and what asyncpg raises where the connection is lost.
        """
        if db.conflict is not None:
            await connection.execute("ROLLBACK")
            raise _Conflict(db.conflict, db.met)
        if not handled.keeps_effects:
            await connection.execute("ROLLBACK")
            return await self._refuse(connection, call, handled) if handled.record else handled.result
        if db.error is not None:
            await connection.execute("ROLLBACK")
            _logger.error("a handler went on after a failed statement", error=str(db.error), **call.about())
            return CallResult(error=RpcError(Code.INTERNAL, _FAILED))
        await self._keep(connection, call, entered, handled.record)
        return handled.result

    async def _refuse(self, connection: PgConnection, call: BarredCall, handled: Handled) -> CallResult:
        """Record an outcome without effects, in a transaction of its own; the barrier is asked again."""
        entered = await self._begin(connection, call)
        if not isinstance(entered.decision, RunHandler):
            return await self._settle(connection, call, entered)
        await self._keep(connection, call, entered, handled.record)
        return handled.result

    async def _keep(
        self, connection: PgConnection, call: BarredCall, entered: Entered, record: Record | None
    ) -> None:
        begun_s = time.perf_counter()
        try:
            await self._transactions.commit(connection, entered, record)
        except asyncpg.UniqueViolationError as error:
            await connection.execute("ROLLBACK")
            raise _Conflict(error) from error
        except asyncpg.PostgresError as error:
            raise await _conflict_of(connection, error) from error
        self._observation.committed(call, entered.decision, time.perf_counter() - begun_s)
        if record is not None:
            self._committed(record)

    def leave(self, connection: PgConnection, stack: AsyncExitStack) -> None:
        """A turn was abandoned: its transaction is undone by closing its connection."""
        connection.terminate()
        task = asyncio.create_task(stack.aclose(), name=f"{self._service}: an abandoned turn")
        self._left.add(task)
        task.add_done_callback(self._left.discard)

    def without_answer(self, error: Exception) -> CallResult:
        """Nothing is known of the call, or nothing happened: its caller repeats it."""
        match error:
            case CannotConnect():
                return unavailable(_AWAY)
            case _TookLong():
                return _again("a call that this one waits for takes long")
            case _:
                _logger.error("a call could not be committed", service=self._service, why=why_not(error))
                return unavailable(_LOST)


async def _prepared(service: str, url: str, scripts: PostgresScripts, keys: KeyWrapper | None) -> Prepared:
    connection = await _first_connection(service, url)
    try:
        return await prepare(connection, service, scripts, keys)
    except LOST as error:
        if isinstance(error, asyncpg.PostgresError) and not connection.is_closed():
            raise
        raise CannotConnect(why_not(error)) from error
    finally:
        connection.terminate()


async def _first_connection(service: str, url: str) -> PgConnection:
    """Waits while the server starts; one that is not there at all is a mistake in the URL just as well."""
    until_s = time.monotonic() + STARTING_S
    while True:
        try:
            return await connect(url, f"sagagen {service} (start)")
        except ServerStarts:
            if time.monotonic() > until_s:
                raise
            await asyncio.sleep(LOOK_AGAIN_S)


async def _end_reading(connection: PgConnection) -> None:
    """What was read has been read, whatever becomes of the connection."""
    try:
        await connection.execute("ROLLBACK")
    except LOST:
        connection.terminate()


async def _conflict_of(connection: PgConnection, error: asyncpg.PostgresError) -> Exception:
    """What to raise for an error of our own statement; where others are in the way, the transaction is undone."""
    if not isinstance(error, CONFLICTS + TOO_LONG):
        return error
    await connection.execute("ROLLBACK")
    return _Conflict(error) if isinstance(error, CONFLICTS) else _TookLong(str(error))


def _again(message: str) -> CallResult:
    return CallResult(error=RpcError(Code.UNAVAILABLE, message, retry_after_s=AGAIN_S))


def _ignore(_record: Record) -> None:
    pass
