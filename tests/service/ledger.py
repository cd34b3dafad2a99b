"""A small service to try the runtime on: a ledger whose handlers do what a test tells them."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import betterproto2
from small_mesh import method, saga_call, schema_of
from waiting import LIMIT_S

from sagagen.runtime.addresses import RedisAddress
from sagagen.runtime.clock import Clock
from sagagen.runtime.model.definition import Direction, Saga, Service, Transaction
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.service.host import ServiceHost


@dataclass(eq=False, repr=False)
class PutRequest(betterproto2.Message):
    name: str = betterproto2.field(1, betterproto2.TYPE_STRING)
    amount: int = betterproto2.field(2, betterproto2.TYPE_INT32)
    padding: bytes = betterproto2.field(3, betterproto2.TYPE_BYTES)


@dataclass(eq=False, repr=False)
class PutResponse(betterproto2.Message):
    total: int = betterproto2.field(1, betterproto2.TYPE_INT64)
    note: str = betterproto2.field(2, betterproto2.TYPE_STRING)
    padding: bytes = betterproto2.field(3, betterproto2.TYPE_BYTES)


@dataclass(eq=False, repr=False)
class Nothing(betterproto2.Message):
    pass


NAME = "lab.v1.LedgerService"
PUT = method("Put", PutRequest, PutResponse, of=NAME)
UNDO = method("Undo", PutRequest, PutResponse, of=NAME)
GET = method("Get", Nothing, PutResponse, of=NAME, is_read=True)
CHARGE = method("Charge", PutRequest, PutResponse, of=NAME, transaction=Transaction.MANUAL)
REFUND = method("Refund", PutRequest, PutResponse, of=NAME, transaction=Transaction.MANUAL)
SERVICE = Service(
    "ledger", 50051, "handlers.ledger:Ledger", "handlers/ledger.sql", (PUT, UNDO, GET, CHARGE, REFUND)
)
SCHEMA = schema_of(SERVICE, below={"PutRequest.amount": 1_000_000})
SQL = (
    "CREATE TABLE IF NOT EXISTS entries (name TEXT NOT NULL, amount INTEGER NOT NULL, UNIQUE (name, amount))"
)

Body = Callable[[PutRequest, CallContext], Awaitable[PutResponse]]


async def insert(request: PutRequest, call: CallContext) -> PutResponse:
    await call.db.execute("INSERT INTO entries VALUES (?, ?)", (request.name, request.amount))
    return PutResponse(total=await total(call))


async def delete(request: PutRequest, call: CallContext) -> PutResponse:
    await call.db.execute("DELETE FROM entries WHERE name = ?", (request.name,))
    return PutResponse(total=await total(call))


async def charge(request: PutRequest, call: CallContext) -> PutResponse:
    await call.begin()
    return await insert(request, call)


async def refund(request: PutRequest, call: CallContext) -> PutResponse:
    await call.begin()
    return await delete(request, call)


async def total(call: CallContext) -> int:
    rows = await call.db.fetch("SELECT coalesce(sum(amount), 0) AS total FROM entries")
    return rows[0]["total"]


class Ledger:
    """Handlers; tests replace their bodies and count how often they ran."""

    def __init__(self) -> None:
        self.puts = 0
        self.on_put: Body = insert
        self.on_undo: Body = delete
        self.on_charge: Body = charge
        self.on_refund: Body = refund
        self.on_get: Callable[[CallContext], Awaitable[PutResponse]] | None = None

    async def put(self, request: PutRequest, call: CallContext) -> PutResponse:
        self.puts += 1
        return await self.on_put(request, call)

    async def undo(self, request: PutRequest, call: CallContext) -> PutResponse:
        return await self.on_undo(request, call)

    async def charge(self, request: PutRequest, call: CallContext) -> PutResponse:
        return await self.on_charge(request, call)

    async def refund(self, request: PutRequest, call: CallContext) -> PutResponse:
        return await self.on_refund(request, call)

    async def get(self, request: Nothing, call: CallContext) -> PutResponse:
        return await self.on_get(call) if self.on_get else PutResponse(total=await total(call))


@asynccontextmanager
async def running(
    folder: Path,
    ledger: Ledger,
    *,
    project: str = "lab",
    clock: Clock | None = None,
    drain_s: float = 5.0,
    hold_limit_s: float = 60.0,
    redis_url: str = "",
    sagas: Sequence[Saga] | None = None,
) -> AsyncGenerator[ServiceHost]:
    """The service, with its data in `folder`. A handler may take as long as a busy machine lets it."""
    (folder / "handlers").mkdir(exist_ok=True)
    (folder / "handlers" / "ledger.sql").write_text(SQL)
    async with ServiceHost.open(
        SERVICE,
        ledger,
        project=project,
        schema=SCHEMA,
        data_dir=folder / "var",
        root=folder,
        clock=clock,
        drain_s=drain_s,
        hold_limit_s=hold_limit_s,
        redis=RedisAddress.at(redis_url) if redis_url else None,
        sagas=sagas,
    ) as host:
        yield host


def put(name: str = "a", amount: int = 1, padding: bytes = b"") -> bytes:
    return bytes(PutRequest(name=name, amount=amount, padding=padding))


def database_in(folder: Path) -> Path:
    """Where `running` keeps it."""
    return folder / "var" / f"{SERVICE.name}.db"


ACT, UNDO_CALL = saga_call(), saga_call(direction=Direction.COMPENSATION)


@dataclass
class RunningLedger:
    """A ledger, called as an engine calls it, and its database."""

    host: ServiceHost
    ledger: Ledger
    database: Path

    async def act(self, call: SagaCall = ACT, request: bytes = b"") -> Reply:
        return await self.host.handle(PUT.path, request or put(), call.to_metadata(), LIMIT_S)

    async def undo(
        self, call: SagaCall = UNDO_CALL, path: str = UNDO.path, timeout_s: float = LIMIT_S
    ) -> Reply:
        return await self.host.handle(path, put(), call.to_metadata(), timeout_s)

    async def direct(self, key: str = "", request: bytes = b"") -> Reply:
        metadata = {"idempotency-key": key} if key else {}
        return await self.host.handle(PUT.path, request or put(), metadata, LIMIT_S)

    async def total(self) -> int:
        return PutResponse.parse((await self.host.handle(GET.path, b"", {}, LIMIT_S)).response).total

    def states(self) -> dict[tuple[str, str], str]:
        rows = self.query("SELECT step, direction, state FROM sagagen_barrier")
        return {(step, direction): state for step, direction, state in rows}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement behind the service's back."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(sql).fetchall()


class Turnstile:
    """A handler body that stops in its middle until the test lets it go on."""

    def __init__(self, body: Body = insert) -> None:
        self.entered = asyncio.Event()
        self.released = asyncio.Event()
        self.was_cancelled = asyncio.Event()
        self._body = body

    async def __call__(self, request: PutRequest, call: CallContext) -> PutResponse:
        try:
            response = await self._body(request, call)
            self.entered.set()
            await self.released.wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        return response
