"""A small service to try the runtime on: a ledger whose handlers do what a test tells them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import betterproto2
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    field_mask_pb2,
    message_factory,
    timestamp_pb2,
)
from protovalidate._gen.buf.validate import validate_pb

from sagagen.runtime.clock import Clock
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction, Method, Service, StepKind, Transaction
from sagagen.runtime.rpc.metadata import SagaCall
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


def _method(
    name: str,
    request: type[betterproto2.Message],
    *,
    is_read: bool = False,
    transaction: Transaction = Transaction.LOCAL,
) -> Method[Any, PutResponse]:
    return Method(
        path=f"/lab.v1.LedgerService/{name}",
        request=request,
        response=PutResponse,
        handler=name.lower(),
        request_name=f"lab.v1.{request.__name__}",
        response_name="lab.v1.PutResponse",
        is_read=is_read,
        transaction=transaction,
    )


PUT = _method("Put", PutRequest)
UNDO = _method("Undo", PutRequest)
GET = _method("Get", Nothing, is_read=True)
CHARGE = _method("Charge", PutRequest, transaction=Transaction.MANUAL)
REFUND = _method("Refund", PutRequest, transaction=Transaction.MANUAL)
SERVICE = Service(
    "ledger", 50051, "handlers.ledger:Ledger", "handlers/ledger.sql", (PUT, UNDO, GET, CHARGE, REFUND)
)
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


def lab_schema() -> Schema:
    """`PutRequest.amount` must be below 1,000,000; nothing else has rules."""
    rules = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    found = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(found.file.add())
    found.file.append(rules)
    found.file.append(_ledger_file(found))
    return Schema(found.SerializeToString())


def _ledger_file(imports: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorProto:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="lab/v1/ledger.proto",
        package="lab.v1",
        syntax="proto3",
        dependency=["buf/validate/validate.proto"],
    )
    shapes = {
        "PutRequest": {"name": field.TYPE_STRING, "amount": field.TYPE_INT32, "padding": field.TYPE_BYTES},
        "PutResponse": {"total": field.TYPE_INT64, "note": field.TYPE_STRING, "padding": field.TYPE_BYTES},
        "Nothing": {},
    }
    for name, fields in shapes.items():
        message = file.message_type.add(name=name)
        for number, (field_name, kind) in enumerate(fields.items(), 1):
            message.field.add(name=field_name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    file.message_type[0].field[1].options.MergeFromString(_below_a_million(imports))
    service = file.service.add(name="LedgerService")
    for method in SERVICE.methods:
        name = method.path.rpartition("/")[2]
        service.method.add(
            name=name, input_type=f".{method.request_name}", output_type=f".{method.response_name}"
        )
    return file


def _below_a_million(imports: descriptor_pb2.FileDescriptorSet) -> bytes:
    pool = descriptor_pool.DescriptorPool()
    for file in imports.file:
        pool.Add(file)
    options: Any = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("google.protobuf.FieldOptions")
    )()
    rules: Any = pool.FindExtensionByName("buf.validate.field")
    options.Extensions[rules].int32.lt = 1_000_000
    return options.SerializeToString()


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
) -> AsyncGenerator[ServiceHost]:
    """The service, with its data in `folder`. A handler may take as long as a busy machine lets it."""
    (folder / "handlers").mkdir(exist_ok=True)
    (folder / "handlers" / "ledger.sql").write_text(SQL)
    async with ServiceHost.open(
        SERVICE,
        ledger,
        project=project,
        schema=lab_schema(),
        data_dir=folder / "var",
        root=folder,
        clock=clock,
        drain_s=drain_s,
        hold_limit_s=hold_limit_s,
        redis_url=redis_url,
    ) as host:
        yield host


@dataclass
class StoppedClock:
    """Time that a test moves by hand."""

    ms: int = 1_000_000

    def wall_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


LATER_MS = 4_102_444_800_000
"""1 January 2100."""


def saga_call(
    step: str = "put",
    direction: Direction = Direction.ACTION,
    *,
    saga: str = "saga-1",
    run: str = "run-1",
    kind: StepKind = StepKind.COMPENSATABLE,
    started_ms: int = 1_000,
    attempt: int = 1,
    not_after_ms: int = LATER_MS,
) -> SagaCall:
    return SagaCall(saga, run, started_ms, step, kind, direction, attempt, not_after_ms)


def put(name: str = "a", amount: int = 1, padding: bytes = b"") -> bytes:
    return bytes(PutRequest(name=name, amount=amount, padding=padding))


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
