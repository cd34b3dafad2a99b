"""The generated stack on Restate: three servers, two adapters, two gateways, services on PostgreSQL.

As compose reads it, and in a container engine with everything in it killed at random.
"""

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from compose_stack import ComposeStack, ending, place_order, type_readme_lines
from project_copy import copy_project, generate
from thorough import FAULT_ROUNDS, TRIES_ALL
from waiting import LIMIT_S, eventually
from yaml_files import read_yaml

from sagagen.runtime.addresses import RestateAddress
from sagagen.runtime.startup import SettingsError, StartupError
from sagagen.runtime.trust import restate_keys
from sagagen.runtime.trust.making import main as make_keys

STACK = ComposeStack(
    "sagagen-distributed-test",
    (
        "docker-compose.yml",
        "generated/deploy/compose.postgres.yaml",
        "generated/deploy/compose.distributed.yaml",
    ),
)
SERVICES = ("order", "inventory", "payment")
SERVERS = ("restate-1", "restate-2", "restate-3")
GATEWAYS = ("http://localhost:8080", "http://localhost:8082")
ORDERS = 200
DECLINED_PRICE = 600.0
KILLED = (
    *(f"{name}-{number}" for name in ("engine", *SERVICES) for number in (1, 2)),
    *(f"{name}-1" for name in ("gateway", "gateway-2", "postgres", "redis", *SERVERS)),
)
"""Containers, as compose names them behind the project's name."""


@cache
def services_of_compose() -> dict[str, Any]:
    return STACK.config()["services"]


def test_compose_puts_three_files_over_each_other() -> None:
    services = services_of_compose()
    for name in ("gateway", "gateway-2", "engine", *SERVERS):
        service = services[name]
        assert service["read_only"], name
        assert service["user"] == "65532:65532", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["healthcheck"]["test"], name
        assert "restate" in service["networks"], name
    for name in ("gateway", "gateway-2", "engine"):
        environment = services[name]["environment"]
        address = RestateAddress.read({**environment, "SAGAGEN_ENGINE_IDENTITY_KEY": "publickeyv1_x"})
        assert address
        assert address.ingress == tuple(f"http://{server}:8080" for server in SERVERS)
        assert environment["SAGAGEN_ORDER_ADDR"] == "dns:///order.mesh:50051"
        assert {"keys", *SERVERS, *SERVICES} <= services[name]["depends_on"].keys()
    assert services["engine"]["deploy"]["replicas"] == 2
    assert [services[name]["ports"][0]["published"] for name in ("gateway", "gateway-2")] == ["8080", "8082"]
    assert all("ports" not in services[name] for name in (*SERVERS, "engine"))
    for name in SERVICES:
        assert services[name]["deploy"]["replicas"] == 2
        assert "restate" not in services[name]["networks"], "it has no business there"


def test_servers_are_one_cluster_that_one_of_them_makes() -> None:
    services = services_of_compose()
    environments = [services[name]["environment"] for name in SERVERS]
    assert [each["RESTATE_AUTO_PROVISION"] for each in environments] == ["true", "false", "false"]
    assert [each["RESTATE_NODE_NAME"] for each in environments] == [*SERVERS]
    assert len({each["RESTATE_METADATA_CLIENT__ADDRESSES"] for each in environments}) == 1
    assert {each["RESTATE_DEFAULT_REPLICATION"] for each in environments} == {"2"}


def test_where_snapshots_go_is_said_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTATE_WORKER__SNAPSHOTS__DESTINATION", "s3://sagas/snapshots")
    monkeypatch.setenv("RESTATE_WORKER__SNAPSHOTS__AWS_ENDPOINT_URL", "http://store:9000")
    services = STACK.config()["services"]
    for name in SERVERS:
        environment = services[name]["environment"]
        assert environment["RESTATE_WORKER__SNAPSHOTS__DESTINATION"] == "s3://sagas/snapshots"
        assert environment["RESTATE_WORKER__SNAPSHOTS__AWS_ENDPOINT_URL"] == "http://store:9000"
        assert not environment.get("RESTATE_WORKER__SNAPSHOTS__AWS_REGION")


def test_a_service_without_sql_stays_on_sqlite_and_is_reached_all_the_same(tmp_path: Path) -> None:
    root = copy_project("minimal", tmp_path / "minimal")
    (root / "handlers" / "booking.postgres.sql").unlink()
    deploy = generate(root) / "generated" / "deploy"
    text = (deploy / "compose.distributed.yaml").read_text()
    assert "compose.postgres.yaml" not in text
    engine = read_yaml(text)["services"]["engine"]["environment"]
    assert engine["SAGAGEN_BOOKING_ADDR"].startswith("booking.mesh:")
    scraped = read_yaml((deploy / "prometheus" / "prometheus.distributed.yaml").read_text())
    (job,) = scraped["scrape_configs"]
    assert [each["targets"] for each in job["static_configs"]] == [
        ["gateway:8081", "gateway-2:8081"],
        ["booking:8081"],
    ]
    assert job["dns_sd_configs"][0]["names"] == ["engine.telemetry"]


