"""Runs the whole mesh in one process, on a free port and with data of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
WITHIN_S = 20.0


class Mesh:
    """A running mesh, as its clients see it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(
        self, path: str, body: object, *, key: str, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        headers = {"content-type": "application/json", "idempotency-key": key, **(headers or {})}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=WITHIN_S) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Any:
        request = urllib.request.Request(self.url + path, headers=dict(headers or {}))
        with urllib.request.urlopen(request, timeout=WITHIN_S) as response:
            return json.load(response)

    def until(self, is_reached: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + WITHIN_S
        while not is_reached():
            assert time.monotonic() < give_up_at, "that did not come about"
            time.sleep(0.05)

    def is_ready(self) -> bool:
        try:
            urllib.request.urlopen(self.url + "/readyz", timeout=WITHIN_S).close()
        except OSError:
            return False
        return True


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    http, admin = _free_ports(2)
    environment = {
        **os.environ,
        "SAGAGEN_DATA_DIR": str(tmp_path),
        "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
        "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
    }
    process = subprocess.Popen([sys.executable, "-m", "sagagen", "up"], cwd=ROOT, env=environment)
    running = Mesh(f"http://127.0.0.1:{http}")
    try:
        running.until(lambda: running.is_ready() or process.poll() is not None)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WITHIN_S)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
