"""A mesh as real processes, for tests: started as a user would start it, killed as an operator would not."""

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from waiting import LIMIT_S, eventually

REPOSITORY = Path(__file__).parents[1]


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


def heed_interrupts() -> None:
    """In a child. A shell's background job ignores SIGINT, and its children inherit that; a terminal's do not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
        self.http = patient_client(self.url)
        """For the public listener."""
        self.admin = patient_client(self.admin_url)
        """For the admin listener of the gateway, or of the single process."""
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

    def service_admin(self, service: str) -> httpx.Client:
        """For a service's admin listener. To be closed by nobody: it keeps no connection."""
        return patient_client(self.service_admin_url(service))

    def reached_at(self, service: str) -> str:
        """Where a service's gRPC listens, as host:port."""
        return f"127.0.0.1:{self._grpc[service]}"

    def start(self, *names: str) -> None:
        """Start processes and wait until they are ready: `up` (embedded), `mesh`, `gateway`, or a service's name."""
        for name in names:
            self.begin(name)
        for name in names:
            self.await_ready(name, names)

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
            self.processes.pop(name).wait(timeout=LIMIT_S)

    def terminate(self, name: str, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Ask a process to end. Returns its exit code and how long that took, in seconds."""
        process = self.processes.pop(name)
        begun = time.monotonic()
        process.send_signal(number)
        return process.wait(timeout=LIMIT_S), time.monotonic() - begun

    def close(self) -> None:
        for name in list(self.processes):
            process = self.processes.pop(name)
            process.terminate()
            try:
                process.wait(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.http.close()
        self.admin.close()

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
                preexec_fn=heed_interrupts,
            )

    def await_ready(self, name: str, started: Sequence[str] = ()) -> None:
        """A gateway waits for its services: one of `started` that has ended is not waited for in vain."""
        port = self._service_admin.get(name, self._http)
        with patient_client(f"http://127.0.0.1:{port}") as client:
            eventually(
                f"{name} to be ready",
                lambda: (
                    "200: not all run" if any(map(self._is_over, started)) else _said(client.get("/readyz"))
                ),
                lambda said: said.startswith("200"),
                despite=(httpx.TransportError,),
            )
        ended = [each for each in started if self._is_over(each)]
        assert not ended, f"{ended} have ended; the log:\n{self.log_path.read_text()[-4000:]}"

    def _is_over(self, name: str) -> bool:
        return self.processes[name].poll() is not None

    # -- looking into the services' databases ----------------------------------------------------------------------

    def rows(self, database: str, query: str) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(self.data_dir / f"{database}.db", timeout=LIMIT_S)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query).fetchall()

    @contextmanager
    def holding_writes(self, service: str) -> Generator[None]:
        """Hold the write lock of a service's database, so that its sagas stop where they are."""
        with closing(
            sqlite3.connect(self.data_dir / f"{service}.db", timeout=LIMIT_S, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")


def patient_client(url: str) -> httpx.Client:
    """A client for `url` that waits, and keeps no connection: a server that stops need not think of it."""
    # Loading the certificates of the world takes longer than most of the requests made here.
    return httpx.Client(
        base_url=url, timeout=LIMIT_S, limits=httpx.Limits(max_keepalive_connections=0), verify=False
    )


def order_body(price: float = 50.0, *, quantity: int = 1, product: str = "prod_1") -> dict[str, object]:
    return {
        "customer_id": "cust_123",
        "items": [{"product_id": product, "quantity": quantity, "price": price}],
    }


def keyed(key: str) -> Mapping[str, str]:
    return {"X-Idempotency-Key": key}


def post_order(
    stack: Stack,
    key: str,
    price: float = 50.0,
    *,
    quantity: int = 1,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Place an order in the shop. Returns whatever is answered."""
    sent = {**keyed(key), **(headers or {})}
    return stack.http.post("/orders", json=order_body(price, quantity=quantity), headers=sent)


def place_order(
    stack: Stack, key: str, price: float = 50.0, *, headers: Mapping[str, str] | None = None
) -> str:
    """Place an order that is accepted. Returns its id."""
    answer = post_order(stack, key, price, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["order_id"]


def sagas_at(stack: Stack, step: str) -> list[dict[str, Any]]:
    """The sagas under way that are at this step, as the admin listener shows them."""
    return stack.admin.get("/sagas", params={"step": step}).json()["sagas"]


def _said(answer: httpx.Response) -> str:
    return f"{answer.status_code}: {answer.text}"
