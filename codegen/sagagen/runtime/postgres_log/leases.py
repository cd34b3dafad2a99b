"""A gateway's lease: by it the others know that it lives, and leave it what it owns.

Whoever's lease has run out, by the server's clock, is over: others mark it so, and take its shards. It may live all the
same, stopped for a while or cut off; then it writes nothing more (`schema`), notices that at its next write or renewal,
and begins a new life.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from sagagen.runtime.postgres.connection import (
    LOST,
    PAUSE_S,
    CannotConnect,
    PgConnection,
    Record,
    end,
    is_lost,
)
from sagagen.runtime.postgres.server import PostgresError
from sagagen.runtime.postgres_log import schema as sql
from sagagen.runtime.postgres_log.server_time import ServerTime
from sagagen.runtime.postgres_log.writer import Life

LEASE_S = 6.0
"""Time in seconds that a lease runs. So long a dead gateway's sagas wait, and so long a gateway may be stopped."""
RENEWALS = 4
"""How often it is renewed in that time."""
LOOK_S = 1.0
"""How often a gateway looks for what nobody owns, in seconds; and at once when another rings."""
WITHIN_S = 5.0
"""Time in seconds that the server has to answer."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Left:
    """Shards that nobody owned any more, of one gateway that had them."""

    shards: Sequence[int]
    died: bool
    """It gave them to nobody: it died, or was taken for dead."""
    on_trial: str
    """The one saga that it tried then; empty: none."""


def _left(rows: Sequence[Record]) -> list[Left]:
    of: dict[tuple[int | None, str], list[int]] = {}
    for row in rows:
        of.setdefault((row["left_by"], row["on_trial"]), []).append(row["shard"])
    return [Left(shards, life is not None, on_trial) for (life, on_trial), shards in of.items()]


class Lease:
    """Begins lives, renews the one that runs, and takes what others have left. It has a connection of its own."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[PgConnection]],
        life: Life,
        lease_s: float,
        kek: str | None = None,
        time: ServerTime | None = None,
    ) -> None:
        """`connect` raises CannotConnect. `kek` is what this gateway encrypts by; `time` learns the server's."""
        self._time = time or ServerTime()
        self._connect = connect
        self._life = life
        self._lease_s = lease_s
        self._kek = kek
        self._connection: PgConnection | None = None
        self._busy = asyncio.Lock()
        self._rung = asyncio.Event()
        self.begun_with: list[Left] = []
        """What the life that runs took when it began."""
        self.problem = ""
        """Why the lease could not be renewed; empty if it could."""

    async def begin(self) -> None:
        """A new life, with what nobody owns; it has a shard of its own at least. Raises CannotConnect, or LOST."""
        async with self._busy:
            connection = await self._connected()
            name = f"{socket.gethostname()}/{os.getpid()}"
            try:
                with self._time.asking() as told:
                    begun: Any = await connection.fetchrow(sql.BEGIN_LIFE, name, self._lease_s, self._kek)
                    told(begun["now_ms"])
            except asyncpg.ForeignKeyViolationError as error:
                said = f"the key {self._kek} was rotated away just now: start this gateway with the new file of keys"
                raise PostgresError(said) from error
            number: int = begun["life"]
            left = _left(await connection.fetch(sql.TAKE, number))
            taken = [shard for each in left for shard in each.shards]
            home: int = taken[0] if taken else await connection.fetchval(sql.ADD_SHARD, number)
            self._life.begin(number)
            self._life.home = home
            self._life.shards |= {home, *taken}
            self.begun_with = left

    async def take(self) -> list[Left]:
        """Shards that this gateway owns from now on, and did not before. Raises CannotConnect, or LOST."""
        async with self._busy:
            if not self._life.number:
                return []
            connection = await self._connected()
            left = _left(await connection.fetch(sql.TAKE, self._life.number, timeout=WITHIN_S))
            for each in left:
                self._life.shards.update(each.shards)
            return left

    async def run(self) -> None:
        """Renew the lease until cancelled."""
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS)
            try:
                await self._renew()
                self.problem = ""
            except Exception as error:  # noqa: BLE001 - readiness says it; the next renewal may succeed
                self._drop()
                self.problem = f"its lease can't be renewed: {error}"

    async def _renew(self) -> None:
        async with self._busy:
            life = self._life.number
            if not life:
                return
            connection = await self._connected()
            with self._time.asking() as told:
                renewed: Any = await connection.fetchrow(sql.RENEW, life, self._lease_s, timeout=WITHIN_S)
                if renewed is not None:
                    told(renewed["now_ms"])
            if renewed is None and self._life.number == life:
                _logger.error("this gateway was taken for dead: others own its sagas now", life=life)
                self._life.end()
                self._rung.set()

    async def rung(self) -> None:
        """Return when another gateway has rung, or after LOOK_S."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._rung.wait()
        self._rung.clear()

    async def end(self) -> None:
        """Give away all that is owned, at once. What can't be told to the server ends with the lease."""
        life = self._life.number
        self._life.end()
        try:
            if life:
                async with self._busy:
                    connection = await self._connected()
                    await connection.execute(sql.END_LIFE, life, timeout=WITHIN_S)
                    await connection.execute(sql.RING, timeout=WITHIN_S)
        except (CannotConnect, *LOST) as error:
            _logger.warning("the lease could not be given back, and runs out by itself", error=str(error))
        finally:
            self._drop()

    async def _connected(self) -> PgConnection:
        if self._connection is None or is_lost(self._connection):
            await asyncio.sleep(PAUSE_S if self.problem else 0)
            self._connection = await self._connect()
            await self._connection.add_listener(sql.CHANNEL, lambda *_: self._rung.set())
        return self._connection

    def _drop(self) -> None:
        if self._connection:
            end(self._connection)
            self._connection = None
