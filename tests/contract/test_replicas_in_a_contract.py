"""`replicas` of a service: how many a stack starts on PostgreSQL, for which it needs its SQL."""

from dataclasses import replace
from pathlib import Path

import pytest
from contract_bench import MARK, ROOT, brief, edited, place, shop, shop_yaml

from sagagen.contract import load, resolve

ORDER = "implements: [shop.order.v1.OrderService] }"


def with_replicas(number: int) -> str:
    return edited(shop_yaml(), ((ORDER, ORDER.replace(" }", f", replicas: {MARK}{number} }}")),))


def test_the_files_beside_the_handlers_say_which_services_can_be_on_postgresql(tmp_path: Path) -> None:
    assert shop().on_postgres == {"order", "inventory", "payment"}
    (tmp_path / "contracts").symlink_to(ROOT / "contracts")
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "order.sql").touch()
    for name in ("order.postgres.sql", "order.postgres.001.sql"):
        (tmp_path / "handlers" / name).touch()
    assert load(tmp_path)[0].on_postgres == {"order"}


@pytest.mark.parametrize(("number", "expected"), [(None, 2), (1, 1), (5, 5)])
def test_a_stack_starts_two_replicas_unless_the_contract_says_otherwise(
    number: int | None, expected: int
) -> None:
    text = shop_yaml() if number is None else with_replicas(number).replace(MARK, "")
    mesh, _ = resolve(replace(shop(), saga_yaml=text))
    assert mesh is not None
    order = next(service for service in mesh.services if service.name == "order")
    assert (order.replicas, order.has_postgres_sql) == (expected, True)


def test_a_service_without_its_sql_has_one_process() -> None:
    text = with_replicas(3)
    sources = replace(
        shop(), saga_yaml=text.replace(MARK, ""), on_postgres=frozenset({"payment", "inventory"})
    )
    mesh, (found,) = resolve(sources)
    assert (mesh, brief((found,))) == (None, [(place(text), "SG028")])
    assert found.message.startswith('service "order" cannot have 3 replicas: it can be on SQLite only')
    assert found.hint.startswith("write handlers/order.postgres.sql")
    old, _ = resolve(sources, tolerated=("SG028",))
    assert old is not None, "a contract to compare with may be without its handlers"
    mesh, found = resolve(replace(sources, saga_yaml=text.replace(f"{MARK}3", "1")))
    assert (mesh is not None, found) == (True, ())
