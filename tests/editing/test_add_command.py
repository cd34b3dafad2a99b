"""`sagagen add`: the contract that it leaves is right, and what it refuses leaves everything as it was."""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sagagen.cli.add import add
from sagagen.contract import read_contract
from sagagen.scaffold.project import Template, files_of

SHIPPING = "contracts/shop/shipping/v1/shipping.proto"
ORDER = "contracts/shop/order/v1/order.proto"
SAGA_YAML = "contracts/saga.yaml"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for path, content in files_of(Template.SHOP, "shop").items():
        if path.startswith("contracts/"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)
    return tmp_path


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(add, [*arguments, "--project", str(project)])


def contents(project: Path) -> Mapping[str, bytes]:
    return {str(path): path.read_bytes() for path in project.rglob("*") if path.is_file()}


def findings(project: Path) -> list[str]:
    return [found.code for found in read_contract(project)[1]]


def test_a_service_its_rpcs_and_a_step_that_calls_them(shop: Path) -> None:
    added = run(shop, "service", "shipping")
    assert added.exit_code == 0, added.output
    assert added.stdout == (
        f"{SHIPPING}: new, with service ShippingService\n"
        f"{SAGA_YAML}: service shipping\n"
        "Next: sagagen add rpc shipping/METHOD, then sagagen generate\n"
    )
    assert findings(shop) == []
    assert (
        run(shop, "rpc", "shipping/CreateShipment", "--http", "POST /orders/{order_id}/shipment").exit_code
        == 0
    )
    assert (
        run(shop, "rpc", "shipping/GetShipment", "--read", "--http", "GET /shipments/{order_id}").exit_code
        == 0
    )
    assert findings(shop) == []
    proto = (shop / SHIPPING).read_text()
    assert "message CreateShipmentRequest {\n  string order_id = 1;\n}" in proto
    call = ("--call", "shipping/CreateShipment")
    assert run(shop, "step", "place_order", "ship", *call).exit_code == 0
    assert findings(shop) == []
    mesh, _ = read_contract(shop)
    assert mesh is not None
    assert [(step.name, step.kind.value) for step in mesh.sagas[0].calls][-1] == ("ship", "retriable")


def test_a_saga_of_its_own_trigger(shop: Path) -> None:
    trigger = "shop.returns.v1.ReturnsService/ReturnOrder"
    assert run(shop, "rpc", trigger, "--http", "POST /returns").exit_code == 0
    assert findings(shop) == ["SG050"]
    made = run(shop, "saga", "return_order", "--trigger", trigger)
    assert made.exit_code == 0, made.output
    assert 'error[SG060]: the saga "return_order" has no steps' in made.stdout
    assert made.stdout.endswith("Next: sagagen add step return_order NAME --call SERVICE/METHOD\n")
    step = run(
        shop, "step", "return_order", "take_back", "--call", "order/CancelOrder", "--compensate", "none"
    )
    assert step.exit_code == 0, step.output
    assert "SG060" not in findings(shop)


def test_what_can_be_undone_goes_before_the_pivot_with_its_compensation(shop: Path) -> None:
    arguments = ("--call", "inventory/ReserveStock", "--compensate", "inventory/ReleaseStock")
    assert run(shop, "step", "place_order", "again", *arguments).exit_code == 0
    text = (shop / SAGA_YAML).read_text()
    new = text[text.index("      - name: again") : text.index("      - name: confirm_order")]
    assert new == (
        "      - name: again\n        call: inventory/ReserveStock\n        request: {}\n"
        "        compensate: { call: inventory/ReleaseStock, request: {} }\n"
    )


def test_a_read_needs_no_compensation_and_stands_where_it_is_put(shop: Path) -> None:
    arguments = ("--call", "inventory/GetStock", "--after", "create_order")
    assert run(shop, "step", "place_order", "look", *arguments).exit_code == 0
    text = (shop / SAGA_YAML).read_text()
    assert text.index("name: create_order") < text.index("name: look") < text.index("name: reserve_stock")


def test_the_same_again_changes_nothing(shop: Path) -> None:
    commands = (
        ("service", "shipping"),
        ("rpc", "shipping/Ship", "--http", "POST /ship"),
        ("step", "place_order", "ship", "--call", "shipping/Ship"),
    )
    for command in commands:
        assert run(shop, *command).exit_code == 0
    before = contents(shop)
    for command in commands:
        again = run(shop, *command)
        assert again.exit_code == 0
        assert "is already there: nothing was changed" in again.stdout
    assert contents(shop) == before


