"""HTTPS at the edge: certificates that change while requests go on, and clients that mean something else."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from certificates_of import DAY, new_ca
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from waiting import LIMIT_S, eventually_async

from sagagen.runtime import plain
from sagagen.runtime.edge.http.server import Listening, serve_http
from sagagen.runtime.trust import accepting
from sagagen.runtime.trust.folder import CertificateError, CertificateFolder
from sagagen.runtime.trust.rereading import Certificates

CA = new_ca()


def issue(folder: Path) -> CertificateFolder:
    CA.issue([], ["localhost", "127.0.0.1"], DAY).write(folder, CA.certificate)
    return CertificateFolder(folder, "SAGAGEN_HTTP_TLS_DIR")


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CA.certificate.decode())


async def scheme(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.url.scheme)


@asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[Listening]:
    app = Starlette(routes=[Route("/", scheme)])
    async with (
        Certificates.watched(issue(folder), poll_s=0.05) as certificates,
        serve_http(app, "127.0.0.1", 0, tls=certificates) as listening,
    ):
        yield listening


@pytest.fixture(params=["uvicorn", "fast"])
async def edge(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Listening]:
    with plain.using({"uvicorn"} if request.param == "uvicorn" else set()):
        async with served(tmp_path) as listening:
            yield listening


async def shown(port: int, context: ssl.SSLContext | None = None) -> bytes:
    """The certificate, in DER."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context or trusting())
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return certificate


async def test_requests_come_by_https(edge: Listening) -> None:
    assert edge.url.startswith("https://127.0.0.1:")
    async with httpx.AsyncClient(base_url=edge.url, verify=trusting()) as client:
        assert (await client.get("/")).text == "https"


async def test_certificates_change_under_load(edge: Listening, tmp_path: Path) -> None:
    before = await shown(edge.port)
    stopped = asyncio.Event()

    async def ask(*, keeps: bool) -> int:
        limits = httpx.Limits(max_keepalive_connections=None if keeps else 0)
        async with httpx.AsyncClient(
            base_url=edge.url, verify=trusting(), limits=limits, timeout=LIMIT_S
        ) as client:
            asked = 0
            while not stopped.is_set():
                assert (await client.get("/")).status_code == 200
                asked += 1
            return asked

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(keeps=keeps)) for keeps in (True, True, False, False)]
        issue(tmp_path)
        await eventually_async("another certificate", lambda: shown(edge.port), lambda seen: seen != before)
        stopped.set()
    assert all(task.result() for task in asking)


async def test_plain_http_is_not_answered(edge: Listening) -> None:
    async with httpx.AsyncClient(timeout=LIMIT_S) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://127.0.0.1:{edge.port}/")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(edge: Listening) -> None:
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await shown(edge.port, context)


async def test_clients_that_never_shake_hands_keep_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "MAX_HANDSHAKES", 5)
    async with served(tmp_path) as listening:
        silent = [await asyncio.open_connection("127.0.0.1", listening.port) for _ in range(10)]
        async with httpx.AsyncClient(base_url=listening.url, verify=trusting(), timeout=LIMIT_S) as client:
            assert (await client.get("/")).text == "https"
        with suppress(ConnectionError):
            assert await asyncio.wait_for(silent[0][0].read(), LIMIT_S) == b""
        for _, writer in silent:
            writer.close()


async def test_a_server_stops_with_handshakes_that_are_not_over(tmp_path: Path) -> None:
    async with served(tmp_path) as listening:
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(b"\x16\x03\x01")
        await asyncio.sleep(0)
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
    writer.close()


def test_a_folder_without_a_key_is_named(tmp_path: Path) -> None:
    folder = issue(tmp_path)
    (tmp_path / "key.pem").unlink()
    with pytest.raises(
        CertificateError, match=r"key.pem is missing: the folder of SAGAGEN_HTTP_TLS_DIR needs"
    ):
        folder.read()


def test_a_certificate_that_has_expired_is_named(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    CA.issue([], ["localhost"], DAY / 2, begins=datetime.now(UTC) - DAY).write(tmp_path, CA.certificate)
    with pytest.raises(CertificateError, match=r"cert.pem: the certificate has expired, on \d{4}-"):
        CertificateFolder(tmp_path, "SAGAGEN_HTTP_TLS_DIR").read()
