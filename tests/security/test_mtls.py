"""Who may call a service, and which server a gateway talks to: over real gRPC, with every wrong certificate."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from certificates_of import DAY, DOMAIN, folder_of, new_ca, trust_by
from grpclib.const import Status as Code
from service.ledger import PUT, SCHEMA, SERVICE, Ledger, put, running
from structlog.typing import EventDict
from waiting import LIMIT_S, eventually_async

from sagagen.runtime import plain
from sagagen.runtime.process.gateway import service_checks
from sagagen.runtime.rpc.claim import CLAIM_PATH
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.transports.grpc.client import ClientTls, GrpcTransport
from sagagen.runtime.transports.grpc.renewing import RenewingTransport
from sagagen.runtime.transports.grpc.secured import ServerTls
from sagagen.runtime.transports.grpc.server import serve_grpc
from sagagen.runtime.trust import accepting, callers
from sagagen.runtime.trust.issuing import DevCa
from sagagen.runtime.trust.mesh import MeshTrust

HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


@pytest.fixture(autouse=True)
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventDict]]:
    """What is told of one caller is told once a minute, however many tests are."""
    monkeypatch.setattr(accepting, "_warnings", callers.Sparingly())
    with structlog.testing.capture_logs() as lines:
        yield lines


@dataclass
class Lab:
    """A ledger that only the gateway and `audit` may call."""

    ca: DevCa
    folder: Path
    port: int
    ledger: Ledger

    async def call_by(
        self, context: ssl.SSLContext | None, path: str = PUT.path, *, server: str = "ledger"
    ) -> None:
        """Raises RpcError."""
        tls = ClientTls(context, server) if context else None
        async with GrpcTransport("127.0.0.1", self.port, tls) as transport:
            await transport.call(path, put(f"{self.ledger.puts}"), metadata={}, timeout_s=LIMIT_S)


@pytest.fixture(params=["grpclib", "fast"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Lab]:
    with plain.using({"grpclib"} if request.param == "grpclib" else set()):
        async with served(tmp_path) as lab:
            yield lab


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncGenerator[Lab]:
    ca, ledger = new_ca(), Ledger()
    service = replace(SERVICE, callers=("gateway", "audit"))
    async with (
        trust_by(folder_of(ca, tmp_path / "ledger", "ledger")) as trust,
        running(tmp_path, ledger, drain_s=0.0) as host,
        serve_grpc(
            host, "127.0.0.1", 0, SCHEMA, tls=ServerTls(trust.certificates, trust.callers(service))
        ) as port,
    ):
        yield Lab(ca, tmp_path, port, ledger)


def context_of(lab: Lab, name: str) -> ssl.SSLContext:
    """A client's, as `sagagen` makes one of a folder."""
    client = folder_of(lab.ca, lab.folder / f"client-{name}", name).read().client
    assert client
    return client


def forged_context(
    lab: Lab, *, uris: list[str], life: timedelta = DAY, begins: datetime | None = None
) -> ssl.SSLContext:
    """Of an attacker, who holds a certificate against none of our rules and looks at nobody's."""
    folder = lab.folder / "forged"
    folder_of(lab.ca, folder, "gateway", uris=uris, life=life, begins=begins)
    context = careless_context()
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def careless_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


async def refused(lab: Lab, context: ssl.SSLContext | None, path: str = PUT.path) -> RpcError:
    with pytest.raises(RpcError) as error:
        await lab.call_by(context, path)
    assert lab.ledger.puts == 0
    return error.value


async def test_those_who_may_call_it_do(lab: Lab) -> None:
    for name in ("gateway", "audit"):
        await lab.call_by(context_of(lab, name))
    assert lab.ledger.puts == 2


@pytest.mark.parametrize("path", [PUT.path, CLAIM_PATH, HEALTH, REFLECTION, "/no.Such/Rpc"])
async def test_another_service_may_call_nothing(lab: Lab, path: str, log_lines: list[EventDict]) -> None:
    if path.startswith("/no") and plain.is_plain("grpclib"):
        pytest.skip("grpclib answers that there is no such rpc, which gives nothing away")
    error = await refused(lab, context_of(lab, "payment"), path)
    assert error.code is Code.PERMISSION_DENIED
    assert (
        "spiffe://lab/payment may not call it; its callers are spiffe://lab/gateway, spiffe://lab/audit"
        in str(error)
    )
    line = next(line for line in log_lines if line["event"] == "a caller is refused")
    assert line["identity"] == "spiffe://lab/payment"
    assert line["address"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("uris", "why"),
    [
        (["spiffe://evil.example/gateway"], "spiffe://evil.example/gateway may not call it"),
        (["spiffe://lab/gateway", "spiffe://lab/payment"], "2 URIs"),
        ([], "no URIs"),
        (["https://lab/gateway"], "no SPIFFE id"),
        (["spiffe://lab.evil.example/gateway"], "may not call it"),
        (["spiffe://lab/gateway/"], "may not call it"),
        (["SPIFFE://LAB/gateway"], "no SPIFFE id"),
    ],
)
async def test_a_certificate_of_our_ca_that_names_no_caller_is_none(
    lab: Lab, uris: list[str], why: str
) -> None:
    error = await refused(lab, forged_context(lab, uris=uris))
    assert error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
    assert why in error.message


