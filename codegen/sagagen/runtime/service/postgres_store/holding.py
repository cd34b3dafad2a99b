"""Which process runs a manual call: a lock of the database, which is free again when that process is gone.

All locks of a process are on one connection of its own. Where that is lost, so are they, and another replica may begin
a call that still runs here: its third party is asked twice then, with the same key, and only one effect is kept.
"""

import asyncio
from typing import Any

from sagagen.runtime.postgres.connection import LOST, CannotConnect, PgConnection, connect, share
from sagagen.runtime.rpc.metadata import SagaCall

_KEY = "hashtextextended($1, 0)"


def running_lock(service: str) -> str:
    """Every connection of a service shares this lock; who has it alone knows that no replica runs."""
    return f"sagagen_{service}/running"


class Holding:
    """The manual calls that this process runs, as the others can see it."""

    def __init__(self, url: str, service: str) -> None:
        self._url = url
        self._service = service
        self._connection: PgConnection | None = None
        self._held: set[str] = set()
        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        """Show that this process runs, before anybody calls it."""
        async with self._turn:
            await self._ask("SELECT $1::text", "")

    async def hold(self, call: SagaCall) -> bool:
        """False: another process runs this call, or it can't be asked."""
        name = self._name(call)
        async with self._turn:
            if name in self._held:
                return True
            if not await self._ask(f"SELECT pg_try_advisory_lock({_KEY})", name):
                return False
            self._held.add(name)
            return True

    async def release(self, call: SagaCall) -> None:
        name = self._name(call)
        async with self._turn:
            if name in self._held:
                self._held.discard(name)
                await self._ask(f"SELECT pg_advisory_unlock({_KEY})", name)

    async def is_held_elsewhere(self, call: SagaCall) -> bool:
        """Also true where it can't be asked."""
        name = self._name(call)
        async with self._turn:
            if name in self._held:
                return False
            if not await self._ask(f"SELECT pg_try_advisory_lock({_KEY})", name):
                return True
            await self._ask(f"SELECT pg_advisory_unlock({_KEY})", name)
            return False

    def close(self) -> None:
        """All locks are free."""
        if self._connection is not None:
            self._connection.terminate()

    def _name(self, call: SagaCall) -> str:
        return f"sagagen_{self._service}/manual/{call.saga_id}/{call.step}/{call.direction}"

    async def _ask(self, query: str, name: str) -> Any:
        """None where there is no answer: then this connection, and what it held, is gone."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._held.clear()
                self._connection = await connect(self._url, f"sagagen {self._service} (manual calls)")
                await share(self._connection, running_lock(self._service))
            return await self._connection.fetchval(query, name)
        except (CannotConnect, *LOST):
            self._forget()
            return None
        except BaseException:  # cancelled in between: nobody knows what the server made of it
            self._forget()
            raise

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None
        self._held.clear()
