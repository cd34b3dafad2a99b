"""The shop as `up --mesh` with a canary for every kind of secret: none is ever seen again.

A new kind of secret is one more line in `SECRETS`, or in `SENT` for what clients send.
"""

import asyncio
import os
from base64 import b64encode
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import pytest
from grpclib.const import Status as Code
from otlp_receiver import Received, http_receiver
from placing_orders import DECLINED_PRICE
from redis_server import RedisServer
from shop_invariants import assert_shop_is_consistent, await_terminal
from stack import Stack, keyed, order_body, post_order
from waiting import LIMIT_S, eventually

from generated.pb.shop.payment.v1 import RefundPaymentRequest
from generated.services.payment import REFUND_PAYMENT
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import IDEMPOTENCY_KEY
from sagagen.runtime.rpc.refusals import MacRefusal
from sagagen.runtime.transports.grpc.client import GrpcTransport

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Canary:
    """A secret of the mesh."""

    variable: str
    value: str
    of: frozenset[str]
    """Whose it is: a process that is not among them has it in its environment neither by value nor by file."""
    is_in_file: bool = False
    """It is set as VARIABLE_FILE."""


GATEWAY, SERVICES = frozenset({"gateway"}), frozenset({"order", "inventory", "payment"})
DATA_KEY = b"canary-data-key-of-32-bytes-long"
SECRETS = (
    Canary("SAGAGEN_MESH_KEY", "canary-mesh-key-of-thirty-two-bytes-1", GATEWAY | SERVICES, is_in_file=True),
    Canary("SAGAGEN_ADMIN_TOKEN", "canary-admin-token", GATEWAY),
    Canary("SAGAGEN_SHARE_ANSWERS_KEY", "canary-share-key-of-thirty-two-bytes", GATEWAY),
    Canary(
        "SAGAGEN_ENCRYPTION_KEYS", f"k1:{b64encode(DATA_KEY).decode()}", GATEWAY | SERVICES, is_in_file=True
    ),
    Canary("SAGAGEN_REDIS_PASSWORD", "canary-redis-password", GATEWAY | SERVICES, is_in_file=True),
)
SENT = {
    "Authorization": "Bearer canary-bearer",
    "X-Api-Key": "canary-api-key",
    "Cookie": "session=canary-cookie",
}
"""What clients send to be known, wherever it is of use."""
REDACTED = "canary-customer"
"""A value that the contract redacts: in databases and answers, and nowhere else."""
NEXT_KEY = "canary-mesh-key-of-thirty-two-bytes-2"
PROCESSES = ("gateway", *sorted(SERVICES))


class ShopMesh(Stack):
    """`up --mesh` with all of these secrets."""

    def __init__(self, folder: Path, redis: RedisServer, collector: Received) -> None:
        super().__init__(folder / "var")
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self._more = {
            "SAGAGEN_REDIS_URL": redis.url,
            "SAGAGEN_SHARE_ANSWERS": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
        }
        for canary in SECRETS:
            if canary.is_in_file:
                self.file_of(canary.variable).write_text(f"{canary.value}\n")
                self._more[f"{canary.variable}_FILE"] = str(self.file_of(canary.variable))
            else:
                self._more[canary.variable] = canary.value

    def file_of(self, variable: str) -> Path:
        return self.secrets / variable.lower()

    def environment(self, name: str) -> dict[str, str]:
        return {**super().environment(name), **self._more}

    def child(self, name: str) -> int:
        """The pid of a process of the mesh."""
        parent = self.processes["mesh"].pid
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if f"--only\0{name}\0" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        raise AssertionError(f"{name} does not run")


@pytest.fixture(scope="module")
def collector() -> Iterator[Received]:
    with http_receiver() as received:
        yield received


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    (password,) = [canary.value for canary in SECRETS if canary.variable == "SAGAGEN_REDIS_PASSWORD"]
    with RedisServer(tmp_path_factory.mktemp("redis"), "--requirepass", password) as server:
        yield server


@pytest.fixture(scope="module")
def mesh(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer, collector: Received
) -> Generator[ShopMesh]:
    with closing(ShopMesh(tmp_path_factory.mktemp("mesh"), redis, collector)) as mesh:
        mesh.start("mesh")
        yield mesh


def test_each_process_is_given_its_own_secrets_alone(mesh: ShopMesh) -> None:
    for process in PROCESSES:
        environment = Path(f"/proc/{mesh.child(process)}/environ").read_bytes().decode().split("\0")
        names = {entry.partition("=")[0].removesuffix("_FILE") for entry in environment}
        assert {canary.variable for canary in SECRETS} & names == {
            canary.variable for canary in SECRETS if process in canary.of
        }


async def test_a_stranger_on_the_network_refunds_nothing(mesh: ShopMesh) -> None:
    order_id = post_order(mesh, "stranger").json()["order_id"]
    assert await_terminal(mesh, [order_id]) == {order_id: "COMPLETED"}
    async with GrpcTransport("127.0.0.1", mesh.listens("payment")) as stranger:
        with pytest.raises(RpcError) as error:
            await stranger.call(
                REFUND_PAYMENT.path,
                bytes(RefundPaymentRequest(order_id=order_id)),
                metadata={IDEMPOTENCY_KEY: "stranger"},
                timeout_s=LIMIT_S,
            )
    assert (error.value.code, error.value.reason) == (Code.UNAUTHENTICATED, MacRefusal.UNSIGNED)
    assert_shop_is_consistent(mesh)


