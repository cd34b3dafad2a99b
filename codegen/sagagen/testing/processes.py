"""The processes of a world: its services and its gateway, as the product puts them together, on virtual time.

Each of them has one life after the other. Killing ends a life as kill -9 does; stopping drains, as SIGTERM does.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from grpclib.const import Status as Code
from starlette.types import ASGIApp

from sagagen.runtime.clock import Grace
from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.engine.embedded import GRACE_S, EmbeddedEngine
from sagagen.runtime.health import Readiness
from sagagen.runtime.log.reserve import Reserve
from sagagen.runtime.model.definition import Service
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.service.sqlite_store.sql_files import Scripts
from sagagen.runtime.service.sqlite_store.store import SqliteStore
from sagagen.runtime.transports.memory import MemoryTransport
from sagagen.testing.callers import TestCallers
from sagagen.testing.databases import SAGA_LOG
from sagagen.testing.faults import (
    CallKey,
    Delay,
    DelayAnswer,
    Duplicate,
    LoseAnswer,
    LoseRequest,
    Moment,
)
from sagagen.testing.handlers import CALL, FaultyHandlers
from sagagen.testing.logs import WatchedLog
from sagagen.testing.trace import Answered, Died, Sent, Started
from sagagen.testing.virtual_time import Life

if TYPE_CHECKING:
    from sagagen.testing.world import World

GATEWAY = "gateway"
"""Name of the gateway's process; the others have the names of their services."""

BURIAL_S = 60.0
"""How long the tasks of a dead process are waited for, in virtual seconds."""

_FOLDER = Path("/sagagen-in-memory")
"""Where nothing lies: the databases of a world have no files."""


class Process:
    """One process after the other, of one name."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.life = Life(0, is_over=True)
        self.starts = 0
        self.is_up = False
        """It runs, and has opened all that it needs."""
        self._is_to_stop = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self._is_awaited = False
        """It is down, and is to start after a while."""
        self._error: BaseException | None = None
        """What kept it from starting."""

    @property
    def is_coming_back(self) -> bool:
        """It runs, or starts again by itself."""
        return not self.life.is_over or self._is_awaited

    def random(self) -> Random:
        """Of one life. It depends on the world's seed, the process and how often that started, and on nothing else."""
        return Random(f"{self.world.seed}/{self.name}/{self.starts}")

    def start(self) -> None:
        """Begin a life. Nothing happens if it has one."""
        if not self.life.is_over or self.world.is_closing:
            return
        self._is_awaited, self._error = False, None
        self.starts += 1
        self.life = Life(self.starts)
        self._is_to_stop.clear()
        self._main = self.life.begin(self._live(self.life))
        self._main.add_done_callback(self._ended)

    async def started(self) -> None:
        """Wait until it is up. Raises what kept it from starting."""
        await self.world.until(lambda: self.is_up or self._error is not None)
        if self._error:
            raise self._error

    def kill(self, down_s: float | None = None) -> None:
        """End this life now; begin the next one `down_s` seconds later. None: whenever somebody calls `start`."""
        if not self.life.is_over:
            self.world.note(Died(at_s=self.world.now_s, process=self.name))
            self.is_up = False
            self.life.end()
            self._died()
        self._is_awaited = down_s is not None
        if down_s is not None:
            # In no context: this may be called by a task of the life that ends.
            asyncio.get_running_loop().call_later(down_s, self.start, context=Context())

    async def stop(self) -> None:
        """As SIGTERM does: take nothing new, and end once what is under way has ended, or its grace period has."""
        if self._main is None or self.life.is_over:
            return
        self._is_to_stop.set()
        await asyncio.wait({self._main})
        self.is_up = False
        self.life.end()
        self._died()

    async def buried(self) -> None:
        """Wait until nothing is left of a life that is over, but for tasks that no cancellation ends."""
        while self.life.tasks:
            done, _ = await asyncio.wait(list(self.life.tasks), timeout=BURIAL_S)
            if not done:
                return

    async def _live(self, life: Life) -> None:
        async with self.opened(life):
            self.is_up = True
            self.world.note(Started(at_s=self.world.now_s, process=self.name))
            await self._is_to_stop.wait()

    def opened(self, life: Life) -> AbstractAsyncContextManager[None]:
        """Everything that the process runs, as a context manager."""
        raise NotImplementedError

    def _died(self) -> None:
        """What others notice of its end."""

    def _ended(self, main: "asyncio.Task[None]") -> None:
        if not main.cancelled() and (error := main.exception()):
            self._error = error
            self.world.mistake(f"{self.name} failed: {type(error).__name__}: {error}")


