"""A mesh on the libraries' plain ways: whole processes, of which none has so much as imported a quick one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from otlp_receiver import http_receiver
from project_copy import WRITTEN, copy_project
from shop_invariants import assert_shop_is_consistent, await_terminal
from stack import Stack, post_order

from sagagen.runtime.plain import SWITCHES
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import SettingsError

ROOT = Path(__file__).parents[2]
QUICK = {
    "sagagen.runtime.edge.http.offers",
    "sagagen.runtime.edge.http.protocol",
    "sagagen.runtime.sqlite.queued",
    "sagagen.runtime.telemetry.otlp",
    "sagagen.runtime.telemetry.otlp_exporter",
    "sagagen.runtime.transports.grpc.fast.channel",
    "sagagen.runtime.transports.grpc.fast.floods",
    "sagagen.runtime.transports.grpc.fast.frames",
    "sagagen.runtime.transports.grpc.fast.headers",
    "sagagen.runtime.transports.grpc.fast.protocol",
    "sagagen.runtime.transports.grpc.fast.self_test",
    "sagagen.runtime.transports.grpc.fast.server",
    "jh2",
}
TELL = """
import atexit, os, pathlib, sys
atexit.register(lambda: pathlib.Path(os.environ["MODULES_DIR"], str(os.getpid())).write_text(" ".join(sys.modules)))
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where each process leaves the names of its modules when it ends."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("MODULES_DIR", str(folder))
    return folder


@pytest.fixture
def shop(tmp_path: Path, told: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    root = copy_project("shop", tmp_path / "shop", (*WRITTEN, "generated"))
    for file in (root / "gateway" / "app.py", *(root / "handlers").glob("*.py")):
        file.write_text(file.read_text() + TELL)
    with http_receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with closing(Stack(tmp_path / "var", root=root)) as stack:
            yield stack


@pytest.mark.slow
@pytest.mark.parametrize(("switches", "quick"), [("all", set[str]()), ("", QUICK)], ids=["plain", "quick"])
def test_a_mesh_on_plain_ways_uses_no_quick_one(
    shop: Stack, told: Path, monkeypatch: pytest.MonkeyPatch, switches: str, quick: set[str]
) -> None:
    monkeypatch.setenv("SAGAGEN_PLAIN", switches)
    shop.start("mesh")
    ids = [_placed(shop, number, price) for number, price in enumerate((50.0, 600.0, 20.0))]
    assert sorted(await_terminal(shop, ids).values()) == [
        "COMPENSATED",
        "COMPLETED",
        "COMPLETED",
    ]
    exit_code, _ = shop.terminate("mesh", signal.SIGTERM)
    assert exit_code == 0, shop.log_path.read_text()
    modules = [file.read_text().split() for file in told.iterdir()]
    assert len(modules) == 4, "three services and the gateway"
    assert {name for names in modules for name in names} & QUICK == quick
    assert_shop_is_consistent(shop)
    assert "Traceback" not in shop.log_path.read_text()


def _placed(shop: Stack, number: int, price: float) -> str:
    answer = post_order(shop, f"plain-{number}", price)
    assert answer.status_code in (201, 202), answer.text
    body = answer.json()
    return body.get("order_id") or body["saga_id"]


GONE = """
import asyncio, sys
import h2.connection, h2.windows
del h2.windows.WindowManager  # as in a version that calls it something else
sys.path[:0] = ["tests", "tests/service"]
from pathlib import Path
from ledger import PUT, SCHEMA, Ledger, PutResponse, put, running
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.grpc.server import serve_grpc

async def main(folder):
    async with (
        running(folder, Ledger()) as host,
        serve_grpc(host, "127.0.0.1", 0, SCHEMA) as port,
        GrpcTransport("127.0.0.1", port) as transport,
    ):
        for number in range(3):
            reply = await transport.call(PUT.path, put("a", number), metadata={}, timeout_s=60)
        print("total", PutResponse.parse(reply.response).total)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_an_h2_that_has_not_what_the_quick_way_needs_is_used_as_it_is_with_one_warning(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GONE, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "codegen:."},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "total 3" in done.stdout
    assert (done.stdout + done.stderr).count("the quick one does not fit it") == 1
    assert "WindowManager" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("", set[str]()),
        ("h2", {"h2"}),
        ("h2, otlp,", {"h2", "otlp"}),
        ("all", set(SWITCHES)),
        ("all,h2", set(SWITCHES)),
    ],
)
def test_the_setting_names_libraries_or_all(tmp_path: Path, text: str, plain: set[str]) -> None:
    assert Settings.read({"SAGAGEN_PLAIN": text}, tmp_path).plain == plain


def test_an_unknown_name_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.read({"SAGAGEN_PLAIN": "h2,http"}, tmp_path)
    assert str(refused.value) == (
        'SAGAGEN_PLAIN="http" is unknown; use aiosqlite, grpclib, h2, otlp, uvicorn, or all, with commas between'
    )