async def test_the_mesh_key_is_exchanged_under_load_and_no_order_fails(mesh: ShopMesh) -> None:
    """Fifty orders a second, while the key is joined by another, takes second place, and goes."""
    file = mesh.file_of("SAGAGEN_MESH_KEY")
    (key,) = [canary.value for canary in SECRETS if canary.variable == "SAGAGEN_MESH_KEY"]
    steps = iter([f"{key}\n{NEXT_KEY}\n", f"{NEXT_KEY}\n{key}\n", f"{NEXT_KEY}\n"])
    is_over = asyncio.Event()

    async def rotate() -> None:
        for text in steps:
            await asyncio.sleep(1.1)
            beside = file.with_suffix(".new")
            beside.write_text(text)
            os.replace(beside, file)
        await asyncio.sleep(1.1)
        is_over.set()

    async with httpx.AsyncClient(base_url=mesh.url, timeout=LIMIT_S) as client, asyncio.TaskGroup() as group:
        group.create_task(rotate())
        orders: list[asyncio.Task[httpx.Response]] = []
        for number in count():
            sent = client.post("/orders", json=order_body(1.0), headers=keyed(f"rotate-{number}"))
            orders.append(group.create_task(sent))
            await asyncio.sleep(0.02)
            if is_over.is_set():
                break
    answers = [order.result() for order in orders]
    assert {answer.status_code for answer in answers} <= {201, 202}
    ids = [(said := answer.json()).get("order_id") or said["id"] for answer in answers]
    assert set(await_terminal(mesh, ids).values()) == {"COMPLETED"}
    assert_shop_is_consistent(mesh)
    assert "does not believe" not in mesh.log_path.read_text()


def test_no_canary_is_seen_again(mesh: ShopMesh, redis: RedisServer, collector: Received) -> None:
    answers = {
        "a good order": mesh.http.post(
            "/orders",
            json={**order_body(), "customer_id": REDACTED},
            headers={**keyed("canary-1"), **SENT},
        ),
        "one that is declined": post_order(mesh, "canary-2", DECLINED_PRICE, headers=SENT),
        "one that can't be read": mesh.http.post("/orders", content=b"{", headers={**keyed("c"), **SENT}),
        "sagas of nobody": mesh.http.get("/sagas", headers=SENT),
        "an admin without a token": mesh.admin.get("/sagas"),
        "an admin with a wrong one": mesh.admin.get("/sagas", headers=SENT),
    }
    (token,) = [canary.value for canary in SECRETS if canary.variable == "SAGAGEN_ADMIN_TOKEN"]
    shown = mesh.admin.get("/sagas?status=ALL", headers={"Authorization": f"Bearer {token}"})
    assert shown.status_code == 200
    os.kill(mesh.child("payment"), 9)  # failures, a restart, and what is told of them
    placed = [answers[name].json()["order_id"] for name in ("a good order", "one that is declined")]
    placed.append(post_order(mesh, "canary-3").json()["order_id"])
    assert set(await_terminal(mesh, placed).values()) == {"COMPLETED", "COMPENSATED"}
    collector.until("spans", lambda got: len(got.spans) > 30)
    eventually(
        "payment to be back",
        lambda: mesh.service_admin("payment").get("/readyz").status_code == 200,
        despite=(httpx.TransportError,),
    )

    sinks: dict[str, bytes] = {name: answer.content for name, answer in answers.items()}
    sinks |= {f"headers of {name}": str(answer.headers).encode() for name, answer in answers.items()}
    sinks["metrics of the gateway"] = mesh.admin.get("/metrics").content
    sinks |= {
        f"metrics of {service}": mesh.service_admin(service).get("/metrics").content
        for service in mesh.services
    }
    sinks |= {f"export {number}": data for number, data in enumerate(collector.raw)}
    redis.ask("AUTH", "wrong")
    sinks |= {str(path): path.read_bytes() for path in redis.folder.rglob("*") if path.is_file()}
    sinks |= {str(path): path.read_bytes() for path in mesh.data_dir.rglob("*") if path.is_file()}
    assert len(sinks) > 20
    assert "redis answers repeats" in mesh.log_path.read_text()  # it took the password

    values = (
        [canary.value.partition(":")[2] or canary.value for canary in SECRETS]
        + [NEXT_KEY, DATA_KEY.decode()]
        + [sent.split("=")[-1].split()[-1] for sent in SENT.values()]
    )
    found = [(where, value) for where, data in sinks.items() for value in values if value.encode() in data]
    assert found == []
    # Tables of handlers are the project's; what is ours is encrypted.
    of_handlers = {path for path in mesh.data_dir.glob("*.db*") if not path.name.startswith("saga-log")}
    may_have_it = {*map(str, of_handlers), "a good order"}
    assert [
        where for where, data in sinks.items() if REDACTED.encode() in data and where not in may_have_it
    ] == []
