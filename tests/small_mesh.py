"""Small meshes: services, methods and sagas made in a test, or taken from generated code, and run in this process.

`method`, `step` and `saga` make definitions; `schema_of` the descriptors of services that no proto describes.
`running_services` opens services on their own databases, `running_engine` an engine on its log, `acceptance` is what it
is given. Time is real, or a ManualClock.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, TypedDict, TypeVar, Unpack

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

from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.clock import Clock
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import Acceptance
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import (
    Action,
    Direction,
    Element,
    Mesh,
    Method,
    Respond,
    Retry,
    Saga,
    Service,
    Step,
    StepKind,
    Transaction,
)
from sagagen.runtime.process.project import Project
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.saga.journal import Journal
from sagagen.runtime.saga.logged import SagaRef
from sagagen.runtime.scope import CompensationScope, Scope
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.transports.memory import MemoryTransport

SAGA_ID = "5c0e2f9e-0000-5000-8000-000000000001"
TRACE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
RETRY = Retry(initial_s=0.05, multiplier=2.0, max_s=2.0)
BUDGETED = replace(RETRY, max_s=30.0, give_up_after_s=3600.0)
LATER_MS = 4_102_444_800_000
"""1 January 2100."""

Request = TypeVar("Request", bound=betterproto2.Message)
Response = TypeVar("Response", bound=betterproto2.Message)


@dataclass
class ManualClock:
    """Moves only when a test, or a wait of the engine, moves it."""

    ms: int = 1_700_000_000_000
    """Of the wall; a test may set it alone."""
    monotonic: float = 1000.0

    def wall_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.monotonic

    def advance(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)
        self.monotonic += seconds

    async def sleep(self, seconds: float, wake: asyncio.Event) -> None:
        if not wake.is_set():
            self.advance(seconds)
            await asyncio.sleep(0)


# -- definitions ---------------------------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class Text(betterproto2.Message):
    """The request and the response of whatever needs no others."""

    value: str = betterproto2.field(1, betterproto2.TYPE_STRING)


def text(value: str) -> bytes:
    return bytes(Text(value=value))


def method(
    name: str,
    request: type[Request] = Text,
    response: type[Response] = Text,
    *,
    of: str = "test.v1.TestService",
    is_read: bool = False,
    transaction: Transaction = Transaction.LOCAL,
) -> Method[Request, Response]:
    """`of` is the full name of its service, in whose package the messages are."""
    package = of.rpartition(".")[0]
    return Method(
        path=f"/{of}/{name}",
        request=request,
        response=response,
        handler=name.lower(),
        request_name=f"{package}.{request.__name__}",
        response_name=f"{package}.{response.__name__}",
        is_read=is_read,
        transaction=transaction,
    )


def repeat_input(scope: Scope[Text]) -> Text:
    return Text(value=scope.input.value)


def action(
    name: str,
    request: Callable[[Any], Text] = repeat_input,
    *,
    is_read: bool = False,
    retry: Retry = RETRY,
    service: str = "one",
) -> Action:
    return Action(
        service=service, method=method(name, is_read=is_read), request=request, timeout_s=2.0, retry=retry
    )


def step(
    name: str,
    kind: StepKind = StepKind.COMPENSATABLE,
    *,
    is_compensated: bool = True,
    is_read: bool = False,
    retry: Retry | None = None,
    request: Callable[[Scope[Text]], Text] = repeat_input,
    service: str = "one",
) -> Step:
    """A step `name` that calls the rpc `name`, and is compensated by `undo_name`."""

    def undo(scope: CompensationScope[Text]) -> Text:
        return Text(value=f"{scope.failure.step}:{scope.failure.reason}")

    compensated = is_compensated and kind is StepKind.COMPENSATABLE and not is_read
    chosen = retry or (BUDGETED if kind is StepKind.RETRIABLE else RETRY)
    return Step(
        name=name,
        kind=kind,
        action=action(name, request, is_read=is_read, retry=chosen, service=service),
        compensation=action(f"undo_{name}", undo, retry=BUDGETED, service=service) if compensated else None,
    )


def saga(
    *steps: Element,
    respond_after: str = "completion",
    deadline_s: float = 60.0,
    version: int = 1,
    **more: Any,
) -> Saga:
    """`more` are other fields of a definition: events, cancel, start, index."""

    def body(scope: Scope[Text]) -> Text:
        return Text(value=f"answer to {scope.input.value}")

    return Saga(
        name="place",
        version=version,
        digest="d1",
        trigger=method("Trigger"),
        key="required",
        on_concurrent="conflict",
        retention_s=86400.0,
        deadline_s=deadline_s,
        respond=Respond(after=respond_after, status=201, wait_s=10.0, body=body),
        steps=steps,
        **more,
    )


def usual_saga(**options: object) -> Saga:
    """Two compensatable steps, a pivot and a retriable one."""
    return saga(
        step("one"),
        step("two"),
        step("pivot", StepKind.PIVOT),
        step("after", StepKind.RETRIABLE),
        **options,  # pyright: ignore[reportArgumentType]
    )


def schema_of(service: Service, below: Mapping[str, int] | None = None) -> Schema:
    """Descriptors of a service and its messages, of scalar fields. `below` bounds fields, by `Message.field`."""
    found = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(found.file.add())
    found.file.append(descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary()))
    found.file.append(
        _file_of(service, {name: _less_than(limit, found) for name, limit in (below or {}).items()})
    )
    return Schema(found.SerializeToString())


def _file_of(service: Service, options: Mapping[str, bytes]) -> descriptor_pb2.FileDescriptorProto:
    full_name = service.methods[0].path.split("/")[1]
    package, _, short_name = full_name.rpartition(".")
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{full_name.replace('.', '/')}.proto",
        package=package,
        syntax="proto3",
        dependency=["buf/validate/validate.proto"],
    )
    for message in {kind: None for each in service.methods for kind in (each.request, each.response)}:
        described = file.message_type.add(name=message.__name__)
        for field in dataclasses.fields(message):
            meta = field.metadata["betterproto"]
            added = described.field.add(
                name=field.name, number=meta.number, type=f"TYPE_{meta.proto_type.upper()}"
            )
            added.options.MergeFromString(options.get(f"{message.__name__}.{field.name}", b""))
    rpcs = file.service.add(name=short_name)
    for each in service.methods:
        rpcs.method.add(
            name=each.path.rpartition("/")[2],
            input_type=f".{each.request_name}",
            output_type=f".{each.response_name}",
        )
    return file


def _less_than(limit: int, imports: descriptor_pb2.FileDescriptorSet) -> bytes:
    """The options of an int32 field with `(buf.validate.field).int32.lt`."""
    pool = descriptor_pool.DescriptorPool()
    for file in imports.file:
        pool.Add(file)
    options: Any = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("google.protobuf.FieldOptions")
    )()
    rules: Any = pool.FindExtensionByName("buf.validate.field")
    options.Extensions[rules].int32.lt = limit
    return options.SerializeToString()


# -- calls ---------------------------------------------------------------------------------------------------------


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


def acceptance(
    definition: Saga, saga_id: str = SAGA_ID, input: str | betterproto2.Message = "x"
) -> Acceptance:
    """A request that starts a saga; a text stands for the Text with it."""
    encoded = text(input) if isinstance(input, str) else bytes(input)
    return Acceptance(
        saga=definition,
        saga_id=saga_id,
        caller="anonymous",
        key="key-1",
        fingerprint=sha256(encoded).digest(),
        input=encoded,
        trace=TRACE,
    )


# -- running -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running_services(
    mesh: Mesh, data_dir: Path, handlers: Callable[[Service], object] | None = None
) -> AsyncGenerator[dict[str, Transport]]:
    """The services of a generated mesh on their own databases, and the way to each. By default its own handlers."""
    project, schema = Project(mesh.root, mesh), Schema(mesh.descriptors.read_bytes())
    async with AsyncExitStack() as stack:
        transports: dict[str, Transport] = {}
        for service in mesh.services:
            host = ServiceHost.open(
                service,
                (handlers or project.handlers)(service),
                project=mesh.project,
                schema=schema,
                data_dir=data_dir,
                root=mesh.root,
                default_claims=mesh.default_claims,
            )
            transports[service.name] = MemoryTransport(await stack.enter_async_context(host))
        yield transports


class EngineOptions(TypedDict, total=False):
    """As EmbeddedEngine has them."""

    journal: Journal[SagaRef]
    clock: Clock
    random: Random
    grace_s: float
    max_running: int
    max_running_per_caller: int | None
    calls_per_service: int


@asynccontextmanager
async def running_engine(
    data_dir: Path,
    sagas: Sequence[Saga],
    transports: Mapping[str, Transport],
    **options: Unpack[EngineOptions],
) -> AsyncGenerator[EmbeddedEngine]:
    """An engine on the log in `data_dir`."""
    async with (
        SagaLog.open(data_dir / "saga-log.db") as log,
        EmbeddedEngine(sagas=sagas, log=log, transports=transports, **options) as engine,
    ):
        yield engine


def auditor_of(engine: EmbeddedEngine) -> Auditor:
    """On the engine's own log."""
    log = engine._log  # pyright: ignore[reportPrivateUsage]
    assert isinstance(log, SagaLog)
    return Auditor(log.audit)
