"""A running service: it answers calls, whatever transport brings them, from its handlers and its own database."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.addresses import RedisAddress
from sagagen.runtime.clock import Clock, Grace, SystemClock
from sagagen.runtime.contained import as_logged, is_cancelled
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Saga, Service
from sagagen.runtime.model.security import ClaimValue
from sagagen.runtime.rpc.caller_claims import NO_CLAIMS
from sagagen.runtime.rpc.claim import CLAIM_PATH
from sagagen.runtime.rpc.database import DATABASE_PATH
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.metadata import REPLAYED
from sagagen.runtime.rpc.refusals import STOPPING
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult
from sagagen.runtime.service.call import Deadline
from sagagen.runtime.service.claim import CLAIM_METHOD
from sagagen.runtime.service.delivery import Delivery, DeliveryContext
from sagagen.runtime.service.manual import Attempts
from sagagen.runtime.service.methods import BoundMethod, SagaCalls, bind
from sagagen.runtime.service.observation import CallApart, ObservedCall, UnderWay
from sagagen.runtime.service.outcome_cache import OutcomeCache
from sagagen.runtime.service.sqlite_store.sql_files import Scripts
from sagagen.runtime.service.sqlite_store.store import SqliteStore
from sagagen.runtime.service.store import HOLD_LIMIT_S, ServiceStore
from sagagen.runtime.vault.keys import KeyWrapper

T = TypeVar("T")

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

DEFAULT_TIMEOUT_S = 60.0
"""For callers that set no deadline."""
DRAIN_S = 8.0
"""How long a stopping service waits for the calls under way: the grace period less 2 s."""
CLOSE_S = 2.0
"""What draining leaves of the grace period, in seconds: for handlers to end once cancelled, and for files to close."""
CANCELLED_S = 1.0
"""How long calls that are cancelled are waited for, in seconds."""
PURGE_EVERY_S = 600.0
"""Seconds between two times of forgetting what is older than the retention."""


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
        store: ServiceStore,
        outcome_cache: OutcomeCache,
        calls: SagaCalls | None = None,
        grace: Grace | None = None,
        random: Random | None = None,
        default_claims: Mapping[str, ClaimValue] = NO_CLAIMS,
    ) -> None:
        self.service = service
        self.is_open = True
        """Calls reach it, even if it only turns them away because it is draining."""
        self._methods = {**methods, CLAIM_PATH: CLAIM_METHOD}
        self._clock = clock
        self._store = store
        self._context = DeliveryContext(
            store,
            Attempts(store, self._run_apart, random),
            outcome_cache,
            schema,
            domain,
            calls,
            default_claims=default_claims,
        )
        self._spawned: set[asyncio.Task[Any]] = set()
        self._grace = grace
        self._under_way: set[UnderWay] = set()
        """Calls, and what outlives them."""
        self._is_draining = False
        self._is_drained = asyncio.Event()
        """No call is under way, and none is taken any more."""

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
        hold_limit_s: float = HOLD_LIMIT_S,
        redis: RedisAddress | None = None,
        sagas: Iterable[Saga] | None = None,
        grace: Grace | None = None,
        default_claims: Mapping[str, ClaimValue] = NO_CLAIMS,
        keys: KeyWrapper | None = None,
    ) -> AsyncGenerator["ServiceHost"]:
        """Own `<data_dir>/<service>.db` and answer calls until the block is left, which drains first.

        `sagas` are those of the contract: no saga's call is taken that none of them makes. `default_claims` are the
        claims that the contract names: handlers are told no others.
        Raises DatabaseError (locked, too new, an SQL file that fails) or ServiceIncomplete before anything is answered.
        """
        clock = clock or SystemClock()
        store = SqliteStore.open(
            data_dir / f"{service.name}.db",
            Scripts.read(root / service.schema),
            clock,
            retention_s=service.barrier_retention_s,
            hold_limit_s=hold_limit_s,
            keys=keys,
        )
        host = cls.on(
            store,
            service,
            handlers,
            project=project,
            schema=schema,
            clock=clock,
            drain_s=drain_s,
            redis=redis,
            sagas=sagas,
            grace=grace,
            default_claims=default_claims,
            is_encrypted=keys is not None,
        )
        async with host as opened:
            yield opened

    @classmethod
    @asynccontextmanager
    async def on(
        cls,
        store_opened: AbstractAsyncContextManager[ServiceStore],
        service: Service,
        handlers: object,
        *,
        project: str,
        schema: Schema,
        clock: Clock,
        drain_s: float = DRAIN_S,
        redis: RedisAddress | None = None,
        sagas: Iterable[Saga] | None = None,
        grace: Grace | None = None,
        random: Random | None = None,
        default_claims: Mapping[str, ClaimValue] = NO_CLAIMS,
        is_encrypted: bool = False,
    ) -> AsyncGenerator["ServiceHost"]:
        """As `open`, on this store, which is entered once the handlers are known to be whole."""
        methods = bind(service, handlers, schema)
        async with (
            store_opened as store,
            OutcomeCache.open(
                project, service.name, store.identity, redis, is_encrypted=is_encrypted
            ) as outcome_cache,
        ):
            store.report_commits(outcome_cache.remember)
            store.report_loss(outcome_cache.forget_all)
            host = cls(
                service,
                methods,
                domain=f"{service.name}.{project}",
                schema=schema,
                clock=clock,
                store=store,
                outcome_cache=outcome_cache,
                calls=None if sagas is None else SagaCalls(sagas),
                grace=grace,
                random=random,
                default_claims=default_claims,
            )
            host.spawn(host._purge_regularly())
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
    def paths(self) -> tuple[str, ...]:
        """Of its contract's rpcs: `/shop.order.v1.OrderService/CreateOrder`."""
        return tuple(path for path in self._methods if path != CLAIM_PATH)

    async def drain(self, grace_s: float = DRAIN_S) -> None:
        """Turn new calls away with UNAVAILABLE, and wait for those under way, at most `grace_s` seconds."""
        self._is_draining = True
        if not self._under_way:
            self._is_drained.set()
        at_most_s = min(grace_s, self._grace.left_s(CLOSE_S)) if self._grace else grace_s
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._is_drained.wait()

    async def check(self) -> str:
        """What is wrong with the service, in a few words; empty if it takes calls and can write its database."""
        if self._is_draining:
            return "it is stopping"
        return await self._store.check()

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

        `timeout_s` is what the handler may see; the transport ends a call that is late by cancelling it. Cancelling
        ends the handler; what it has decided already is committed all the same.
        """
        bound = self._methods.get(path)
        if bound is None and path != DATABASE_PATH:
            raise RpcError(Code.UNIMPLEMENTED, f"service {self.service.name} has no rpc {path}")
        if self._is_draining:
            message = f"service {self.service.name} is stopping"
            raise RpcError(Code.UNAVAILABLE, message, reason=STOPPING, domain=DOMAIN)
        if bound is None:
            return Reply(self._store.identity.shared.encode())
        call = ObservedCall(self.service.name, path, metadata)
        self._under_way.add(call)
        try:
            with call as observed:
                limit_s = DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s
                delivery = Delivery.parse(
                    self._context,
                    bound,
                    request,
                    metadata,
                    deadline=Deadline(self._clock, self._clock.monotonic_s() + limit_s),
                    trace=observed.trace,
                )
                observed.saga = delivery.saga
                answer = delivery.read() if bound.method.is_read else delivery.write()
                return _reply(await (_in_time(answer) if timeout_s is None else answer))
        except RpcError:
            raise
        except BaseException as error:
            if is_cancelled(error):
                raise
            _logger.error("a call failed outside its handler", rpc=path, exc_info=as_logged(error))
            raise RpcError(Code.INTERNAL, "the service failed; its log says why") from error
        finally:
            self._end_call(call)

    def _run_apart(self, work: Coroutine[Any, Any, None], call: BarredCall) -> None:
        """Run what outlives the rpc that began it; draining waits for it all the same."""
        apart = CallApart(self.service.name, call)
        self._under_way.add(apart)
        self.spawn(work).add_done_callback(lambda _: self._end_call(apart))

    def _end_call(self, call: UnderWay) -> None:
        self._under_way.discard(call)
        if self._is_draining and not self._under_way:
            self._is_drained.set()

    async def _purge_regularly(self) -> None:
        while True:
            await self._store.purge()
            await asyncio.sleep(PURGE_EVERY_S)

    async def _close(self) -> None:
        self.is_open = False
        for task in self._spawned:
            task.cancel()
        if self._spawned:
            await asyncio.wait(self._spawned, timeout=CANCELLED_S)
        for call in self._under_way:
            _logger.error("a handler goes on though it was cancelled; it is left behind", **call.about())


async def _in_time(answer: Awaitable[CallResult]) -> CallResult:
    """For a caller that set no deadline, and so has a transport that ends no call."""
    try:
        async with asyncio.timeout(DEFAULT_TIMEOUT_S):
            return await answer
    except TimeoutError as error:
        raise RpcError(Code.DEADLINE_EXCEEDED, f"took longer than {DEFAULT_TIMEOUT_S:g} s") from error


def _reply(result: CallResult) -> Reply:
    if result.error is None:
        return Reply(result.response, {REPLAYED: "true"} if result.is_replay else {})
    if result.is_replay:
        # Errors have no trailers of their own in the transport's terms; so it stands in their ErrorInfo.
        result.error.metadata[REPLAYED] = "true"
    raise result.error
