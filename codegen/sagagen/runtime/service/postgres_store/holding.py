"""Which process runs a manual call: a lock of the database, which is free again when that process is gone.

All locks of a process are on one connection of its own, and so are gone when that is lost. They are asked for again at
once. In between another replica may begin a call that still runs here: its third party is asked twice then, with the
same key, and only one effect is kept. A compensation is not fooled: it waits until the action's deadline is over.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from sagagen.runtime.postgres.connection import LOST, CannotConnect, PgConnection, connect, share
from sagagen.runtime.rpc.metadata import SagaCall

T = TypeVar("T")

ASK_S = 2.0
"""How long the server may take over a lock for which it waits for nobody, in seconds; then the connection is lost."""
AGAIN_S = 0.2
"""Pause between two attempts to have locks back whose connection was lost, in seconds."""

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"
_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def running_lock(service: str) -> str:
    """Every connection of a service shares this lock; who has it alone knows that no replica runs."""
    return f"sagagen_{service} runs"  # no name of a saga: theirs begin with `sagagen_SERVICE/`


class Holding:
    """The manual calls that this process runs, as the others can see it."""

    def __init__(self, url: str, service: str) -> None:
        self._url = url
        self._service = service
        self._connection: PgConnection | None = None
        self._held: set[str] = set()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    async def begin(self) -> None:
        """Show that this process runs, before anybody calls it."""
        async with self._turn:
            await self._ask("SELECT $1::text", "")

    async def hold(self, call: SagaCall) -> bool:
        """False: another process runs this call, or it can't be asked."""
        name = self._name(call)
        is_new = name not in self._held
        holding = self._apart(self._hold(name))
        try:
            return await asyncio.shield(holding)
        except asyncio.CancelledError:
            if is_new:
                self._apart(self._undo(holding, name))
            raise

    async def release(self, call: SagaCall) -> None:
        await asyncio.shield(self._apart(self._release(self._name(call))))

    async def is_held_elsewhere(self, call: SagaCall) -> bool:
        """Also true where it can't be asked."""
        return await asyncio.shield(self._apart(self._is_held_elsewhere(self._name(call))))

    def close(self) -> None:
        """All locks are free."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        if self._connection is not None:
            self._connection.terminate()

    def _name(self, call: SagaCall) -> str:
        return f"sagagen_{self._service} manual/{call.saga_id}/{call.step}/{call.direction}"

    async def _hold(self, name: str) -> bool:
        async with self._turn:
            if name not in self._held and await self._ask(_LOCK, name):
                self._held.add(name)
            return name in self._held

    async def _undo(self, holding: "asyncio.Task[bool]", name: str) -> None:
        """Of a call that was cancelled while it asked: nobody knows of its lock."""
        await asyncio.wait({holding})
        await self._release(name)

    async def _release(self, name: str) -> None:
        async with self._turn:
            if name in self._held:
                self._held.discard(name)
                await self._ask(_UNLOCK, name)

    async def _is_held_elsewhere(self, name: str) -> bool:
        async with self._turn:
            if name in self._held:
                return False
            if not await self._ask(_LOCK, name):
                return True
            await self._ask(_UNLOCK, name)
            return False

    async def _ask(self, query: str, name: str) -> Any:
        """None where there is no answer: then this connection, and what it held, is gone."""
        try:
            async with asyncio.timeout(ASK_S):
                return await (await self._connected()).fetchval(query, name)
        except (CannotConnect, *LOST):
            self._forget()
            return None

    async def _connected(self) -> PgConnection:
        """With the locks that were held on the one before, as far as nobody else has taken them."""
        if self._connection is None or self._connection.is_closed():
            connection = await connect(self._url, f"sagagen {self._service} (manual calls)")
            self._connection = connection
            await share(connection, running_lock(self._service))
            for name in tuple(self._held):
                if not await connection.fetchval(_LOCK, name):
                    self._held.discard(name)
                    _logger.warning("another replica runs a call that runs here too", call=name)
            connection.add_termination_listener(self._lost)
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None

    def _lost(self, _connection: object) -> None:
        if not self._is_closed:
            self._apart(self._have_back())

    async def _have_back(self) -> None:
        while True:
            async with self._turn:
                with suppress(CannotConnect, *LOST):
                    async with asyncio.timeout(ASK_S):
                        await self._connected()
                        return
                self._forget()
            await asyncio.sleep(AGAIN_S)

    def _apart(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """In a task of its own: who is cancelled while it asks takes nobody else's locks away."""
        task = asyncio.create_task(work, name=f"{self._service}: manual calls")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
