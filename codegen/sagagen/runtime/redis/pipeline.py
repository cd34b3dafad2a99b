"""A process's pipeline to Redis: bounded, ordered, and forgetful rather than wrong.

Theory of operation. One connection, used by one task, which sends whatever waits as one batch; so writes arrive in the
order in which they were committed. An exchange that fails or takes longer than LIMIT_S disconnects the pipeline: nobody
waits for it any more, and the task tries to connect again, ever more rarely until a connection lasts. Until it
succeeds, whoever asks gets nothing, at once.

Nobody knows what became of the writes of a failed exchange, and a server that is reached again may have lost some. A
lost compensation would leave its action's answer standing. So each failure begins a new `generation`: as a part of
every key, it hides what was written before.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError

from sagagen.runtime.addresses import RedisAddress
from sagagen.runtime.telemetry.metrics import BREAKER_OPEN, REDIS_OPERATIONS

LIMIT_S = 0.02
"""Of every operation, in seconds."""
CONNECT_S = 1.0
PAUSE_S, MAX_PAUSE_S = 0.25, 10.0
"""Between attempts to connect: doubled each time, until a connection has lasted MAX_PAUSE_S. Otherwise a server that is
too slow would be lost and found several times a second, with lines in the log each time."""
IDLE_S = 5.0
"""Without work; then a PING shows whether the connection is still good."""
BATCH = 64
MAX_WAITING = 1000
"""Operations; more than that means that Redis can't keep up."""
KEPT_S = 3600

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

RedisReply = Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class _Operation:
    commands: tuple[tuple[str | bytes | int, ...], ...]
    reply: asyncio.Future[RedisReply | None] | None = None
    """Of the last command."""

    def resolve(self, reply: RedisReply | None) -> None:
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(reply)