async def test_host_names_in_a_certificate_make_no_gateway(lab: Lab) -> None:
    folder_of(lab.ca, lab.folder / "host", "gateway", uris=[], hosts=["gateway", "localhost"])
    context = careless_context()
    context.load_cert_chain(lab.folder / "host" / "cert.pem", lab.folder / "host" / "key.pem")
    assert (await refused(lab, context)).code is Code.UNAUTHENTICATED


async def test_without_a_certificate_nothing_is_answered(lab: Lab) -> None:
    assert (await refused(lab, careless_context(), HEALTH)).code is Code.UNAVAILABLE


async def test_a_certificate_of_another_ca_is_none(lab: Lab, log_lines: list[EventDict]) -> None:
    """Its bearer believes our CA, and itself."""
    evil = new_ca("evil")
    folder = folder_of(evil, lab.folder / "evil", "gateway", believed=[evil, lab.ca])
    async with (
        trust_by(folder) as trust,
        RenewingTransport("127.0.0.1", lab.port, "ledger", trust) as transport,
    ):
        with pytest.raises(RpcError) as error:
            await transport.call(PUT.path, put(), metadata={}, timeout_s=LIMIT_S)
    assert error.value.code is Code.UNAVAILABLE
    assert lab.ledger.puts == 0
    if not plain.is_plain("grpclib"):
        assert "or another certificate; its log says so" in error.value.message
        line = next(line for line in log_lines if line["event"] == "a TLS handshake failed")
        assert "self-signed certificate in certificate chain" in line["reason"]


@pytest.mark.parametrize("begins_in", [-2 * DAY, DAY], ids=["expired", "not yet valid"])
async def test_a_certificate_is_good_in_its_time_only(lab: Lab, begins_in: timedelta) -> None:
    begins = datetime.now(UTC) + begins_in
    context = forged_context(lab, uris=[f"spiffe://{DOMAIN}/gateway"], life=DAY / 2, begins=begins)
    assert (await refused(lab, context)).code is Code.UNAVAILABLE


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(lab: Lab, version: ssl.TLSVersion) -> None:
    context = forged_context(lab, uris=[f"spiffe://{DOMAIN}/gateway"])
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
    assert (await refused(lab, context)).code is Code.UNAVAILABLE


async def test_a_client_in_the_clear_is_told_that_here_is_tls(lab: Lab, log_lines: list[EventDict]) -> None:
    error = await refused(lab, None)
    assert error.code is Code.UNAVAILABLE
    if not plain.is_plain("grpclib"):
        assert "it may want TLS (SAGAGEN_TLS_DIR)" in error.message
        assert any("speaks no TLS" in str(line.get("reason")) for line in log_lines)


async def test_whoever_agrees_on_no_http2_means_another_service(lab: Lab) -> None:
    """What a client of another protocol sends might be read as a call (ALPACA)."""
    context = forged_context(lab, uris=[f"spiffe://{DOMAIN}/gateway"])
    context.set_alpn_protocols(["http/1.1"])
    with suppress(ssl.SSLError, ConnectionError):
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port, ssl=context)
        assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
        writer.close()
    context = forged_context(lab, uris=[f"spiffe://{DOMAIN}/gateway"])
    context.set_alpn_protocols([])
    assert (await refused(lab, context)).code is Code.UNAVAILABLE


async def test_a_session_is_not_resumed(lab: Lab) -> None:
    """It would show no certificate, so one that has expired since would do."""
    context = context_of(lab, "gateway")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", lab.port, ssl=context, server_hostname="ledger"
    )
    await reader.read(9)  # the server's first frame, which comes after tickets would
    end = writer.get_extra_info("ssl_object")
    assert end.session is None or not end.session.has_ticket
    writer.close()


# -- the gateway's side


@asynccontextmanager
async def reached(
    lab: Lab, service: str, port: int = 0
) -> AsyncGenerator[tuple[RenewingTransport, MeshTrust]]:
    folder = folder_of(lab.ca, lab.folder / "gateway", "gateway")
    async with (
        trust_by(folder) as trust,
        RenewingTransport("127.0.0.1", port or lab.port, service, trust) as transport,
    ):
        yield transport, trust


