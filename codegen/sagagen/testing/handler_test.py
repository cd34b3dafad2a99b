"""`handler_test`: one service's handlers on their real store, in memory and on virtual time.

    async with handler_test(InventoryService) as t:
        await t.call(InventoryService.reserve_stock, ReserveStockRequest(...), saga="1")
        assert t.database.rows("SELECT quantity FROM reservations") == [{"quantity": 2}]

The barrier is the real one: what a saga calls again is answered from its record, and an action that comes after its
compensation is turned down.
"""

import asyncio
import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, cast

from betterproto2 import Message

from sagagen.runtime.clock import Grace
from sagagen.runtime.engine.embedded import GRACE_S
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction, Mesh, Method, Service, StepKind
from sagagen.runtime.model.security import ClaimValue
from sagagen.runtime.rpc.caller_claims import NO_CLAIMS, canonical
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import IDEMPOTENCY_KEY, SagaCall, caller_metadata
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.service.sqlite_store.sql_files import Scripts
from sagagen.runtime.service.sqlite_store.store import SqliteStore
from sagagen.runtime.transports.memory import MemoryTransport
from sagagen.testing.databases import MemoryDatabases, TestDatabase
from sagagen.testing.durations import Duration, seconds
from sagagen.testing.log_lines import noted
from sagagen.testing.mistakes import TestMistake, unknown
from sagagen.testing.virtual_time import Life, VirtualClock, running_virtual_loop

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

TIMEOUT_S = 2.0
"""What a call may take in seconds, unless the test says otherwise."""

_RAISED: ContextVar[list[Exception] | None] = ContextVar("raised", default=None)
"""What the handler of a call raised, for whoever makes the call."""


class _Place(NamedTuple):
    """Where a saga calls an rpc."""

    step: str
    kind: StepKind
    direction: Direction


class HandlerTest:
    """Made by `handler_test`."""

    def __init__(self, mesh: Mesh, service: Service, handlers: object, seed: int) -> None:
        loop = running_virtual_loop("handler_test")
        self.service = service
        self.handlers = handlers
        """The instance whose methods run."""
        self.runs = 0
        """How often a handler has begun; a repeat that the barrier answers does not count."""
        self._mesh = mesh
        self._methods = {method.handler: method for method in service.methods}
        self._schema = Schema(mesh.descriptors.read_bytes())
        self._clock = VirtualClock(loop)
        self._databases = MemoryDatabases()
        self._random = Random(f"{seed}/{service.name}")
        self._started_ms: dict[str, int] = {}
        self.logged: list[str] = []
        """Log lines, with their level."""
        self._stack = AsyncExitStack()
        self._transport: MemoryTransport | None = None

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and self.logged:
            error.add_note("\n".join(["what was logged:", *self.logged]))
        try:
            await self._stack.aclose()
        finally:
            self._databases.close()

    async def _open(self) -> None:
        service = self.service
        store = SqliteStore.on(
            self._databases.of(Life(1), service.name),
            Path("/sagagen-in-memory") / f"{service.name}.db",
            Scripts.read(self._mesh.root / service.schema),
            self._clock,
            retention_s=service.barrier_retention_s,
        )
        self._stack.enter_context(noted(self._logged))
        host = ServiceHost.on(
            store,
            service,
            _Recorded(self, self.handlers),
            project=self._mesh.project,
            schema=self._schema,
            clock=self._clock,
            sagas=self._mesh.sagas,
            default_claims=self._mesh.default_claims,
            grace=Grace(GRACE_S, self._clock.monotonic_s),
            random=self._random,
        )
        self._transport = MemoryTransport(await self._stack.enter_async_context(host))

    def _logged(self, level: str, line: str, traceback: str) -> None:
        if level != "debug":
            self.logged.append(f"{level}: {line}")

    async def restart(self) -> None:
        """Close the service and open it again, on the same database."""
        await self._stack.aclose()
        await self._open()

    async def skip(self, span: Duration) -> None:
        """Let so much virtual time pass."""
        await asyncio.sleep(seconds(span))

    @property
    def database(self) -> TestDatabase:
        """What is committed: `t.database.rows("SELECT ...")`."""
        return self._databases[self.service.name]

    async def call(
        self,
        method: Callable[[Any, RequestT, Any], Awaitable[ResponseT]],
        request: RequestT,
        *,
        saga: str = "",
        step: str = "",
        item: str = "",
        attempt: int = 1,
        key: str = "",
        caller: str = "",
        claims: Mapping[str, ClaimValue] = NO_CLAIMS,
        within: Duration = TIMEOUT_S,
    ) -> ResponseT:
        """Call the service, and return the handler's response, once that is committed.

        `method` is one of the handler class: `InventoryService.reserve_stock`. With `saga`, any name, the call is that
        saga's: its action or its compensation at the step of the contract that calls this rpc. `step` says which one,
        where several do; `item` is the key, in a loop. Without `saga` it is a direct call, which the barrier knows by
        its idempotency key `key`, if it has one. `caller` and `claims` say on whose behalf.

        Raises what the handler raises; RpcError for what the runtime says by itself: a repeat of a refusal, a request
        that breaks a rule, an action after its compensation, a handler that takes longer than `within`.
        """
        found = self._method(method)
        timeout_s = seconds(within)
        told = self._told(claims)
        metadata = caller_metadata(caller, told)
        if saga:
            place = self._place(found, step)
            metadata |= (
                self._saga_call(place, saga, item, attempt, timeout_s)
                ._replace(caller=caller, claims=told)
                .to_metadata()
            )
        elif key:
            metadata[IDEMPOTENCY_KEY] = key
        return cast(ResponseT, await self._sent(found, request, metadata, timeout_s))

    async def _sent(
        self, method: Method[Any, Any], request: Message, metadata: dict[str, str], timeout_s: float
    ) -> Message:
        assert self._transport, "it is open"
        raised: list[Exception] = []
        token = _RAISED.set(raised)
        try:
            reply = await self._transport.call(
                method.path, bytes(request), metadata=metadata, timeout_s=timeout_s
            )
        except RpcError:
            if raised:
                raise raised[-1] from None
            raise
        finally:
            _RAISED.reset(token)
        return method.response.parse(reply.response)

    def _method(self, method: Callable[..., object]) -> Method[Any, Any]:
        name = getattr(method, "__name__", str(method))
        if name not in self._methods:
            raise unknown(
                f"rpc of service {self.service.name}, as its handler's method,", name, self._methods
            )
        return self._methods[name]

    def _place(self, method: Method[Any, Any], step: str) -> _Place:
        places = list(dict.fromkeys(self._places(method)))
        if not places:
            raise TestMistake(f"no saga calls {method.handler}: leave out `saga`, it is called directly")
        found = [place for place in places if step in ("", place.step)]
        if not found:
            raise unknown(f"step that calls {method.handler}", step, (place.step for place in places))
        if len(found) > 1:
            steps = ", ".join(place.step for place in found)
            raise TestMistake(f"several steps call {method.handler}: say which by `step`, one of {steps}")
        return found[0]

    def _places(self, method: Method[Any, Any]) -> Iterator[_Place]:
        for step in (step for saga in self._mesh.sagas for step in saga.calls):
            if step.action.method.path == method.path:
                yield _Place(step.name, step.kind, Direction.ACTION)
            if step.compensation and step.compensation.method.path == method.path:
                yield _Place(step.name, step.kind, Direction.COMPENSATION)

    def _saga_call(self, place: _Place, saga: str, item: str, attempt: int, timeout_s: float) -> SagaCall:
        now_ms = self._clock.wall_ms()
        return SagaCall(
            saga_id=saga,
            run="0" * 16,
            started_ms=self._started_ms.setdefault(saga, now_ms),
            step=f"{place.step}[{item}]" if item else place.step,
            kind=place.kind,
            direction=place.direction,
            attempt=attempt,
            not_after_ms=now_ms + round(timeout_s * 1000),
        )

    def _told(self, claims: Mapping[str, ClaimValue]) -> str:
        known = self._mesh.default_claims
        for name, value in claims.items():
            if name not in known:
                raise unknown("claim", name, known)
            if type(value) is not type(known[name]):
                raise TestMistake(f"the claim {name} is a {type(known[name]).__name__}, not {value!r}")
        return canonical(claims)