def test_the_key_that_restate_signs_with_is_made_once_and_adapters_take_its_public_half(
    tmp_path: Path,
) -> None:
    make_keys([f"restate={tmp_path}"])
    public = (tmp_path / restate_keys.PUBLIC).read_text()
    private = (tmp_path / restate_keys.PRIVATE).read_bytes()
    make_keys([f"restate={tmp_path}"])
    assert (tmp_path / restate_keys.PUBLIC).read_text() == public
    assert (tmp_path / restate_keys.PRIVATE).read_bytes() == private
    assert (tmp_path / restate_keys.PRIVATE).stat().st_mode & 0o777 == 0o600
    there = {"SAGAGEN_ENGINE_URL": "restate+http://restate-1:8080", "SAGAGEN_ENGINE_ADDR": "0.0.0.0:9080"}
    read = RestateAddress.read(
        {**there, "SAGAGEN_ENGINE_IDENTITY_KEY_FILE": str(tmp_path / restate_keys.PUBLIC)}
    )
    assert read
    assert read.identity_keys == (public.strip(),)
    pytest.importorskip("restate._internal").PyIdentityVerifier([public.strip()])
    with pytest.raises(SettingsError, match=r"SAGAGEN_ENGINE_IDENTITY_KEY_FILE: .*no-such can't be read"):
        RestateAddress.read({**there, "SAGAGEN_ENGINE_IDENTITY_KEY_FILE": str(tmp_path / "no-such")})


def test_a_public_key_is_written_as_restate_writes_it(tmp_path: Path) -> None:
    """By the example of RFC 8032, section 7.1, test 1, whose leading zeros base58 keeps."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    pem = tmp_path / "key.pem"
    key = Ed25519PrivateKey.from_private_bytes(seed)
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert restate_keys.public_key_of(pem) == "publickeyv1_FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z"
    pem.write_text("no key\n")
    with pytest.raises(StartupError, match=r"key\.pem holds no private key"):
        restate_keys.public_key_of(pem)


@pytest.fixture(scope="module")
def stack() -> Iterator[None]:
    images = {"stand_in_postgres": "postgres:17-alpine", "stand_in_restate": "restatedev/restate:1.7.12"}
    with STACK.running(**images):
        yield


class Killing:
    """One container after the other dies by SIGKILL, and comes back after a moment. Used by `with`.

    Of a kind only one is gone at a time: two servers of three are no majority, and nobody promises more.
    """

    def __init__(self) -> None:
        self.killed: list[str] = []
        self._one_more = threading.Condition()
        self._is_enough = False
        self._thread = threading.Thread(target=self._kill)

    def await_deaths(self, count: int) -> None:
        with self._one_more:
            assert self._one_more.wait_for(lambda: len(self.killed) >= count, 5 * LIMIT_S)

    def _kill(self) -> None:
        waiting: list[str] = []
        while not self._is_enough:
            waiting = waiting or random.sample(KILLED, len(KILLED))
            name = waiting.pop()
            kind = [each for each in KILLED if each.rstrip("-123") == name.rstrip("-123")]
            eventually("all of a kind to be healthy", lambda kind=kind: [*map(health, kind)], all_healthy)
            docker("kill", name)
            time.sleep(random.uniform(0.0, 1.5))
            docker("start", name)
            with self._one_more:
                self.killed.append(name)
                self._one_more.notify_all()

    def __enter__(self) -> "Killing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_enough = True
        self._thread.join()


def docker(*words: str) -> str:
    """Of the container that the last word names, without the project's name."""
    *first, name = words
    command = ["docker", *first, f"{STACK.project}-{name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def health(name: str) -> str:
    return docker("inspect", "--format", "{{.State.Health.Status}}", name)


def all_healthy(said: list[str]) -> bool:
    return set(said) == {"healthy"}


@pytest.mark.slow
@pytest.mark.skipif(not TRIES_ALL, reason="SAGAGEN_PROOFS=all starts the stack")
def test_the_lines_of_the_readme_and_orders_while_everything_is_killed(stack: None) -> None:
    type_readme_lines(GATEWAYS[0])
    sagas: list[str] = []
    for round_ in range(FAULT_ROUNDS):
        with Killing() as killing, ThreadPoolExecutor(8) as pool:
            ids = [*pool.map(partial(order, round_, killing), range(ORDERS))]
            killing.await_deaths(len(KILLED))
        assert {*killing.killed} == {*KILLED}
        assert len(set(ids)) == ORDERS
        sagas += ids
    ended = [ending(GATEWAYS[number % 2], saga_id) for number, saga_id in enumerate(sagas)]
    STACK.orders_add_up(ended, before=1)
    said = eventually(
        "nothing to be unfinished",
        lambda: STACK.compose("exec", "-T", "engine", "sagagen", "engine", "status", check=False),
        lambda said: "adapters at http://engine.restate:9080" in said and "shop.place_order: " not in said,
        every_s=1.0,
    )
    assert "Restate 1." in said
    assert STACK.compose("exec", "-T", "restate-1", "id", "-u").strip() == "65532"
    assert "refused" in STACK.compose("exec", "-T", "restate-1", "sh", "-c", "touch /x || echo refused")


def order(round_: int, killing: Killing, number: int) -> str:
    """At one gateway or the other; every fifth is declined. They come as containers die, so that all do meanwhile."""
    killing.await_deaths(number * len(KILLED) // ORDERS)
    price = DECLINED_PRICE if number % 5 == 0 else 50.0
    return place_order(GATEWAYS[number % 2], f"{round_}-{number}", price=price)
