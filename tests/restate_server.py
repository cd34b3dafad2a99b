"""A Restate server of the tests' own: its own data folder, its own ports, never a server that runs already.

npm has the server: `npm install @restatedev/restate-server` in this folder or the one above. SAGAGEN_RESTATE_SERVER may
name its binary instead.
"""

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from stack import free_ports
from waiting import eventually

BINARY = "restate-server"
_MODULES = Path("node_modules", "@restatedev")
_FOLDERS = (Path(__file__).parents[1], Path(__file__).parents[2])


@cache
def binary() -> str:
    """Empty if there is none."""
    named = os.environ.get("SAGAGEN_RESTATE_SERVER", "")
    found = [found for folder in _FOLDERS for found in sorted((folder / _MODULES).glob(f"*/bin/{BINARY}"))]
    return named or (shutil.which(BINARY) or "") or next(map(str, found), "")


def missing() -> str:
    """Why no server can be started here; empty if one can."""
    return "" if binary() else "there is no restate-server here: npm install @restatedev/restate-server"


class RestateServer:
    """A server process with one node; starts at once. Used by `with`."""

    def __init__(self, *, partitions: int = 2, identity: Path | None = None) -> None:
        """`identity` is a file with the private key by which it signs what it sends to adapters."""
        in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="restate-", dir=in_memory))
        self.node_port, self.ingress_port, self.admin_port = free_ports(3)
        self.ingress = f"http://127.0.0.1:{self.ingress_port}"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        (self.folder / "restate.toml").write_text(
            f"""
cluster-name = "tests"
node-name = "one"
auto-provision = true
default-num-partitions = {partitions}
base-dir = "{self.folder}/data"
listen-mode = "tcp"
bind-address = "127.0.0.1:{self.node_port}"
advertised-address = "http://127.0.0.1:{self.node_port}"
disable-telemetry = true
rocksdb-total-memory-size = "256.0 MiB"
log-filter = "warn"
{f'request-identity-private-key-pem-file = "{identity}"' if identity else ""}
[ingress]
bind-address = "127.0.0.1:{self.ingress_port}"
[admin]
bind-address = "127.0.0.1:{self.admin_port}"
disable-web-ui = true
"""
        )
        atexit.register(self.end)
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        """Of processes whose sagas it is to keep."""
        return {
            "SAGAGEN_ENGINE_URL": f"restate+{self.ingress}",
            "SAGAGEN_ENGINE_ADMIN_URL": self.admin,
            "SAGAGEN_ENGINE_NODE_ADDR": f"127.0.0.1:{self.node_port}",
        }

    def start(self) -> None:
        self.process = subprocess.Popen(
            [binary(), "--no-logo", "-c", str(self.folder / "restate.toml")],
            stdout=(self.folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
            cwd=self.folder,
        )
        eventually("Restate to answer", self._is_ready, bool)

    def kill(self) -> None:
        """kill -9"""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def query(self, sql: str) -> list[dict[str, Any]]:
        answer = httpx.post(
            f"{self.admin}/query", json={"query": sql}, headers={"accept": "application/json"}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = json.loads(answer.text)["rows"]
        return rows

    def unfinished(self) -> int:
        """Invocations that have not ended."""
        return int(
            self.query("SELECT count(*) AS n FROM sys_invocation_status WHERE status <> 'completed'")[0]["n"]
        )

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
        try:
            urls = (f"{self.ingress}/restate/health", f"{self.admin}/health")
            return all(httpx.get(url).status_code == 200 for url in urls)
        except httpx.HTTPError:
            return False

    def __enter__(self) -> "RestateServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Its data too."""
        if hasattr(self, "process"):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
