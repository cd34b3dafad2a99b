"""`call.db` on a connection to PostgreSQL."""

from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from grpclib.const import Status as Code

from sagagen.runtime.postgres.connection import LOST, PgConnection
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.call import Db, IntegrityError, Parameters, Row, TransactionEnded
from sagagen.runtime.service.postgres_store.repeating import Met, Turns
from sagagen.runtime.service.postgres_store.statements import statement_of

T = TypeVar("T")

CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
"""The transaction is repeated as a whole. The last one: a table was changed since its statement was prepared, and
asyncpg has forgotten all that were."""
TOO_LONG = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError)
"""The server has ended a statement, or its wait for a lock."""


_CONFLICT = "the transaction conflicts with another one"


class LinedUp(asyncpg.SerializationError):
    """A statement was not tried, since others of the same text and parameters are waited for."""


class TransactionFailed(Exception):
    """An earlier statement failed, and PostgreSQL takes no other one in this transaction."""


class PostgresDb(Db):
    """The transaction that is open on a connection, until `close`."""

    def __init__(self, connection: PgConnection, turns: Turns | None = None) -> None:
        """`turns`: of the calls that are repeated; None for a call that has its turn, or needs none."""
        self._connection = connection
        self._turns = turns
        self._is_closed = False
        self._attempts = 0
        self.error: asyncpg.PostgresError | None = None
        """What ended the transaction, whatever the handler made of it."""
        self.conflict: asyncpg.PostgresError | None = None
        """A conflict with another transaction, whatever the handler made of it."""
        self.met: Met | None = None
        """The statement that met it."""

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        text, arguments = self._ready(sql, parameters)
        return _rows(await self._watched(self._connection.execute(text, *arguments), text, arguments))

    async def executemany(self, sql: str, parameters: Iterable[Parameters]) -> int:
        # One by one: asyncpg's executemany does not say how many rows were changed.
        changed = 0
        for each in parameters:
            changed += await self.execute(sql, each)
        return changed

    async def fetch(self, sql: str, parameters: Parameters = ()) -> Sequence[Row]:
        text, arguments = self._ready(sql, parameters)
        return await self._watched(self._connection.fetch(text, *arguments), text, arguments)

    @asynccontextmanager
    async def attempt(self) -> AsyncGenerator[None]:
        self._check()
        self._attempts += 1
        name = f"sagagen_attempt_{self._attempts}"
        await self._watched(self._connection.execute(f"SAVEPOINT {name}"))
        try:
            yield
        except Exception:  # a handler that is cancelled is undone as a whole
            if self.conflict is None and not self._is_closed:  # a conflict repeats the whole transaction
                self.error = None
                await self._watched(self._connection.execute(f"ROLLBACK TO {name}; RELEASE {name}"))
            raise
        self._check()
        await self._watched(self._connection.execute(f"RELEASE {name}"))

    def close(self) -> None:
        """From now on every use raises TransactionEnded."""
        self._is_closed = True

    def _ready(self, sql: str, parameters: Parameters) -> tuple[str, Sequence[Any]]:
        """The statement as it is sent. Raises RpcError where it would only meet a call that has the turn at it."""
        self._check()
        statement = statement_of(sql)
        arguments = statement.arguments(parameters)
        if self._turns is not None and self._turns.is_waited_for(statement.sql, arguments):
            self.error = self.conflict = LinedUp("other calls wait for their turn at this statement")
            self.met = Met.at(statement.sql, arguments)
            raise RpcError(Code.UNAVAILABLE, _CONFLICT) from self.error
        return statement.sql, arguments

    def _check(self) -> None:
        if self._is_closed:
            raise TransactionEnded(
                "the transaction of this call has ended: a handler awaits all that it starts"
            )
        if self.error is not None:
            raise TransactionFailed(
                f"an earlier statement failed ({self.error}), and PostgreSQL takes no other one in this transaction: "
                "put what may fail into `async with call.db.attempt():`"
            ) from self.error

    async def _watched(self, work: Awaitable[T], sql: str = "", arguments: Sequence[Any] = ()) -> T:
        """What went wrong is known here, whatever the handler makes of it.

        What is no mistake of its statement is UNAVAILABLE: a connection that is lost, a conflict, a wait too long.
        """
        try:
            return await work
        except LOST as error:
            if isinstance(error, asyncpg.InternalClientError):
                self._connection.terminate()
            if self._connection.is_closed():
                raise RpcError(Code.UNAVAILABLE, "the connection to the database was lost") from error
            if not isinstance(error, asyncpg.PostgresError):
                raise
            self.error = error
            if isinstance(error, TOO_LONG):
                raise RpcError(Code.UNAVAILABLE, "a statement took too long") from error
            if isinstance(error, CONFLICTS):
                self.conflict, self.met = error, Met.at(sql, arguments)
                raise RpcError(Code.UNAVAILABLE, _CONFLICT) from error
            if isinstance(error, asyncpg.IntegrityConstraintViolationError):
                raise IntegrityError(str(error)) from error
            raise


def _rows(status: str) -> int:
    """`UPDATE 3` -> 3; `SELECT 3` changed nothing."""
    word, _, number = status.rpartition(" ")
    return int(number) if number.isdigit() and not word.startswith("SELECT") else 0
