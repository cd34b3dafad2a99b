"""A running service: it answers calls, whatever transport brings them, from its handlers and its own database."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Service
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import REPLAYED
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.call import Deadline
from sagagen.runtime.service.delivery import Delivery
from sagagen.runtime.service.manual import Attempts
from sagagen.runtime.service.methods import BoundMethod, bind
from sagagen.runtime.service.observation import ObservedCall
from sagagen.runtime.service.outcome_cache import OutcomeCache
from sagagen.runtime.service.sqlite_store.readers import Readers
from sagagen.runtime.service.sqlite_store.sql_files import Scripts, prepare
from sagagen.runtime.service.sqlite_store.steps import CallResult
from sagagen.runtime.service.sqlite_store.writer import Writer
from sagagen.runtime.sqlite.lock import OwnerLock

T = TypeVar("T")

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

DEFAULT_TIMEOUT_S = 60.0
"""For callers that set no deadline."""
DRAIN_S = 8.0
"""How long a stopping service waits for the calls under way: the grace period less 2 s."""


class ServiceHost:
    """One service of the mesh, ready for calls. Made by `open`."""

    def __init__(
        self,
        service: Service,
        methods: Mapping[str, BoundMethod],
        *,
        domain: str,
        schema: Schema,
        clock: Clock,
        writer: Writer,
        readers: Readers,
        fast_path: OutcomeCache,
    ) -> None:
        self.service = service
        self._methods = methods
        self._domain = domain
        self._schema = schema
        self._clock = clock
        self._writer = writer
        self._readers = readers
        self._fast_path = fast_path
        self._attempts = Attempts(writer, self._run_apart)
        self._spawned: set[asyncio.Task[Any]] = set()
        self._under_way = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_draining = False
        self._is_open = True

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        service: Service,
        handlers: object,
        *,
        project: str,
        schema: Schema,
        data_dir: Path,
        root: Path,
        clock: Clock | None = None,
        drain_s: float = DRAIN_S,
        redis_url: str = "",
    ) -> AsyncGenerator["ServiceHost"]:
        """Own `<data_dir>/<service>.db` and answer calls until the block is left, which drains first.

        Raises DatabaseError (locked, too new, an SQL file that fails) or ServiceIncomplete before anything is answered.
        """
        clock = clock or SystemClock()
        methods = bind(service, handlers, schema)
        path = data_dir / f"{service.name}.db"
        scripts = Scripts.read(root / service.schema)
        with OwnerLock(path):
            identity = await prepare(path, scripts)
            async with (
                OutcomeCache.open(project, service.name, identity, redis_url) as fast_path,
                Writer.open(
                    path, clock, retention_s=service.barrier_retention_s, committed=fast_path.note
                ) as writer,
                Readers.open(path) as readers,
            ):
                host = cls(
                    service,
                    methods,
                    domain=f"{service.name}.{project}",
                    schema=schema,
                    clock=clock,
                    writer=writer,
                    readers=readers,
                    fast_path=fast_path,
                )
                try:
                    yield host
                finally:
                    await host.drain(drain_s)
                    await host._close()

    @property
    def is_draining(self) -> bool:
        """It takes no new calls any more."""
        return self._is_draining

    @property
    def is_open(self) -> bool:
        """Calls reach it, if only to be told that it is draining."""
        return self._is_open

    @property
    def paths(self) -> tuple[str, ...]:
        """Of its rpcs: `/shop.order.v1.OrderService/CreateOrder`."""
        return tuple(self._methods)

    async def drain(self, grace_s: float = DRAIN_S) -> None:
        """Turn new calls away with UNAVAILABLE, and wait for those under way, at most `grace_s` seconds."""
        self._is_draining = True
        try:
            async with asyncio.timeout(grace_s):
                await self._is_idle.wait()
        except TimeoutError:
            return

    async def check(self) -> str:
        """What is wrong with the service, in a few words; empty if it takes calls and can write its database."""
        if self._is_draining:
            return "it is stopping"
        return await self._writer.check()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a call in a task of its own, which the host ends when it closes. `work` must not raise."""
        task = asyncio.create_task(work, name=self.service.name)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    async def handle(
        self, path: str, request: bytes, metadata: Mapping[str, str], timeout_s: float | None
    ) -> Reply:
        """Answer one call. Raises RpcError for every way not to succeed, and nothing else.

        `timeout_s` is what the handler is told; the transport ends a call that is late by cancelling it. Cancelling
        ends the handler; what it has decided already is committed all the same.
        """
        bound = self._methods.get(path)
        if bound is None:
            raise RpcError(Code.UNIMPLEMENTED, f"service {self.service.name} has no rpc {path}")
        if self._is_draining:
            raise RpcError(Code.UNAVAILABLE, f"service {self.service.name} is stopping")
        observed = ObservedCall.begin(self.service.name, path, metadata)
        self._enter()
        try:
            with observed:
                if timeout_s is not None:
                    return await self._answer(bound, request, metadata, timeout_s, observed.trace)
                return await self._answer_in_time(bound, request, metadata, observed.trace)
        except RpcError:
            raise
        except Exception as error:
            _logger.exception("a call failed outside its handler", rpc=path)
            raise RpcError(Code.INTERNAL, "the service failed; its log says why") from error
        finally:
            self._leave()

    async def _answer_in_time(
        self, bound: BoundMethod, request: bytes, metadata: Mapping[str, str], trace: TraceContext | None
    ) -> Reply:
        try:
            async with asyncio.timeout(DEFAULT_TIMEOUT_S):
                return await self._answer(bound, request, metadata, DEFAULT_TIMEOUT_S, trace)
        except TimeoutError as error:
            raise RpcError(Code.DEADLINE_EXCEEDED, f"took longer than {DEFAULT_TIMEOUT_S:g} s") from error

    async def _answer(
        self,
        bound: BoundMethod,
        request: bytes,
        metadata: Mapping[str, str],
        timeout_s: float,
        trace: TraceContext | None,
    ) -> Reply:
        delivery = Delivery.received(
            bound,
            request,
            metadata,
            deadline=Deadline.after(self._clock, timeout_s),
            trace=trace,
            schema=self._schema,
            domain=self._domain,
        )
        if bound.method.is_read:
            return _reply(await delivery.read(self._readers))
        return _reply(await delivery.write(self._writer, self._attempts, self._fast_path))

    def _run_apart(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what outlives the rpc that began it; draining waits for it all the same."""
        self._enter()
        self.spawn(work).add_done_callback(lambda _: self._leave())

    def _enter(self) -> None:
        self._under_way += 1
        self._is_idle.clear()

    def _leave(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._is_idle.set()

    async def _close(self) -> None:
        self._is_open = False
        for task in self._spawned:
            task.cancel()
        if self._spawned:
            await asyncio.wait(self._spawned)


def _reply(outcome: CallResult) -> Reply:
    if outcome.error is None:
        return Reply(outcome.response, {REPLAYED: "true"} if outcome.is_replay else {})
    if outcome.is_replay:
        # Errors have no trailers of their own in the transport's terms; so it stands in their ErrorInfo.
        outcome.error.metadata[REPLAYED] = "true"
    raise outcome.error
