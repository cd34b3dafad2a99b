"""What a newcomer sees: the README's two curl lines, typed at a stack on each way to run.

On services in PostgreSQL they are typed by test_up_postgres.py, in containers by test_compose*.py, and in pods by
test_kubernetes_pods.py.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import Path

import postgres_server
import pytest
import restate_server
from curl_lines import await_status, readme_curls, type_in
from restate_server import RestateServer
from restate_stack import RestateStack
from shared_gateway import SharedGateway
from shop_invariants import assert_shop_is_consistent, await_terminal
from stack import Stack

pytestmark = pytest.mark.slow
Running = tuple[Stack, Stack]
"""Where an order is sent, and where it is sent again."""


@contextmanager
def in_one_process(folder: Path, name: str = "up") -> Generator[Running]:
    with closing(Stack(folder / "var")) as stack:
        stack.start(name)
        yield stack, stack


@contextmanager
def as_a_mesh(folder: Path) -> Generator[Running]:
    with in_one_process(folder, "mesh") as running:
        yield running


@contextmanager
def two_gateways_on_a_log_in_postgres(folder: Path) -> Generator[Running]:
    if why := postgres_server.missing():
        pytest.skip(why)
    url = postgres_server.shared_server().database(f"quick_{sha256(bytes(folder)).hexdigest()[:16]}")
    with ExitStack() as stacks:
        services = stacks.enter_context(closing(Stack(folder / "var")))
        gateways = [SharedGateway(folder / name, services, url) for name in ("one", "other")]
        for gateway in gateways:
            stacks.enter_context(closing(gateway))
            gateway.begin("gateway")
        services.start(*services.services)
        for gateway in gateways:
            gateway.data_dir = services.data_dir  # where the services' databases are looked into
            gateway.await_ready("gateway")
        yield gateways[0], gateways[1]


@contextmanager
def on_restate(folder: Path) -> Generator[Running]:
    with _restate(folder) as stack:
        stack.start("up")
        yield stack, stack


@contextmanager
def on_restate_in_processes_of_their_own(folder: Path) -> Generator[Running]:
    with _restate(folder) as stack:
        stack.start_each()
        yield stack, stack


@contextmanager
def _restate(folder: Path) -> Generator[RestateStack]:
    if why := restate_server.missing():
        pytest.skip(why)
    with RestateServer() as server, closing(RestateStack(folder / "var", server)) as stack:
        yield stack


WAYS: list[Callable[[Path], AbstractContextManager[Running]]] = [
    in_one_process,
    as_a_mesh,
    two_gateways_on_a_log_in_postgres,
    on_restate,
    on_restate_in_processes_of_their_own,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with request.param(tmp_path) as stacks:
        yield stacks


def test_the_two_lines_of_the_readme_confirm_one_order_and_cancel_the_other(running: Running) -> None:
    stack, other = running
    good, bad = readme_curls()

    first = type_in(good, stack.url)
    status, order = first
    assert (status, order["status"]) == (201, "PENDING")
    confirmed = await_status(stack.url, order["order_id"], "CONFIRMED")
    assert confirmed["total_minor"] == "5000"
    assert "cancel_reason" not in confirmed

    before = stack.http.get("/products/prod_1/stock").json()
    status, refused = type_in(bad, stack.url)
    assert (status, refused["status"]) == (201, "PENDING")
    cancelled = await_status(stack.url, refused["order_id"], "CANCELLED")
    assert cancelled["cancel_reason"] == "PAYMENT_LIMIT_EXCEEDED"

    await_terminal(stack, [order["order_id"], refused["order_id"]])
    assert stack.http.get("/products/prod_1/stock").json() == before
    saga = other.http.get(f"/sagas/{refused['order_id']}").json()
    assert saga["status"] == "COMPENSATED"
    assert [step["name"] for step in saga["steps"]] == [
        "create_order", "reserve_stock", "charge_payment", "confirm_order"
    ]  # fmt: skip
    assert_shop_is_consistent(stack)

    assert type_in(good, other.url) == first, "the same line again gives the same order"
    assert len(stack.rows("order", "SELECT 1 FROM orders")) == 2, "and no second one"