async def test_a_server_with_another_name_gets_nothing(lab: Lab) -> None:
    """It is the ledger, which somebody put where payments are made."""
    async with reached(lab, "payment") as (transport, _):
        with pytest.raises(RpcError) as error:
            await transport.call(PUT.path, put(), metadata={}, timeout_s=LIMIT_S)
    assert error.value.code is Code.UNAVAILABLE
    assert "the server is spiffe://lab/ledger, where spiffe://lab/payment was called" in error.value.message
    assert lab.ledger.puts == 0


async def test_a_wrong_server_reads_no_byte_of_http2(lab: Lab) -> None:
    got: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())
        writer.close()

    folder = folder_of(lab.ca, lab.folder / "payment", "payment")
    context = folder.read().server
    async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        async with reached(lab, "ledger", port) as (transport, _):
            with pytest.raises(RpcError, match="the server is spiffe://lab/payment"):
                await transport.call(PUT.path, put(), metadata={}, timeout_s=LIMIT_S)
    assert not any(got)


async def test_a_server_in_the_clear_gets_nothing_and_is_named(tmp_path: Path) -> None:
    ledger = Ledger()
    async with (
        running(tmp_path, ledger, drain_s=0.0) as host,
        serve_grpc(host, "127.0.0.1", 0, SCHEMA) as port,
        reached(Lab(new_ca(), tmp_path, port, ledger), "ledger") as (transport, _),
    ):
        with pytest.raises(RpcError, match="the peer speaks no TLS: is SAGAGEN_TLS_DIR set on both sides"):
            await transport.call(PUT.path, put(), metadata={}, timeout_s=LIMIT_S)
    assert ledger.puts == 0


async def test_being_refused_is_no_answer_to_a_request(lab: Lab) -> None:
    """Who asked the gateway did nothing wrong, and a saga has to wait until somebody mends the mesh."""
    folder = folder_of(lab.ca, lab.folder / "shipping", "shipping")
    async with (
        trust_by(folder) as trust,
        RenewingTransport("127.0.0.1", lab.port, "ledger", trust) as transport,
    ):
        with pytest.raises(RpcError, match="spiffe://lab/shipping may not call it") as error:
            await transport.call(PUT.path, put(), metadata={}, timeout_s=LIMIT_S)
    assert error.value.code is Code.UNAVAILABLE


# -- those who never come to an end


async def test_handshakes_that_never_end_keep_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: list[EventDict]
) -> None:
    monkeypatch.setattr(accepting, "MAX_HANDSHAKES", 5)
    async with served(tmp_path) as lab:
        silent = [socket.create_connection(("127.0.0.1", lab.port)) for _ in range(20)]
        try:
            await lab.call_by(context_of(lab, "gateway"))
            loop = asyncio.get_running_loop()
            for each in silent[:10]:
                each.setblocking(False)
                with suppress(ConnectionError):
                    assert not await asyncio.wait_for(loop.sock_recv(each, 1), LIMIT_S)
        finally:
            for each in silent:
                each.close()
    assert any("too many at a time" in line["event"] for line in log_lines)


async def test_a_handshake_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "HANDSHAKE_S", 0.2)
    async with served(tmp_path) as lab:
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
        writer.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
        writer.close()


# -- keys that expire while connections live


async def test_a_connection_ends_with_the_certificate_of_its_peer(tmp_path: Path) -> None:
    async with served(tmp_path) as lab:
        short = forged_context(
            lab,
            uris=["spiffe://lab/gateway"],
            begins=datetime.now(UTC) - DAY,
            life=DAY + timedelta(seconds=3),
        )
        transport = GrpcTransport("127.0.0.1", lab.port, ClientTls(short, "ledger"))
        async with transport:
            try:
                await transport.call(PUT.path, put(), metadata={}, timeout_s=LIMIT_S)
            except RpcError:
                pytest.skip("this machine took three seconds for a handshake")

            async def answer() -> Code | None:
                try:
                    await transport.call(HEALTH, b"", metadata={}, timeout_s=LIMIT_S)
                except RpcError as error:
                    return error.code
                return None

            code = await eventually_async("the certificate to be over", answer, lambda code: code is not None)
    assert code in (Code.UNAVAILABLE, Code.UNAUTHENTICATED)


async def test_a_gateway_does_not_wait_for_a_service_that_keeps_it_out() -> None:
    services = [SERVICE, replace(SERVICE, name="inner", callers=("ledger",))]
    transport = GrpcTransport("127.0.0.1", 1)
    assert set(service_checks(services, {each.name: transport for each in services})) == {SERVICE.name}
