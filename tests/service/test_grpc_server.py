"""gRPC beyond single calls: health, reflection, connections that come and go, stopping."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpclib.client import Channel
from grpclib.const import Status as Code
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1 import reflection_grpc, reflection_pb2
from grpclib.reflection.v1alpha import reflection_grpc as alpha_grpc
from grpclib.reflection.v1alpha import reflection_pb2 as alpha_pb2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, TrailersReceived
from ledger import PUT, SCHEMA, Ledger, Turnstile, insert, put, running
from service_proxy import proxied
from waiting import LIMIT_S, eventually_async

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.startup import PortTaken
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.grpc.server import serve_grpc


@dataclass
class Served:
    host: ServiceHost
    ledger: Ledger
    port: int


@asynccontextmanager
async def served(folder: Path, port: int = 0) -> AsyncGenerator[Served]:
    ledger = Ledger()
    async with running(folder, ledger) as host, serve_grpc(host, "127.0.0.1", port, SCHEMA) as bound:
        yield Served(host, ledger, bound)


async def call(transport: GrpcTransport, name: str = "a") -> bytes:
    return (await transport.call(PUT.path, put(name), metadata={}, timeout_s=LIMIT_S)).response


async def test_nobody_listening_is_unavailable_until_somebody_does(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with GrpcTransport("127.0.0.1", port) as transport:
        with pytest.raises(RpcError) as error:
            await call(transport)
        assert error.value.code is Code.UNAVAILABLE
        assert f"127.0.0.1:{port}" in error.value.message
        async with served(tmp_path, port):
            await call(transport)


async def test_a_request_is_one_packet_and_so_is_its_answer(tmp_path: Path):
    async with (
        served(tmp_path) as at,
        proxied(at.port) as proxy,
        GrpcTransport("127.0.0.1", proxy.port) as transport,
    ):

        async def packets_of_a_call() -> int:
            before = proxy.packets
            await call(transport, f"n{before}")
            return proxy.packets - before

        await eventually_async("settings to be exchanged", packets_of_a_call, lambda packets: packets == 2)
        assert {await packets_of_a_call() for _ in range(20)} == {2}


async def test_one_connection_serves_all_calls_and_a_lost_one_is_made_again(tmp_path: Path):
    async with (
        served(tmp_path) as at,
        proxied(at.port) as proxy,
        GrpcTransport("127.0.0.1", proxy.port) as transport,
    ):
        await asyncio.gather(*(call(transport, f"n{n}") for n in range(10)))
        assert proxy.connections == 1
        at.ledger.on_put = stuck = Turnstile()
        lost = asyncio.create_task(call(transport, "lost"))
        await stuck.entered.wait()
        await proxy.cut()
        with pytest.raises(RpcError):
            await lost
        at.ledger.on_put = insert
        await call(transport, "again")
        assert proxy.connections == 2


@pytest.mark.parametrize("requests_before", [0, 1])
async def test_metadata_may_be_utf_8_and_nothing_else(tmp_path: Path, requests_before: int):
    async with served(tmp_path) as at, raw_client(at.port) as client:
        for _ in range(requests_before):
            assert ("grpc-status", "0") in trailers(await client.call(b"plain"))
        assert ("grpc-status", "0") in trailers(await client.call("möglich".encode()))
        assert [
            event.error_code
            for event in await client.call(b"\xff")
            if isinstance(event, ConnectionTerminated)
        ] == [ErrorCodes.PROTOCOL_ERROR]
        assert await client.reader.read() == b""


@dataclass
class RawClient:
    """HTTP/2 that sends what no gRPC library would."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    h2: H2Connection
    stream_id: int = -1

    async def call(self, note: bytes) -> list[Event]:
        """`Put` with metadata of that value; all events until it, or the connection, ends."""
        self.stream_id += 2
        header = {
            ":method": "POST",
            ":scheme": "http",
            ":path": PUT.path,
            ":authority": "a",
            "te": "trailers",
        }
        named = [(name.encode(), value.encode()) for name, value in header.items()]
        named += [(b"content-type", b"application/grpc+proto"), (b"note", note)]
        self.h2.send_headers(self.stream_id, named)
        message = put(f"n{self.stream_id}")
        self.h2.send_data(self.stream_id, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
        events: list[Event] = []
        while not any(isinstance(event, TrailersReceived | ConnectionTerminated) for event in events):
            self.writer.write(self.h2.data_to_send())
            data = await asyncio.wait_for(self.reader.read(65536), LIMIT_S)
            assert data, "the connection was closed without GOAWAY"
            events += self.h2.receive_data(data)
        return events


@asynccontextmanager
async def raw_client(port: int) -> AsyncGenerator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        h2.initiate_connection()
        yield RawClient(reader, writer, h2)
    finally:
        writer.close()


def trailers(events: list[Event]) -> list[tuple[str, str]]:
    """Of the answer."""
    return [header for event in events if isinstance(event, TrailersReceived) for header in event.headers]  # pyright: ignore


async def test_a_closed_transport_does_not_connect_again(tmp_path: Path):
    async with served(tmp_path) as at:
        async with GrpcTransport("127.0.0.1", at.port) as transport:
            await call(transport)
        with pytest.raises(RpcError) as error:
            await call(transport)
        assert error.value.code is Code.UNAVAILABLE


async def test_stopping_lets_calls_end_and_turns_new_ones_away(tmp_path: Path):
    stopping = asyncio.Event()
    ports: asyncio.Queue[Served] = asyncio.Queue()

    async def serve() -> None:
        async with served(tmp_path) as at:
            ports.put_nowait(at)
            await stopping.wait()

    server = asyncio.create_task(serve())
    at = await ports.get()
    at.ledger.on_put = under_way = Turnstile()
    async with GrpcTransport("127.0.0.1", at.port) as transport:
        first = asyncio.create_task(call(transport, "first"))
        await under_way.entered.wait()
        stopping.set()
        await at.host.drain(0.0)  # as leaving the block does, which has not begun yet
        with pytest.raises(RpcError) as error:
            await call(transport, "second")
        assert error.value.code is Code.UNAVAILABLE
        under_way.released.set()
        assert await first
        await asyncio.wait_for(server, LIMIT_S)  # though the client keeps its connection


async def test_a_taken_port_is_named(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with running(tmp_path, Ledger()) as host:
            with pytest.raises(PortTaken, match=str(port)):
                await serve_grpc(host, "127.0.0.1", port, SCHEMA).__aenter__()


async def test_health_is_told_for_each_service_and_for_all(tmp_path: Path):
    async with served(tmp_path) as at, Channel("127.0.0.1", at.port) as channel:
        for name in ("", "lab.v1.LedgerService"):
            answer = await HealthStub(channel).Check(HealthCheckRequest(service=name))
            assert answer.status == HealthCheckResponse.SERVING


async def test_reflection_lists_and_describes_the_contract(tmp_path: Path):
    request = reflection_pb2.ServerReflectionRequest
    async with served(tmp_path) as at, Channel("127.0.0.1", at.port) as channel:
        stub = reflection_grpc.ServerReflectionStub(channel)
        listed, by_symbol, imported, health, missing = await stub.ServerReflectionInfo(
            [
                request(list_services=""),
                request(file_containing_symbol="lab.v1.LedgerService"),
                request(file_by_filename="buf/validate/validate.proto"),
                request(file_containing_symbol="grpc.health.v1.Health"),
                request(file_containing_symbol="lab.v1.Missing"),
            ]
        )
    names = [service.name for service in listed.list_services_response.service]
    assert names == ["lab.v1.LedgerService", "grpc.health.v1.Health"]
    assert _file(by_symbol).name == "lab/v1/LedgerService.proto"
    assert [method.name for method in _file(by_symbol).service[0].method] == [
        "Put",
        "Undo",
        "Get",
        "Charge",
        "Refund",
    ]
    assert _file(imported).package == "buf.validate"
    assert _file(health).package == "grpc.health.v1"
    assert missing.error_response.error_code == Code.NOT_FOUND.value


async def test_reflection_speaks_its_older_version_too(tmp_path: Path):
    async with served(tmp_path) as at, Channel("127.0.0.1", at.port) as channel:
        stub = alpha_grpc.ServerReflectionStub(channel)
        (listed,) = await stub.ServerReflectionInfo([alpha_pb2.ServerReflectionRequest(list_services="")])
    assert "lab.v1.LedgerService" in [service.name for service in listed.list_services_response.service]


def _file(response: reflection_pb2.ServerReflectionResponse) -> descriptor_pb2.FileDescriptorProto:
    (encoded,) = response.file_descriptor_response.file_descriptor_proto
    return descriptor_pb2.FileDescriptorProto.FromString(encoded)
