"""Files of sagas, services and packages are rendered again where a part of the contract has changed that is in them."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from project_copy import copy_project, generate, run_generate
from thorough import chosen

from sagagen.cache import FOLDER
from sagagen.cli.bump import bump
from sagagen.emit import plan
from sagagen.emit.messages import MessageModules

CHECKOUT = "contracts/shop/checkout/v1/checkout.proto"
ORDER = "contracts/shop/order/v1/order.proto"
PAYMENT = "contracts/shop/payment/v1/payment.proto"
SAGA = "contracts/saga.yaml"
EXTRA = "contracts/shop/extra/v1/extra.proto"


@pytest.fixture(scope="session")
def generated_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(copy_project("shop", tmp_path_factory.mktemp("shop") / "shop"))


@pytest.fixture
def shop(generated_shop: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(generated_shop, tmp_path / "shop"))


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was worked out: `saga place_order`, `doc place_order`, `service order`, `package shop.order.v1`."""
    seen: list[str] = []

    def watch(holder: Any, name: str, said: Callable[[Any, Any], str]) -> None:
        genuine = getattr(holder, name)

        def watched(*arguments: Any) -> Any:
            seen.append(said(*arguments[:2]))
            return genuine(*arguments)

        monkeypatch.setattr(holder, name, watched)

    watch(plan, "saga_view", lambda saga, _: f"saga {saga.name}")
    watch(plan, "saga_doc", lambda saga, _: f"doc {saga.name}")
    watch(plan, "service_view", lambda service, _: f"service {service.name}")
    watch(MessageModules, "view", lambda _, package: f"package {package}")
    return seen


SAGA_FILES = {"saga place_order", "doc place_order"}
SERVICES = {f"service {name}" for name in ("order", "inventory", "payment")}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def assert_as_from_nothing(root: Path) -> None:
    result = run_generate(root, "--check")
    assert result.exit_code == 0, result.output


CONCERNED: list[tuple[str, str, str, set[str]]] = [
    (
        PAYMENT,
        "message ",
        "// New.\nmessage ",
        {"service payment", "package shop.payment.v1", *SAGA_FILES},
    ),
    (
        ORDER,
        "message OrderItem {",
        "message OrderItem {\n  string note = 9;",
        {"service order", "package shop.order.v1", "package shop.checkout.v1", *SAGA_FILES},
    ),
    (
        ORDER,
        "message OrderItem {",
        "// A line of it.\nmessage OrderItem {",
        {"service order", "package shop.order.v1", *SAGA_FILES},
    ),
    (CHECKOUT, "message ", "// New.\nmessage ", {"package shop.checkout.v1", *SAGA_FILES}),
    (SAGA, "deadline: 60s", "deadline: 61s", SAGA_FILES),
    (SAGA, "    deadline: 60s", "    # An hour is too long.\n    deadline: 60s", set()),
    (SAGA, "  payment: {", "  payment: { retention: 90d,", SAGA_FILES | SERVICES),
]


@pytest.mark.parametrize(("path", "old", "new", "concerned"), CONCERNED)
def test_only_what_is_concerned_is_worked_out(
    shop: Path, rendered: list[str], path: str, old: str, new: str, concerned: set[str]
) -> None:
    edit(shop / path, old, new)
    generate(shop)
    assert set(rendered) == concerned
    assert_as_from_nothing(shop)


@pytest.fixture
def two_sagas(shop: Path) -> Path:
    """A copy of place_order below it, with an rpc of its own; both say `deadline: 60s`."""
    edit(
        shop / CHECKOUT,
        "rpc PlaceOrder(",
        "rpc PlaceOther(PlaceOrderRequest) returns (PlaceOrderResponse);\n  rpc PlaceOrder(",
    )
    text = (shop / SAGA).read_text()
    begin = text.index("  place_order:")
    saga = re.match(r"  place_order:\n(?: {4}.*\n|\n)*", text[begin:])
    assert saga
    other = saga[0].replace("place_order:", "place_other:").replace("/PlaceOrder", "/PlaceOther")
    end = begin + saga.end()
    (shop / SAGA).write_text(text[:end].rstrip("\n") + "\n" + other + text[end:])
    generate(shop)
    return shop


def test_what_saga_yaml_says_of_one_saga_concerns_that_one(two_sagas: Path, rendered: list[str]) -> None:
    edit(two_sagas / SAGA, "deadline: 60s", "deadline: 61s\n    # A line more, so that all below moves.")
    generate(two_sagas)
    assert set(rendered) == SAGA_FILES
    assert_as_from_nothing(two_sagas)


