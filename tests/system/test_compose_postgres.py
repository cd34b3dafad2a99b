"""The generated stack on PostgreSQL, two replicas of each service: as compose reads it, and in a container engine."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from curl_lines import await_status, readme_curls, type_in
from project_copy import copy_project, generate
from stack import REPOSITORY, free_ports, keyed, order_body, patient_client
from thorough import TRIES_ALL
from waiting import eventually
from yaml_files import read_yaml

from sagagen.runtime.addresses import Address
from sagagen.runtime.process.listening import own
from sagagen.runtime.trust.making import main as make_keys

PROJECT = "sagagen-postgres-test"
FILES = ("-f", "docker-compose.yml", "-f", "generated/deploy/compose.postgres.yaml")
SERVICES = ("order", "inventory", "payment")
ORDERS = 24


def compose(*words: str, check: bool = True) -> str:
    done = subprocess.run(
        ["docker", "compose", "-p", PROJECT, "--profile", "mesh", *FILES, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answers(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_compose_puts_one_file_over_the_other() -> None:
    if not (shutil.which("docker") and answers("docker", "compose", "version")):
        pytest.skip("no docker compose here")
    read: dict[str, Any] = json.loads(compose("config", "--format", "json"))
    services = read["services"]
    for name in SERVICES:
        service = services[name]
        url_file = service["environment"][f"SAGAGEN_{name.upper()}_DATABASE_URL_FILE"]
        assert url_file == f"/run/sagagen/postgres/{name}.url"
        assert service["deploy"]["replicas"] == 2
        assert service["read_only"], "as before"
        assert {"keys", "databases"} <= service["depends_on"].keys()
        assert services["gateway"]["environment"][f"SAGAGEN_{name.upper()}_ADDR"].startswith(
            f"dns:///{name}.mesh:"
        )
    assert set(services["postgres"]["networks"]) == {"postgres"}
    assert "ports" not in services["postgres"]


def test_a_service_without_sql_for_it_stays_on_sqlite(tmp_path: Path) -> None:
    root = copy_project("delivery", tmp_path / "delivery")
    (root / "handlers" / "kitchen.postgres.sql").unlink()
    deploy = generate(root) / "generated" / "deploy"
    over = read_yaml((deploy / "compose.postgres.yaml").read_text())["services"]
    assert "kitchen" not in over
    assert "SAGAGEN_KITCHEN_ADDR" not in over["gateway"]["environment"]
    assert over["payment"]["deploy"] == {"replicas": 2}
    scraped = read_yaml((deploy / "prometheus" / "prometheus.postgres.yaml").read_text())["scrape_configs"][0]
    assert [each["targets"] for each in scraped["static_configs"]] == [["gateway:8081"], ["kitchen:8081"]]
    assert "payment.telemetry" in scraped["dns_sd_configs"][0]["names"]


def test_a_project_without_any_has_no_such_file(tmp_path: Path) -> None:
    root = copy_project("minimal", tmp_path / "minimal")
    (root / "handlers" / "booking.postgres.sql").unlink()
    assert not (generate(root) / "generated" / "deploy" / "compose.postgres.yaml").exists()


def test_a_password_is_made_once_and_is_in_the_url_of_each_database(tmp_path: Path) -> None:
    make_keys([f"postgres={tmp_path},order"])
    made = (tmp_path / "password").read_text().strip()
    make_keys([f"postgres={tmp_path},order,payment"])
    assert (tmp_path / "payment.url").read_text() == f"postgresql://sagagen:{made}@postgres:5432/payment\n"
    assert (tmp_path / "order.url").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o640, "the server reads it by its group"


def test_of_a_name_for_several_a_process_takes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: list[str] = []

    def looked_up(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(2, 1, 6, "", (host, 0)) for host in hosts]

    monkeypatch.setattr("socket.getaddrinfo", looked_up)
    (port,) = free_ports(1)
    name = Address("order.mesh", port)
    hosts[:] = "192.0.2.7", "0.0.0.0"  # the first is no machine's
    assert own(name) == Address("0.0.0.0", port)
    hosts[:] = ["192.0.2.7"]
    assert own(name) == name
    hosts[:] = "127.0.0.1", "127.0.0.2"
    assert own(name) == name


@pytest.fixture(scope="module")
def stack() -> Iterator[str]:
    """Where it is reached."""
    if not (shutil.which("docker") and answers("docker", "info")):
        pytest.skip("no container engine answers here")
    if not (
        answers("docker", "image", "inspect", "postgres:17-alpine")
        or answers("docker", "pull", "postgres:17-alpine")
    ):
        pytest.skip(
            "there is no image of PostgreSQL here, and no registry; tests/stand_in_postgres makes one"
        )
    try:
        compose("up", "--build", "-d", "--wait")
        yield "http://localhost:8080"
    finally:
        compose("down", "-v", "--timeout", "5", check=False)


def sql(database: str, query: str) -> list[str]:
    asked = ("psql", "-U", "sagagen", "-d", database, "-tAc", query)
    return compose("exec", "-T", "postgres", *asked).split()


def place_order(url: str, key: str) -> str:
    answer = eventually(
        "an order to be accepted",
        lambda: patient_client(url).post("/orders", json=order_body(), headers=keyed(key)),
        lambda answer: answer.status_code in (200, 201, 202),
        every_s=0.5,
    )
    body = answer.json()
    return body.get("order_id") or body["id"]


@pytest.mark.slow
@pytest.mark.skipif(not TRIES_ALL, reason="SAGAGEN_PROOFS=all starts the stack")
def test_the_lines_of_the_readme_and_a_replica_of_each_service_that_is_killed(stack: str) -> None:
    good, bad = readme_curls()
    orders = [type_in(good, stack)[1]]
    refused = type_in(bad, stack)[1]
    await_status(stack, orders[0].get("order_id") or orders[0]["id"], "CONFIRMED")
    cancelled = await_status(stack, refused.get("order_id") or refused["id"], "CANCELLED")
    assert cancelled["cancel_reason"] == "PAYMENT_LIMIT_EXCEEDED"

    both = "SELECT count(DISTINCT client_addr) FROM pg_stat_activity WHERE application_name LIKE 'sagagen %'"
    for name in SERVICES:
        eventually(
            f"both replicas of {name} to be connected",
            lambda name=name: sql(name, f"{both} AND datname = '{name}'"),
            ["2"].__eq__,
        )

    with ThreadPoolExecutor(4) as pool:
        posted = [pool.submit(place_order, stack, f"load-{number}") for number in range(ORDERS)]
        posted[3].result()
        killed = [f"{PROJECT}-{name}-{number}" for name, number in zip(SERVICES, (1, 2, 1), strict=True)]
        subprocess.run(["docker", "kill", *killed], check=True, capture_output=True)
        order_ids = [each.result() for each in posted]
    ended = {order_id: ending(stack, order_id) for order_id in order_ids}
    confirmed = int(sql("order", "SELECT count(*) FROM orders WHERE status = 2")[0])
    assert set(ended.values()) <= {"COMPLETED", "COMPENSATED"}
    assert confirmed == 1 + list(ended.values()).count("COMPLETED")
    assert int(sql("payment", "SELECT count(*) FROM payments WHERE status = 'CHARGED'")[0]) == confirmed
    assert int(sql("inventory", "SELECT sum(reserved) FROM stock")[0]) == confirmed
    assert compose("exec", "-T", "postgres", "id", "-u").strip() == "70"
    assert "refused" in compose("exec", "-T", "postgres", "sh", "-c", "touch /x || echo refused")


def ending(url: str, saga_id: str) -> str:
    """A saga's status in the end: where the machine is busy, its deadline may come first, and it is undone."""
    with patient_client(url) as client:
        return eventually(
            "the saga to end",
            lambda: client.get(f"/sagas/{saga_id}").json()["status"],
            {"COMPLETED", "COMPENSATED"}.__contains__,
        )
