"""Connections whose certificates change: calls under way end well, and what does not work takes no one's place."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from certificates_of import folder_of, new_ca, trust_by
from grpclib.const import Status as Code
from service.ledger import PUT, SCHEMA, SERVICE, Ledger, PutRequest, PutResponse, put, running
from structlog.typing import EventDict
from waiting import LIMIT_S, eventually_async

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.transports.grpc import renewing, tenure
from sagagen.runtime.transports.grpc.client import ClientTls, GrpcTransport
from sagagen.runtime.transports.grpc.renewing import RenewingTransport
from sagagen.runtime.transports.grpc.secured import ServerTls
from sagagen.runtime.transports.grpc.server import serve_grpc
from sagagen.runtime.trust.issuing import DevCa


@pytest.fixture(autouse=True)
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventDict]]:
    monkeypatch.setattr(renewing, "LOOK_S", 0.05)
    with structlog.testing.capture_logs() as lines:
        yield lines


@dataclass
class Mesh:
    ca: DevCa
    folder: Path
    ledger: Ledger
    port: int
    transport: RenewingTransport

    async def put(self, name: str) -> None:
        await self.transport.call(PUT.path, put(name), metadata={}, timeout_s=LIMIT_S)

    def issue(self, name: str, ca: DevCa, *believed: DevCa) -> None:
        folder_of(ca, self.folder / name, name, believed=believed or (self.ca,))

    def gateway_context(self, life: timedelta) -> ssl.SSLContext:
        """Of a gateway that renews nothing."""
        context = folder_of(self.ca, self.folder / "short", "gateway", life=life).read().client
        assert context
        return context


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncGenerator[Mesh]:
    async with opened(tmp_path) as mesh:
        yield mesh


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[Mesh]:
    ca, ledger = new_ca(), Ledger()
    async with (
        trust_by(folder_of(ca, folder / "ledger", "ledger")) as of_ledger,
        trust_by(folder_of(ca, folder / "gateway", "gateway")) as of_gateway,
        running(folder, ledger, drain_s=0.0) as host,
        serve_grpc(
            host,
            "127.0.0.1",
            0,
            SCHEMA,
            tls=ServerTls(of_ledger.certificates, of_ledger.callers(SERVICE)),
        ) as port,
        RenewingTransport("127.0.0.1", port, "ledger", of_gateway) as transport,
    ):
        yield Mesh(ca, folder, ledger, port, transport)


def count(lines: list[EventDict], event: str) -> int:
    return sum(event in line["event"] for line in lines)


async def test_a_call_under_way_ends_on_the_old_connection(mesh: Mesh, log_lines: list[EventDict]) -> None:
    is_there, may_go = asyncio.Event(), asyncio.Event()

    async def wait(request: PutRequest, call: CallContext) -> PutResponse:
        if request.name == "slow":
            is_there.set()
            await may_go.wait()
        return PutResponse()

    mesh.ledger.on_put = wait
    slow = asyncio.create_task(mesh.put("slow"))
    await is_there.wait()
    mesh.issue("gateway", mesh.ca)
    await eventually_async("another connection", lambda: count(log_lines, "calls go by the new certificates"))
    may_go.set()
    await mesh.put("quick")
    await slow


async def test_a_certificate_that_the_service_does_not_take_takes_no_ones_place(
    mesh: Mesh, log_lines: list[EventDict]
) -> None:
    """Somebody changed the CA of the gateway first."""
    await mesh.put("before")
    other = new_ca("another")
    mesh.issue("gateway", other, other, mesh.ca)
    await eventually_async("a try that fails", lambda: count(log_lines, "can't be renewed"))
    for number in range(3):
        await mesh.put(f"meanwhile-{number}")
    mesh.issue("ledger", mesh.ca, mesh.ca, other)
    await eventually_async("another connection", lambda: count(log_lines, "calls go by the new certificates"))
    await mesh.put("after")
    assert count(log_lines, "can't be renewed") == 1


async def test_connections_of_a_certain_age_are_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "RENEW_S", 0.1)
    monkeypatch.setattr(tenure, "MAX_AGE_S", 1.0)
    async with opened(tmp_path) as mesh:
        ends_at = asyncio.get_running_loop().time() + 2.5
        number = 0
        while asyncio.get_running_loop().time() < ends_at:
            await mesh.put(f"{number}")
            number += 1


async def test_a_service_ends_what_is_too_old_and_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a client that renews nothing."""
    monkeypatch.setattr(tenure, "MAX_AGE_S", 0.3)
    async with opened(tmp_path) as mesh:
        context = mesh.gateway_context(timedelta(hours=1))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", mesh.port, ssl=context, server_hostname="ledger"
        )
        await asyncio.wait_for(reader.read(), LIMIT_S)  # until its end
        writer.close()


async def test_calls_after_the_end_of_a_certificate_are_refused_and_those_before_it_are_not(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_there, may_go = asyncio.Event(), asyncio.Event()

    async def wait(request: PutRequest, call: CallContext) -> PutResponse:
        is_there.set()
        await may_go.wait()
        return PutResponse()

    mesh.ledger.on_put = wait
    monkeypatch.setattr(tenure, "EVERY_S", 0.1)
    tls = ClientTls(mesh.gateway_context(timedelta(seconds=30)), "ledger")
    async with GrpcTransport("127.0.0.1", mesh.port, tls) as transport:
        slow = asyncio.create_task(transport.call(PUT.path, put("slow"), metadata={}, timeout_s=LIMIT_S))
        await is_there.wait()
        later_s = tenure.wall_s() + 60
        monkeypatch.setattr(tenure, "wall_s", lambda: later_s)

        async def refusal() -> RpcError | None:
            try:
                await transport.call("/no.Such/Rpc", b"", metadata={}, timeout_s=LIMIT_S)
            except RpcError as error:
                return error if error.code is Code.UNAUTHENTICATED else None
            return None

        error = await eventually_async("a refusal", refusal)
        assert error
        assert "the certificate of spiffe://lab/gateway has expired" in error.message
        may_go.set()
        await slow