class ServiceProcess(Process):
    """A service: its host, its handlers and its store."""

    def __init__(self, world: "World", service: Service, handlers: object) -> None:
        super().__init__(world, service.name)
        self.service = service
        self._handlers = FaultyHandlers(world, self, handlers)
        self._scripts = Scripts.read(world.mesh.root / service.schema)
        self._transport: MemoryTransport | None = None
        self._answers: dict[asyncio.Future[Reply | RpcError], None] = {}
        """That callers still wait for."""

    @asynccontextmanager
    async def opened(self, life: Life) -> AsyncGenerator[None]:
        """As Process says."""
        world, service = self.world, self.service
        if self.starts > 1:  # what the last one had in memory died with it
            self._handlers = FaultyHandlers(world, self, world.handlers(service))
        store = SqliteStore.on(
            world.databases.of(life, self.name, world.commit_watch(self)),
            _FOLDER / f"{self.name}.db",
            self._scripts,
            world.clock,
            retention_s=service.barrier_retention_s,
        )
        host = ServiceHost.on(
            store,
            service,
            self._handlers,
            project=world.mesh.project,
            schema=world.schema,
            clock=world.clock,
            sagas=world.mesh.sagas,
            default_claims=world.mesh.default_claims,
            grace=Grace(GRACE_S, world.clock.monotonic_s),
            random=self.random(),
        )
        async with host as opened:
            self._transport = MemoryTransport(opened)
            yield

    def _died(self) -> None:
        self._transport = None
        for answer in list(self._answers):
            _settle(answer, _lost(self.name))

    def receive(
        self,
        path: str,
        request: bytes,
        metadata: Mapping[str, str],
        timeout_s: float,
        answer: "asyncio.Future[Reply | RpcError] | None",
    ) -> "asyncio.Task[None] | None":
        """A call arrives. `answer` is for its caller; None: nobody waits. Returns the task that serves it, if any."""
        call = SagaCall.from_metadata(metadata)
        if call:
            self.world.may_crash(self, Moment.ARRIVED, call)
        if self._transport is None:
            if answer:
                _settle(answer, _lost(self.name))
            return None
        if answer:
            self._answers[answer] = None
            answer.add_done_callback(lambda done: self._answers.pop(done, None))
        serving = self._serve(self._transport, call, path, request, metadata, timeout_s, answer)
        return self.life.begin(serving)

    async def _serve(
        self,
        transport: MemoryTransport,
        call: SagaCall | None,
        path: str,
        request: bytes,
        metadata: Mapping[str, str],
        timeout_s: float,
        answer: "asyncio.Future[Reply | RpcError] | None",
    ) -> None:
        CALL.set(call)
        result: Reply | RpcError
        try:
            result = await transport.call(path, request, metadata=metadata, timeout_s=timeout_s)
        except RpcError as error:
            result = error
        if call:
            self.world.may_crash(self, Moment.COMMITTED, call)
            if self.world.happens(LoseAnswer, call):
                if answer:
                    self._answers.pop(answer, None)  # it is lost also if the service dies afterwards
                return
            if delay := self.world.happens(DelayAnswer, call):
                await asyncio.sleep(delay.seconds)
        if answer:
            _settle(answer, result)