class RedisPipeline:
    """Made by `open`. Nothing here raises because of Redis."""

    def __init__(
        self, address: RedisAddress, trial_key: str, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic_s = monotonic_s
        BREAKER_OPEN.set(1)
        self._address = address
        self._turned_away = 0
        """How often Redis did not take our password: then the other one that is valid has its turn."""
        self._connection: Any = None
        self._trial_key = trial_key
        self._waiting: deque[_Operation] = deque()
        self._work = asyncio.Event()
        self.generation = 0
        self.failures = 0
        """How often the connection was lost, or could not be made."""

    @classmethod
    @asynccontextmanager
    async def open(cls, address: RedisAddress, trial_key: str) -> AsyncGenerator["RedisPipeline"]:
        """`trial_key` is written to see whether the server takes writes. Leaving drops what waits."""
        pipeline = cls(address, trial_key)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(pipeline._serve(), name="pipeline to redis")
            try:
                yield pipeline
            finally:
                task.cancel()

    @property
    def is_up(self) -> bool:
        """There is a connection, as far as anybody knows."""
        return self._connection is not None

    async def find(self, key: str, fields: Sequence[str]) -> RedisReply | None:
        """The fields stored under `key`; None if they can't be known within LIMIT_S."""
        if not self.is_up:
            return None
        generation = self.generation
        reply: asyncio.Future[RedisReply | None] = asyncio.get_running_loop().create_future()
        self._send(_Operation((("HMGET", key, *fields),), reply))
        await asyncio.wait({reply}, timeout=LIMIT_S)
        if not reply.done():
            REDIS_OPERATIONS.labels("late").inc()
            reply.cancel()
            return None
        return reply.result() if generation == self.generation else None

    def store(self, key: str, fields: Mapping[str, bytes], kept_s: int = KEPT_S) -> None:
        """Have it written soon, after all that was stored before."""
        if self.is_up:
            words = [word for field in fields.items() for word in field]
            self._send(_Operation((("HSET", key, *words), ("EXPIRE", key, kept_s))))

    def _send(self, operation: _Operation) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self.forget()
        self._waiting.append(operation)
        self._work.set()

    def forget(self) -> None:
        """Begin a new generation: nothing that was stored before is found again."""
        self.generation += 1
        for operation in self._waiting:
            operation.resolve(None)
        self._waiting.clear()

    async def _serve(self) -> None:
        pause_s = PAUSE_S
        try:
            while True:
                if await self._connect():
                    begun_s = self._monotonic_s()
                    await self._exchange_until_lost()
                    if self._monotonic_s() - begun_s >= MAX_PAUSE_S:
                        pause_s = PAUSE_S
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_PAUSE_S)
        finally:
            await self._lose_connection()

    async def _connect(self) -> bool:
        connection: Any = None
        try:
            connection = self._new_connection()
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()
                # A server that is full, still loading or read-only does answer, but is of no use.
                await _exchange(connection, [("SET", self._trial_key, b"", "PX", 1000)])
        except Exception as error:  # noqa: BLE001 - whatever listens there may answer anything
            self._count_failure(error)
            if connection is not None:
                await _disconnect(connection)
            return False
        self._connection = connection
        BREAKER_OPEN.set(0)
        _logger.info("redis answers repeats")
        return True

    def _new_connection(self) -> Any:
        """With the secrets of now: their files may have changed since the last one."""
        address = self._address
        options: dict[str, Any] = {}
        if address.password is not None:
            valid = address.password.values()
            options["password"] = valid[self._turned_away % len(valid)].decode()
        if address.user:
            options["username"] = address.user
        if address.ca_file is not None:
            options["ssl_ca_certs"] = str(address.ca_file)
        pool = ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType] - its kwargs are
            address.url.current.decode(),
            socket_connect_timeout=CONNECT_S,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
            **options,  # what the URL says itself comes first
        )
        return pool.make_connection()

    async def _exchange_until_lost(self) -> None:
        try:
            while True:
                await self._await_work()
                while self._waiting:
                    await self._exchange_batch()
        except Exception as error:  # noqa: BLE001 - as above
            self._count_failure(error)
            await self._lose_connection()

    async def _await_work(self) -> None:
        """Where there is none for a while, ask whether Redis is still there: otherwise nobody would notice its end."""
        while not self._work.is_set():
            try:
                await asyncio.wait_for(self._work.wait(), IDLE_S)
            except TimeoutError:
                async with asyncio.timeout(CONNECT_S):
                    await _exchange(self._connection, [("PING",)])
        self._work.clear()

    async def _exchange_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        try:
            async with asyncio.timeout(LIMIT_S):
                replies = iter(
                    await _exchange(self._connection, [each for one in batch for each in one.commands])
                )
            for operation in batch:
                operation.resolve([next(replies) for _ in operation.commands][-1])
            REDIS_OPERATIONS.labels("ok").inc(len(batch))
        finally:
            for operation in batch:
                operation.resolve(None)

    def _count_failure(self, error: Exception) -> None:
        self.failures += 1
        BREAKER_OPEN.set(1)
        REDIS_OPERATIONS.labels("failed").inc()
        if isinstance(error, AuthenticationError | NoPermissionError):
            self._turned_away += 1
        if self.failures == 1 or self.is_up:
            _logger.warning(
                "redis is no help at present; calls go straight to the barrier", error=_told(error)
            )

    async def _lose_connection(self) -> None:
        connection, self._connection = self._connection, None
        self.forget()
        if connection is not None:
            await _disconnect(connection)


def _told(error: Exception) -> str:
    """Nothing of a URL or a password, which errors of parsing repeat."""
    if isinstance(error, ValueError):
        return (
            "SAGAGEN_REDIS_URL can't be read as a URL; what is special in a password is percent-encoded there"
        )
    if isinstance(error, AuthenticationError):
        return "it does not take our user and password (SAGAGEN_REDIS_PASSWORD, SAGAGEN_REDIS_USER, or in the URL)"
    return f"{type(error).__name__}: {error}"


async def _exchange(connection: Any, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
    """Raises ResponseError if any of the commands is refused."""
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    return [await connection.read_response() for _ in commands]


async def _disconnect(connection: Any) -> None:
    try:
        await connection.disconnect(nowait=True)
    except Exception as error:  # noqa: BLE001 - it is given up anyway
        _logger.debug("a connection to redis could not be closed", error=repr(error))
