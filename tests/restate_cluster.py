"""One Restate node or several, of the tests' own: each can be killed, frozen and stopped by itself.

Several keep everything twice, and put snapshots into a store of objects, where one can be had.
"""

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import object_store
from object_store import ObjectStore
from restate_server import binary
from stack import free_ports
from waiting import eventually

REPLICATION = 2
PARTITIONS = 2
RECORDS_OF_A_SNAPSHOT = 2000
NAMES = ("one", "two", "three")


class RestateNode:
    """One server process. It does not start by itself."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self.port, ingress, admin = free_ports(3)
        self.ingress, self.admin = f"127.0.0.1:{ingress}", f"127.0.0.1:{admin}"
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, nodes: "Sequence[RestateNode]", store: ObjectStore | None) -> None:
        peers = ", ".join(f'"http://127.0.0.1:{node.port}"' for node in nodes)
        is_first = nodes[0] is self
        several = f"""
[metadata-client]
addresses = [{peers}]
"""
        snapshots = f"""
[worker.snapshots]
snapshot-interval-num-records = {RECORDS_OF_A_SNAPSHOT}
{store.configuration if store else ""}"""
        (self._folder / f"{self.name}.toml").write_text(
            f"""
cluster-name = "tests"
node-name = "{self.name}"
auto-provision = {str(is_first).lower()}
default-num-partitions = {PARTITIONS}
default-replication = {min(REPLICATION, len(nodes))}
base-dir = "{self._folder}/{self.name}"
listen-mode = "tcp"
bind-address = "127.0.0.1:{self.port}"
advertised-address = "http://127.0.0.1:{self.port}"
disable-telemetry = true
rocksdb-total-memory-size = "256.0 MiB"
log-filter = "warn"
[ingress]
bind-address = "{self.ingress}"
[admin]
bind-address = "{self.admin}"
disable-web-ui = true
{several if len(nodes) > 1 else ""}{snapshots if store else ""}"""
        )

    def begin(self) -> None:
        """Start it, and do not wait for it."""
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), "--no-logo", "-c", str(self._folder / f"{self.name}.toml")],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.process and self.is_running:
            self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9"""
        self.stop(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.send(number)
        if self.process:
            self.process.wait()

    def is_ready(self) -> bool:
        try:
            urls = (f"http://{self.ingress}/restate/health", f"http://{self.admin}/health")
            return all(httpx.get(url, timeout=5).status_code == 200 for url in urls)
        except httpx.HTTPError:
            return False


class RestateCluster:
    """Used by `with`."""

    def __init__(self, count: int = 1) -> None:
        in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="restate-", dir=in_memory))
        self.nodes = [RestateNode(name, self.folder) for name in NAMES[:count]]
        self.store = ObjectStore() if count > 1 and object_store.is_there() else None
        self._stack = ExitStack()
        for node in self.nodes:
            node.configure(self.nodes, self.store)

    def __enter__(self) -> Self:
        atexit.register(self.kill)
        if self.store:
            self._stack.enter_context(self.store)
        for node in self.nodes:
            node.begin()
        self.await_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def await_ready(self) -> None:
        for node in self.nodes:
            eventually(f"Restate's node {node.name} to answer", lambda node=node: self._looked_at(node), bool)

    def _looked_at(self, node: RestateNode) -> bool:
        """A server that has ended by itself is started anew, as a supervisor does."""
        if not node.is_running:
            node.begin()
        return node.is_ready()

    @property
    def environment(self) -> dict[str, str]:
        """Of processes whose sagas it is to keep."""
        return {
            "SAGAGEN_ENGINE_URL": f"restate+http://{','.join(node.ingress for node in self.nodes)}",
            "SAGAGEN_ENGINE_ADMIN_URL": ",".join(f"http://{node.admin}" for node in self.nodes),
        }

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows, once all partitions can be asked: a node that has just started does not know yet where they are."""
        answer = eventually(
            f"Restate to answer {sql}",
            lambda: httpx.post(
                f"http://{self.nodes[0].admin}/query",
                json={"query": sql},
                headers={"accept": "application/json"},
                timeout=60,
            ),
            lambda answer: answer.status_code == 200,
            despite=(httpx.HTTPError,),
            every_s=0.5,
        )
        rows: list[dict[str, Any]] = json.loads(answer.text)["rows"]
        return rows
