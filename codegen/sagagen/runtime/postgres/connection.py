"""asyncpg's connections, as this room uses them, and the pool of one process.

Nothing is done to a connection before it is used again, since every transaction here is ended by its owner: one whose
transaction did not end as planned is closed, and never used again.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

import asyncpg

CONNECTIONS = 12
READ_CONNECTIONS = 4
CONNECT_S = 5
"""Seconds that a connection may take to be made."""
PAUSE_S = 0.2
"""After an attempt to connect that failed, nobody tries for so many seconds: five attempts a second at most."""
IDLE_S = 300.0
"""A connection that nobody has used for so long is closed, once another one comes back."""
LOCK_MS = 2000
"""How long a statement waits for a lock at most, in milliseconds; at most half of what a handler has, too.

A handler that has all its time taken by one lock is ended with its connection, and keeps its own locks until the server
has noticed. A statement that gives up leaves time to undo the transaction, so those who wait for it go on at once."""
IDLE_MS = 3000
"""How long the server keeps a transaction whose client says nothing, in milliseconds: its locks hold up the others."""
GONE_MS = 200
"""How often the server looks whether a statement's client is still there, in milliseconds."""


DEAD = {"tcp_keepalives_idle": "20", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
"""The server gives up a client whose machine is gone after 50 s, and with it the locks of its session. Else that takes
two hours and more, in which no other replica may run a manual call that it had."""


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

    def add_termination_listener(self, callback: Callable[[Any], None]) -> None: ...

    async def close(self) -> None: ...

    def terminate(self) -> None: ...

    def is_closed(self) -> bool: ...


class CannotConnect(Exception):
    """The server can't be reached, or refuses the connection."""


class ServerStarts(CannotConnect):
    """The server is there, and takes no connections yet."""


class RolledBack(Exception):
    """A transaction was undone, and its connection is as good as new."""


LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises where a statement fails, or its connection is gone.

InternalClientError is among them: a server that ends a connection at the wrong moment leaves asyncpg in the middle of
an operation, and it takes no other one on this connection."""


class Pool:
    """Connections to one database. Made by `open`.

    A transaction takes one, and gives it back. asyncpg's own pool starts a task for that each time, and asks the server
    to reset what nobody has set.
    """

    def __init__(self, connect: Callable[[], Awaitable[PgConnection]], size: int) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(size)
        self._free: deque[tuple[PgConnection, float]] = deque()
        """With the time at which each came back; the last one is used next."""
        self._used: set[PgConnection] = set()
        self._failed: str = ""
        self._failed_s = float("-inf")

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        size: int,
        settings: Mapping[str, str],
        application: str,
        begin: Callable[[PgConnection], Awaitable[None]] | None = None,
    ) -> AsyncGenerator["Pool"]:
        """No connection is made before one is needed, and `begin` sees each that is. Leaving closes them all."""

        async def connected() -> PgConnection:
            connection = await _connected(url, {"application_name": application, **settings})
            if begin is not None:
                try:
                    await begin(connection)
                except BaseException:
                    connection.terminate()
                    raise
            return connection

        pool = cls(connected, size)
        try:
            yield pool
        finally:
            for connection in [*pool._used, *(free for free, _ in pool._free)]:
                connection.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[PgConnection]:
        """Wait for a connection, and use it until the block ends; an error that leaves the block closes it.

        All but RolledBack do.

        Raises CannotConnect.
        """
        async with self._slots:
            connection = await self._take()
            try:
                yield connection
            except RolledBack:
                raise
            except BaseException:
                connection.terminate()
                raise
            finally:
                self._give_back(connection)

    async def _take(self) -> PgConnection:
        while self._free:
            connection, _ = self._free.pop()
            if not connection.is_closed():
                self._used.add(connection)
                return connection
        if time.monotonic() - self._failed_s < PAUSE_S:
            raise CannotConnect(self._failed)
        try:
            connection = await self._connect()
        except (CannotConnect, *LOST) as error:
            self._failed, self._failed_s = why_not(error), time.monotonic()
            raise CannotConnect(self._failed) from error
        self._used.add(connection)
        return connection

    def _give_back(self, connection: PgConnection) -> None:
        self._used.discard(connection)
        now_s = time.monotonic()
        if not connection.is_closed():
            self._free.append((connection, now_s))
        while self._free and now_s - self._free[0][1] > IDLE_S:
            self._free.popleft()[0].terminate()


def end(connection: PgConnection) -> None:
    """Close a connection at once, whatever it is in the middle of."""
    connection.terminate()


def is_lost(connection: PgConnection) -> bool:
    """The server has closed it, or it was ended here."""
    return connection.is_closed()


async def share(connection: PgConnection, name: str) -> None:
    """Share a lock for as long as the connection lasts. Raises asyncpg.InterfaceError where somebody has it alone."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock_shared(hashtextextended($1, 0))", name):
        raise asyncpg.InterfaceError(
            "what is kept there is being copied: wait until `sagagen store copy` has ended"
        )


async def connect(url: str, application: str) -> PgConnection:
    """One connection, of the database's own user. Raises CannotConnect."""
    try:
        return await _connected(url, {"application_name": application})
    except asyncpg.CannotConnectNowError as error:
        raise ServerStarts(why_not(error)) from error
    except (*LOST, ValueError) as error:
        raise CannotConnect(why_not(error)) from error


async def _connected(url: str, settings: Mapping[str, str]) -> PgConnection:
    # Its keyword arguments have no types.
    made: Any = await cast(Any, asyncpg).connect(url, timeout=CONNECT_S, server_settings={**DEAD, **settings})
    connection = cast(PgConnection, made)
    if isolation := settings.get("default_transaction_isolation"):
        found = await connection.fetchval("SELECT current_setting('default_transaction_isolation')")
        if found != isolation:
            connection.terminate()
            raise CannotConnect(
                "what a connection asks for is lost on its way, such as its isolation: something between passes it "
                "over, most likely a pooler; name the server itself"
            )
    return connection


def why_not(error: BaseException) -> str:
    """In a few words, and without the URL: it may hold a password."""
    if isinstance(error, asyncpg.PostgresError):
        is_pooler = "unsupported startup parameter" in str(error)  # no server says so
        return f"{error}: a pooler stands between; name the server itself" if is_pooler else str(error)
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "the server does not answer"
    if isinstance(error, OSError):
        return error.strerror or "the server can't be reached"
    return "the connection can't be made" if isinstance(error, ValueError) else str(error)


def session_settings(hold_limit_s: float, role: str, isolation: str, *, is_read_only: bool) -> dict[str, str]:
    """Settings of every connection. The server ends what a client that died has left."""
    settings = {
        "default_transaction_isolation": isolation.replace("_", " "),
        "lock_timeout": str(min(LOCK_MS, round(hold_limit_s * 500))),
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
