"""The generated stack on PostgreSQL, two replicas of each service: as compose reads it, and in a container engine."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from compose_stack import ComposeStack, ending, place_order, type_readme_lines
from project_copy import copy_project, generate
from stack import free_ports
from thorough import TRIES_ALL
from waiting import eventually
from yaml_files import read_yaml

from sagagen.runtime.addresses import Address
from sagagen.runtime.process.listening import own
from sagagen.runtime.trust.making import main as make_keys

STACK = ComposeStack(
    "sagagen-postgres-test", ("docker-compose.yml", "generated/deploy/compose.postgres.yaml")
)
SERVICES = ("order", "inventory", "payment")
ORDERS = 24


def test_compose_puts_one_file_over_the_other() -> None:
    services = STACK.config()["services"]
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
    with STACK.running(stand_in_postgres="postgres:17-alpine"):
        yield "http://localhost:8080"


@pytest.mark.slow
@pytest.mark.skipif(not TRIES_ALL, reason="SAGAGEN_PROOFS=all starts the stack")
def test_the_lines_of_the_readme_and_a_replica_of_each_service_that_is_killed(stack: str) -> None:
    type_readme_lines(stack)

    both = "SELECT count(DISTINCT client_addr) FROM pg_stat_activity WHERE application_name LIKE 'sagagen %'"
    for name in SERVICES:
        eventually(
            f"both replicas of {name} to be connected",
            lambda name=name: STACK.sql(name, f"{both} AND datname = '{name}'"),
            ["2"].__eq__,
        )

    with ThreadPoolExecutor(4) as pool:
        posted = [pool.submit(place_order, stack, f"load-{number}") for number in range(ORDERS)]
        posted[3].result()
        killed = [f"{STACK.project}-{name}-{n}" for name, n in zip(SERVICES, (1, 2, 1), strict=True)]
        subprocess.run(["docker", "kill", *killed], check=True, capture_output=True)
        order_ids = [each.result() for each in posted]
    assert len(set(order_ids)) == ORDERS
    STACK.orders_add_up([ending(stack, order_id) for order_id in order_ids], before=1)
    assert STACK.compose("exec", "-T", "postgres", "id", "-u").strip() == "70"
    assert "refused" in STACK.compose("exec", "-T", "postgres", "sh", "-c", "touch /x || echo refused")