def handler_test(
    handlers: type[Any] | object, *, mesh: Mesh | None = None, service: str = "", seed: int = 0
) -> HandlerTest:
    """Test one service's handlers: `async with handler_test(InventoryService) as t`, on virtual time.

    `handlers` is the class, or an instance of it. The service is the one whose base class it extends; for a class that
    extends none, say `mesh` and `service`. Raises TestMistake where that can't be told, ServiceIncomplete for a class
    that lacks a method, NotOnVirtualTime on a loop that is not virtual.
    """
    instance: object = handlers() if isinstance(handlers, type) else handlers
    if mesh is None:
        mesh, found = _generated(instance.__class__)
        return HandlerTest(mesh, found, instance, seed)
    known = {each.name: each for each in mesh.services}
    if service not in known:
        raise unknown("service", service, known)
    return HandlerTest(mesh, known[service], instance, seed)


def _generated(kind: type) -> tuple[Mesh, Service]:
    """The mesh and the service that the class's base was generated for."""
    for base in kind.__mro__:
        package, dot, _ = base.__module__.partition(".services.")
        service = getattr(sys.modules[base.__module__], "SERVICE", None)
        if dot and isinstance(service, Service):
            return cast(Mesh, importlib.import_module(f"{package}.mesh").MESH), service
    raise TestMistake(
        f"{kind.__name__} extends no class of generated.services: say `handler_test({kind.__name__}, mesh=MESH, "
        'service="...")`'
    )


class _Recorded:
    """The handlers, with a note of what they raise."""

    def __init__(self, test: HandlerTest, handlers: object) -> None:
        for method in test.service.methods:
            handler = getattr(handlers, method.handler, None)
            # What can't be a handler is left for the service's start to refuse.
            if inspect.iscoroutinefunction(handler):
                setattr(self, method.handler, _recorded(test, handler))


def _recorded(
    test: HandlerTest, handler: Callable[[Any, Any], Awaitable[Any]]
) -> Callable[[Any, Any], Awaitable[Any]]:
    async def handle(request: Any, call: Any) -> Any:
        test.runs += 1
        try:
            return await handler(request, call)
        except Exception as error:
            if (raised := _RAISED.get()) is not None:
                raised.append(error)
            raise

    return handle