class GatewayProcess(Process):
    """The gateway: its edge, its engine and the saga log."""

    def __init__(self, world: "World", gateway: Gateway) -> None:
        super().__init__(world, GATEWAY)
        self._gateway = gateway
        self.application: ASGIApp | None = None
        """What answers HTTP requests; None while it is down."""
        self.engine: EmbeddedEngine | None = None

    @asynccontextmanager
    async def opened(self, life: Life) -> AsyncGenerator[None]:
        """As Process says."""
        world, random = self.world, self.random()
        path, limits = _FOLDER / "saga-log.db", world.mesh.limits
        lines = {name: Line(world, self, service) for name, service in world.services.items()}
        database_at = world.databases.of(life, SAGA_LOG, world.commit_watch(self))
        async with WatchedLog.on(database_at, path, world.clock, Reserve(path)) as log:
            log.attach(world, self)
            engine = EmbeddedEngine(
                sagas=world.mesh.sagas,
                log=log,
                transports=lines,
                clock=world.clock,
                random=random,
                grace=Grace(GRACE_S, world.clock.monotonic_s),
                max_running=limits.max_running,
                max_waiting_sagas=limits.max_waiting_sagas,
                calls_per_service=limits.calls_per_service,
                is_clock_set=False,
            )
            async with engine:
                readiness = Readiness({"gateway": engine.check, "saga log": log.check})
                security = world.mesh.security
                self.application = self._gateway.application(
                    engine,
                    lines,
                    limits,
                    readiness,
                    clock=world.clock,
                    random=random,
                    authentication=TestCallers(world.mesh, security) if security else None,
                )
                self.engine = engine
                yield

    def _died(self) -> None:
        self.application = self.engine = None
        self.world.forget_unwritten()


class Line:
    """The gateway's way to one service, on which faults happen; implements Transport."""

    def __init__(self, world: "World", gateway: GatewayProcess, to: ServiceProcess) -> None:
        self._world = world
        self._gateway = gateway
        self._to = to

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        """As Transport says."""
        call = SagaCall.from_metadata(metadata)
        if call is None:
            return await self._answered(None, path, request, metadata, timeout_s)
        world, key = self._world, key_of(call)
        world.note(Sent(at_s=world.now_s, **key._asdict()))
        world.called(call, self._to.name, path, request)
        await world.may_crash_here(self._gateway, Moment.SENT, call)
        try:
            reply = await self._answered(call, path, request, metadata, timeout_s)
        except RpcError as error:
            await self._learn(call, str(error))
            raise
        await self._learn(call, "DONE", reply.response)
        return reply

    async def _learn(self, call: SagaCall, outcome: str, response: bytes = b"") -> None:
        await self._world.may_crash_here(self._gateway, Moment.ANSWERED, call)
        key = key_of(call)
        self._world.note(Answered(at_s=self._world.now_s, outcome=outcome, **key._asdict()))
        self._world.answered(key, outcome, response)

    async def _answered(
        self,
        call: SagaCall | None,
        path: str,
        request: bytes,
        metadata: Mapping[str, str],
        timeout_s: float,
    ) -> Reply:
        answer: asyncio.Future[Reply | RpcError] = asyncio.get_running_loop().create_future()
        serving = self._send(call, path, request, metadata, timeout_s, answer)
        try:
            async with asyncio.timeout(timeout_s):
                result = await answer
        except TimeoutError:
            raise RpcError(Code.DEADLINE_EXCEEDED, f"no answer to {path} in time") from None
        finally:
            if serving:
                serving.cancel()  # the connection tells the service that nobody waits any more
        if isinstance(result, RpcError):
            raise result
        return result

    def _send(
        self,
        call: SagaCall | None,
        path: str,
        request: bytes,
        metadata: Mapping[str, str],
        timeout_s: float,
        answer: "asyncio.Future[Reply | RpcError]",
    ) -> "asyncio.Task[None] | None":
        world, to = self._world, self._to
        if call is None:
            return to.receive(path, request, metadata, timeout_s, answer)
        if world.happens(LoseRequest, call):
            return None
        loop = asyncio.get_running_loop()
        delay = world.happens(Delay, call)
        delay_s = delay.seconds if delay else 0.0
        if twin := world.happens(Duplicate, call):
            at_s = loop.time() + delay_s + twin.late_s
            loop.call_at(at_s, to.receive, path, request, metadata, timeout_s, None, context=Context())
        if delay is None:
            return to.receive(path, request, metadata, timeout_s, answer)
        loop.call_later(delay_s, to.receive, path, request, metadata, timeout_s, answer, context=Context())
        return None


def key_of(call: SagaCall) -> CallKey:
    return CallKey(call.saga_id, call.step, call.direction, call.attempt)


def _lost(name: str) -> RpcError:
    return RpcError(Code.UNAVAILABLE, f"the connection to {name} broke")


def _settle(answer: "asyncio.Future[Reply | RpcError]", result: Reply | RpcError) -> None:
    if not answer.done():
        answer.set_result(result)