REFUSED = [
    (("service", "Order"), 'did you mean "order"?'),
    (("service", "order", "--implements", "a.v1.BService"), "which implements shop.order.v1.OrderService"),
    (
        ("service", "orders", "--implements", "shop.order.v1.OrderService"),
        "the service order already implements",
    ),
    (
        ("service", "orders", "--implements", "shop.order.v1.OrderServce"),
        'mean "shop.order.v1.OrderService"?',
    ),
    (("service", "orders", "--implements", "Orders"), "is not the full name of a proto service"),
    (("service", "gateway"), "the gateway's process has that name (SG027"),
    (("service", "front", "--implements", "shop.checkout.v1.CheckoutService"), "SG031"),
    (("rpc", "order"), "write it as service/Method"),
    (("rpc", "ordr/Ship"), 'did you mean "order"?'),
    (("rpc", "order/ship_order"), 'did you mean "ShipOrder"?'),
    (("rpc", "order/CancelOrder", "--read"), "there is already an rpc CancelOrder, with other options"),
    (("rpc", "order/Cancelorder"), "there is already an rpc CancelOrder: did you mean that?"),
    (("rpc", "order/Ship", "--http", "GET /x"), "add --read"),
    (("rpc", "order/Ship", "--http", "PSOT /x"), 'did you mean "post"?'),
    (("rpc", "order/Ship", "--http", "POST x"), "is not a path template"),
    (("rpc", "order/Ship", "--http", "POST /sagas"), "/sagas is reserved"),
    (("rpc", "order/Ship", "--http", "POST /{order.id}"), 'path variable "order.id" is not a field'),
    (("rpc", "order/Ship", "--http", "POST /orders"), "matches the same requests"),
    (
        ("saga", "place_order", "--trigger", "a.v1.B/C"),
        "triggered by shop.checkout.v1.CheckoutService/PlaceOrder",
    ),
    (("saga", "PlaceOrder", "--trigger", "a.v1.B/C"), 'did you mean "place_order"?'),
    (
        ("saga", "other", "--trigger", "shop.checkout.v1.CheckoutService/PlaceOrdr"),
        'CheckoutService/PlaceOrder"',
    ),
    (("saga", "other", "--trigger", "shop.order.v1.OrderService/CreateOrder"), "SG031"),
    (("saga", "other", "--trigger", "shop.checkout.v1.CheckoutService/PlaceOrder"), "SG032"),
    (("step", "place_orde", "x", "--call", "order/CancelOrder"), 'did you mean "place_order"?'),
    (("step", "place_order", "X", "--call", "order/CancelOrder"), 'did you mean "x"?'),
    (("step", "place_order", "completion", "--call", "order/GetOrder"), "SG062"),
    (("step", "place_order", "x", "--call", "order/CancelOrdr"), 'did you mean "CancelOrder"'),
    (("step", "place_order", "x", "--call", "CancelOrder"), 'did you mean "order/CancelOrder"'),
    (
        ("step", "place_order", "x", "--call", "order/GetOrder", "--after", "creat_order"),
        'mean "create_order"?',
    ),
    (("step", "place_order", "create_order", "--call", "order/GetOrder"), "which calls order/CreateOrder"),
    (
        ("step", "place_order", "x", "--call", "order/CreateOrder", "--after", "create_order"),
        "say how order/CreateOrder is undone",
    ),
    (
        ("step", "place_order", "x", "--call", "order/CreateOrder", "--compensate", "order/GetOrder"),
        "it cannot undo anything (SG069",
    ),
    (
        (
            *("step", "place_order", "x", "--call", "order/CreateOrder"),
            *("--compensate", "order/CancelOrder", "--after", "confirm_order"),
        ),
        "a retriable step is never compensated",
    ),
    (("step", "place_order", "x", "--call", "order/ConfirmOrder", "--kind", "pivot"), "SG070"),
]


@pytest.mark.parametrize(("command", "message"), REFUSED, ids=[" ".join(case[0][:4]) for case in REFUSED])
def test_what_would_be_wrong_is_refused_and_nothing_is_touched(
    command: tuple[str, ...], message: str, shop: Path
) -> None:
    before = contents(shop)
    done = run(shop, *command)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert contents(shop) == before


def test_errors_that_were_there_before_are_not_held_against_it(shop: Path) -> None:
    text = (shop / SAGA_YAML).read_text().replace("deadline: 60s", "deadline: sixty")
    (shop / SAGA_YAML).write_text(text)
    added = run(shop, "service", "shipping")
    assert added.exit_code == 0, added.output
    assert "SG016" not in added.stdout
    assert findings(shop) == ["SG016"]


def test_a_service_can_implement_what_is_declared_already(shop: Path) -> None:
    proto = shop / SHIPPING
    proto.parent.mkdir(parents=True)
    proto.write_text('syntax = "proto3";\n\npackage shop.shipping.v1;\n\nservice ParcelService {}\n')
    before = proto.read_bytes()
    assert run(shop, "service", "parcels", "--implements", "shop.shipping.v1.ParcelService").exit_code == 0
    assert proto.read_bytes() == before
    second = run(shop, "service", "shipping")
    assert f"{SHIPPING}: service ShippingService" in second.stdout
    assert proto.read_text().endswith("service ParcelService {}\n\nservice ShippingService {}\n")


def test_bytes_that_people_wrote_stay(shop: Path) -> None:
    for path in (SAGA_YAML, ORDER):
        (shop / path).write_bytes(b"\xef\xbb\xbf" + (shop / path).read_bytes().replace(b"\n", b"\r\n"))
    before = {path: (shop / path).read_bytes().splitlines(keepends=True) for path in (SAGA_YAML, ORDER)}
    assert run(shop, "rpc", "order/ShipOrder").exit_code == 0
    assert run(shop, "step", "place_order", "ship", "--call", "order/ShipOrder").exit_code == 0
    for path, lines in before.items():
        after = (shop / path).read_bytes().splitlines(keepends=True)
        left = iter(after)
        assert all(line in left for line in lines), path  # in this order
        assert all(line.endswith(b"\r\n") for line in after)
        assert after[0].startswith(b"\xef\xbb\xbf")


def test_the_lines_of_the_readme_do_what_it_says(shop: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    lines = [shlex.split(line) for line in readme.splitlines() if line.startswith("sagagen add ")]
    assert [line[2] for line in lines] == ["service", "rpc", "step"]
    for line in lines:
        assert run(shop, *line[2:]).exit_code == 0
    assert findings(shop) == []


def test_no_project_is_said_so(tmp_path: Path) -> None:
    done = run(tmp_path, "service", "a")
    assert done.exit_code == 2
    assert "no contracts/saga.yaml" in done.stderr


def test_saga_yaml_that_is_no_yaml_is_named_with_its_place(shop: Path) -> None:
    shutil.copy(shop / ORDER, shop / SAGA_YAML)
    done = run(shop, "service", "a")
    assert done.exit_code == 2
    assert f"{SAGA_YAML}:" in done.stderr