def test_what_an_alias_repeats_concerns_every_saga_that_has_it(two_sagas: Path, rendered: list[str]) -> None:
    edit(two_sagas / SAGA, "deadline: 60s", "deadline: &limit 60s")
    text = (two_sagas / SAGA).read_text()
    (two_sagas / SAGA).write_text(text.replace("deadline: 60s", "deadline: *limit"))
    generate(two_sagas)
    assert not rendered, "it says the same"
    edit(two_sagas / SAGA, "deadline: &limit 60s", "deadline: &limit 61s")
    generate(two_sagas)
    assert set(rendered) == SAGA_FILES | {"saga place_other", "doc place_other"}
    assert_as_from_nothing(two_sagas)


CHANGES: list[tuple[str, str, str]] = [
    (PAYMENT, "rpc ChargePayment", "// Charges, once.\n  rpc ChargePayment"),
    (ORDER, "message OrderItem {", "// A line of it.\nmessage OrderItem {"),
    (CHECKOUT, "message CartItem {", "message CartItem {\n  string import = 90;"),
    (SAGA, "timeout: 2s", "timeout: 3s"),
    (PAYMENT, "message ChargePaymentRequest {", "message ChargePaymentRequest {\n  string memo = 90;"),
    (ORDER, "CANCELLED = 3;", "CANCELLED = 3;\n    ODD = 4;"),
    (ORDER, 'get: "/orders/{order_id}"', 'get: "/all-orders/{order_id}"'),
    (CHECKOUT, 'post: "/orders"', 'post: "/new-orders"'),
    (PAYMENT, "service ", "message None {}\n\nservice "),
    (SAGA, "deadline: 60s", "deadline: 61s"),
    (SAGA, "on_concurrent: conflict", "on_concurrent: wait"),
    (SAGA, "  order: { implements", "  order: { retention: 90d, implements"),
]


def test_one_change_after_the_other_comes_to_what_comes_from_nothing(shop: Path) -> None:
    changes = chosen(CHANGES, first=4)
    for path, old, new in changes:
        edit(shop / path, old, new)
        generate(shop)
        assert_as_from_nothing(shop)
    for path, old, new in reversed(changes):
        edit(shop / path, new, old)
        generate(shop)
        assert_as_from_nothing(shop)


def test_a_file_that_joins_a_package_concerns_who_uses_the_package(shop: Path, rendered: list[str]) -> None:
    extra = shop / "contracts/shop/payment/v1/extra.proto"
    extra.write_text('syntax = "proto3";\n\npackage shop.payment.v1;\n\n// Unused.\nmessage Extra {}\n')
    generate(shop)
    assert {"service payment", *SAGA_FILES} <= set(rendered)
    assert not {"service order", "service inventory"} & set(rendered)
    extra.unlink()
    generate(shop)
    assert_as_from_nothing(shop)


def test_a_package_that_may_take_a_name_concerns_all(shop: Path, rendered: list[str]) -> None:
    extra = shop / EXTRA
    extra.parent.mkdir(parents=True)
    extra.write_text('syntax = "proto3";\n\npackage shop.extra.v1;\n\n// Unused.\nmessage Extra {}\n')
    generate(shop)
    assert set(rendered) >= SERVICES | SAGA_FILES
    assert_as_from_nothing(shop)


def test_an_older_version_that_is_kept_concerns_all(shop: Path, rendered: list[str]) -> None:
    result = CliRunner().invoke(bump, ["place_order", "--project", str(shop)])
    assert result.exit_code == 0, result.output
    generate(shop)
    assert set(rendered) >= SERVICES | SAGA_FILES
    assert (shop / "generated/sagas/place_order_v2.py").exists()
    assert_as_from_nothing(shop)


def test_contract_generated_files_and_memory_of_different_times_are_not_taken_for_one(shop: Path) -> None:
    of_before = Path(shutil.copytree(shop / FOLDER, shop / "memory"))
    edit(shop / SAGA, "deadline: 60s", "deadline: 61s")
    generate(shop)
    edit(shop / SAGA, "deadline: 61s", "deadline: 60s")
    shutil.rmtree(shop / FOLDER)
    of_before.rename(shop / FOLDER)
    generate(shop)
    assert_as_from_nothing(shop)


def test_a_generated_file_that_is_gone_or_edited_is_as_it_was_again(shop: Path, rendered: list[str]) -> None:
    (shop / "generated/docs/place_order_v1.md").unlink()
    generate(shop)
    assert not rendered, "the cache has it"
    assert_as_from_nothing(shop)
    with (shop / "generated/services/order.py").open("a") as file:
        file.write("# by hand\n")
    assert run_generate(shop).exit_code == 1
    assert run_generate(shop, "--force").exit_code == 0
    assert_as_from_nothing(shop)


def test_without_a_memory_all_is_rendered(shop: Path, rendered: list[str]) -> None:
    shutil.rmtree(shop / FOLDER)
    edit(shop / PAYMENT, "message ", "// New.\nmessage ")
    generate(shop)
    assert set(rendered) >= SERVICES | SAGA_FILES
    assert_as_from_nothing(shop)
