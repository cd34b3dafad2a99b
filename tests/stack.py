"""A mesh as real processes, for tests: started as a user would start it, killed as an operator would not."""

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[1]
START_WITHIN_S = 30.0


def free_ports(count: int) -> list[int]:
    """So many ports in a row that nobody listens on just now, below those that the system hands out by itself."""
    for _ in range(100):
        first = random.randrange(20_000, 32_000 - count)
        ports = list(range(first, first + count))
        if all(_is_free(port) for port in ports):
            return ports
    raise AssertionError(f"no {count} free ports in a row")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Stack:
    """One project's processes with a data folder and ports of their own."""

    def __init__(
        self,
        data_dir: Path,
        *,
        root: Path = REPOSITORY,
        services: Sequence[str] = ("order", "inventory", "payment"),
    ) -> None:
        self.root = root
        self.data_dir = data_dir
        self.services = services
        http, admin, *rest = free_ports(2 + 2 * len(services))
        self.url = f"http://127.0.0.1:{http}"
        self._http, self._admin = http, admin
        # As a local mesh counts them: the admin ports of the services follow the gateway's.
        self._service_admin = dict(zip(services, rest[: len(services)], strict=True))
        self._grpc = dict(zip(services, rest[len(services) :], strict=True))
        self.reached = dict(self._grpc)
        """Where the gateway looks for a service: a test may put something of its own in between."""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.log_path = data_dir / "processes.log"

    def listens(self, service: str) -> int:
        """The port of a service's own gRPC server."""
        return self._grpc[service]

    # -- starting and stopping ------------------------------------------------------------------------------------

    @property
    def admin_url(self) -> str:
        """Of the gateway's admin listener, or of the single process."""
        return f"http://127.0.0.1:{self._admin}"

    def service_admin_url(self, service: str) -> str:
        """Of a service's admin listener."""
        return f"http://127.0.0.1:{self._service_admin[service]}"

    def reached_at(self, service: str) -> str:
        """Where a service's gRPC listens, as host:port."""
        return f"127.0.0.1:{self._grpc[service]}"

    def start(self, *names: str) -> None:
        """Start processes and wait until they are ready: `up` (embedded), `mesh`, `gateway`, or a service's name."""
        for name in names:
            self.begin(name)
        for name in names:
            self._await_ready(name)

    def begin(self, name: str) -> subprocess.Popen[bytes]:
        """Start a process, and do not wait for it."""
        process = self.processes[name] = self._spawn(name)
        return process

    def start_each(self) -> None:
        """Gateway and services, each as a process of its own, as a compose stack runs them."""
        self.start(*self.services, "gateway")

    def kill(self, *names: str) -> None:
        """kill -9."""
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.processes.pop(name).wait(timeout=10)

    def terminate(self, name: str, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Ask a process to end. Returns its exit code and how long that took, in seconds."""
        process = self.processes.pop(name)
        begun = time.monotonic()
        process.send_signal(number)
        return process.wait(timeout=30), time.monotonic() - begun

    def close(self) -> None:
        for name in list(self.processes):
            process = self.processes.pop(name)
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def environment(self, name: str) -> dict[str, str]:
        addresses = {f"SAGAGEN_{s.upper()}_ADDR": f"127.0.0.1:{port}" for s, port in self.reached.items()}
        own = {"SAGAGEN_GRPC_ADDR": f"127.0.0.1:{self._grpc[name]}"} if name in self._grpc else {}
        return {
            **os.environ,
            "SAGAGEN_DATA_DIR": str(self.data_dir),
            "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{self._http}",
            "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{self._service_admin.get(name, self._admin)}",
            "SAGAGEN_LOG_FORMAT": "json",
            **addresses,
            **own,
        }

    def command(self, name: str) -> list[str]:
        options = {"up": [], "mesh": ["--mesh"]}.get(name, ["--only", name])
        return [sys.executable, "-m", "sagagen", "up", "--project", str(self.root), *options]

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                self.command(name),
                env=self.environment(name),
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
                # A shell's background job ignores SIGINT, and its children inherit that; a terminal's does not.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def _await_ready(self, name: str) -> None:
        port = self._service_admin.get(name, self._http)
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            if self.processes[name].poll() is not None:
                break
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"{name} is not ready; its log:\n{self.log_path.read_text()[-4000:]}")

    # -- looking into the services' databases ----------------------------------------------------------------------

    def rows(self, database: str, query: str) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(self.data_dir / f"{database}.db", timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query).fetchall()

    @contextmanager
    def holding_writes(self, service: str) -> Iterator[None]:
        """Hold the write lock of a service's database, so that its sagas stop where they are."""
        with closing(
            sqlite3.connect(self.data_dir / f"{service}.db", timeout=10, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")


def order_body(price: float = 50.0, *, quantity: int = 1, product: str = "prod_1") -> dict[str, object]:
    return {
        "customer_id": "cust_123",
        "items": [{"product_id": product, "quantity": quantity, "price": price}],
    }


def keyed(key: str) -> Mapping[str, str]:
    return {"X-Idempotency-Key": key}
