"""asyncpg's connections, as this room uses them, and the pool of one process.

asyncpg.Pool keeps the connections. What is done to one before it is used again is left out, since every transaction
here is ended by its owner: a connection whose transaction did not end as planned is closed, and never used again.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, cast

import asyncpg

CONNECTIONS = 12
READ_CONNECTIONS = 4
CONNECT_S = 5
"""Seconds that a connection may take to be made."""
PAUSE_S = 0.2
"""After an attempt to connect that failed, nobody tries for so many seconds: five attempts a second at most."""
LOCK_MS = 2000
"""How long a call waits for another one of its saga, in milliseconds."""
IDLE_MS = 5000
"""How long the server keeps a transaction that its client has left, in milliseconds."""
GONE_MS = 500
"""How often the server looks whether the client of a statement is still there, in milliseconds."""


class Record(Protocol):
    """A row of a query, read by name or position."""

    def __getitem__(self, key: str | int, /) -> Any: ...

    def __len__(self) -> int: ...

    def keys(self) -> Iterable[str]: ...


class PgConnection(Protocol):
    """What of asyncpg.Connection is used here."""

    async def execute(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg's own name, in seconds
    ) -> str: ...

    async def fetch(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg's own name, in seconds
    ) -> Sequence[Record]: ...

    async def fetchrow(
        self,
        query: str,
        *args: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg's own name, in seconds
    ) -> Record | None: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...

    async def close(self) -> None: ...

    def terminate(self) -> None: ...

    def is_closed(self) -> bool: ...


class CannotConnect(Exception):
    """The server can't be reached, or refuses the connection."""


class RolledBack(Exception):
    """A transaction was undone, and its connection is as good as new."""


LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What asyncpg raises where a statement fails, or its connection is gone."""


class Pool:
    """Connections to one database. Made by `open`."""

    def __init__(self, pool: Any, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._monotonic_s = monotonic_s
        self._failed: str = ""
        self._failed_s = float("-inf")

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, size: int, settings: Mapping[str, str], application: str
    ) -> AsyncGenerator["Pool"]:
        """No connection is made before one is needed. Leaving closes them all."""
        made: Any = cast(Any, asyncpg).create_pool(
            url,
            min_size=0,
            max_size=size,
            reset=_leave,
            timeout=CONNECT_S,
            server_settings={"application_name": application, **settings},
        )
        pool = await made
        try:
            yield cls(pool)
        finally:
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[PgConnection]:
        """Wait for a connection, and use it until the block ends; an error that leaves the block closes it.

        All but RolledBack do.

        Raises CannotConnect.
        """
        connection = await self._acquire()
        try:
            yield connection
        except RolledBack:
            raise
        except BaseException:
            end(connection)
            raise
        finally:
            await self._pool.release(connection)

    async def _acquire(self) -> PgConnection:
        if self._monotonic_s() - self._failed_s < PAUSE_S:
            raise CannotConnect(self._failed)
        try:
            return cast(PgConnection, await self._pool.acquire())
        except LOST as error:
            self._failed, self._failed_s = why_not(error), self._monotonic_s()
            raise CannotConnect(self._failed) from error


def end(connection: PgConnection) -> None:
    """Close a connection at once, whatever it is in the middle of; one that the server has closed is left as it is."""
    with suppress(asyncpg.InterfaceError):  # it went back to its pool when it was lost
        connection.terminate()


def is_lost(connection: PgConnection) -> bool:
    """The server has closed it, or it was ended here."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # it went back to its pool when it was lost
        return True


async def _leave(_connection: object) -> None:
    """In the place of asyncpg's reset, which costs a round trip each time."""


async def connect(url: str, application: str) -> PgConnection:
    """One connection, of the database's own user. Raises CannotConnect."""
    try:
        # Its keyword arguments have no types.
        made: Any = await cast(Any, asyncpg).connect(
            url, timeout=CONNECT_S, server_settings={"application_name": application}
        )
    except (*LOST, ValueError) as error:
        raise CannotConnect(why_not(error)) from error
    return cast(PgConnection, made)


def why_not(error: BaseException) -> str:
    """In a few words, and without the URL: it may hold a password."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error)
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "the server does not answer"
    if isinstance(error, OSError):
        return error.strerror or "the server can't be reached"
    return "the connection can't be made" if isinstance(error, ValueError) else str(error)


def session_settings(hold_limit_s: float, role: str, isolation: str, *, is_read_only: bool) -> dict[str, str]:
    """Settings of every connection. The server ends what a client that died has left."""
    settings = {
        "default_transaction_isolation": isolation.replace("_", " "),
        "lock_timeout": str(LOCK_MS),
        "statement_timeout": str(round(hold_limit_s * 1000)),
        "idle_in_transaction_session_timeout": str(max(IDLE_MS, round(hold_limit_s * 2000))),
        "client_connection_check_interval": str(GONE_MS),
        "standard_conforming_strings": "on",
        "timezone": "UTC",
    }
    if role:
        settings["role"] = role
    if is_read_only:
        settings |= {
            "default_transaction_isolation": "repeatable read",
            "default_transaction_read_only": "on",
        }
    return settings
