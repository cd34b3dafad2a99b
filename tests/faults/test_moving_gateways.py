"""A log file is left for PostgreSQL by two gateways, of which one has the file: nobody is charged twice."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import postgres_server
import pytest
from shop_invariants import assert_shop_is_consistent, await_all_orders_final
from stack import REPOSITORY, Stack, place_order, post_order

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing()),
]


class Gateway(Stack):
    """On the services of another stack; `engine` is what the environment says of where sagas are."""

    def __init__(self, folder: Path, services: Stack, engine: Mapping[str, str]) -> None:
        super().__init__(folder)
        self.reached = services.reached
        self.engine = engine

    def environment(self, name: str) -> dict[str, str]:
        return {**super().environment(name), **self.engine}


def test_a_key_of_the_file_has_no_second_effect_at_a_gateway_without_it(tmp_path: Path) -> None:
    name = f"sagas_{sha256(str(tmp_path).encode()).hexdigest()[:16]}"
    url = {"SAGAGEN_ENGINE_URL": postgres_server.shared_server().database(name)}
    with (
        closing(Stack(tmp_path / "services")) as services,
        closing(Gateway(tmp_path / "one", services, {})) as one,
        closing(
            Gateway(tmp_path / "other", services, {**url, "SAGAGEN_ENGINE_LEAVING_URL": "file"})
        ) as other,
    ):
        services.start(*services.services)
        one.start("gateway")
        before = place_order(one, "before")
        one.kill("gateway")
        one.engine = url
        one.start("gateway")
        other.start("gateway")

        again = post_order(one, "before")
        assert (again.status_code, again.json()["order_id"]) == (201, before)
        assert again.headers["idempotency-replayed"] == "true"
        elsewhere = post_order(other, "before")
        assert (elsewhere.status_code, elsewhere.json()["reason"]) == (409, "SAGA_ELSEWHERE")
        new = place_order(one, "new")
        assert post_order(other, "new").json()["order_id"] == new
        await_all_orders_final(services)
        assert_shop_is_consistent(services)
        orders = {row["order_id"] for row in services.rows("order", "SELECT order_id FROM orders")}
        assert orders == {before, new}

        stats = _sagagen(one, "sagas", "stats").stdout
        assert f"the log {one.data_dir / 'saga-log.db'} must stay: keys count until 2" in stats, stats
        assert "can go" not in _sagagen(other, "sagas", "stats").stdout
        shown = _sagagen(one, "sagas", "show", before).stdout
        assert "COMPLETED" in shown, shown


def _sagagen(stack: Stack, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sagagen", *words]
    environment = stack.environment("gateway")
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
