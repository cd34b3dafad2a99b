"""What the diff says of sagas under way, tried: begin orders on the old contract, stop, deploy the changed one, go on.

The changed definitions are emitted and loaded as a deployment would have them; engine, log, services and databases are
the real ones. Only payment is away at first, so that the orders wait at their third step.
"""

import importlib.util
import sqlite3
import textwrap
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from contract_pair import SAGA_YAML, Edit, changes, edited, resolved, severities, shop
from shop_mesh import ORDER_ID, PLACE_ORDER, order
from small_mesh import running_engine, running_services
from test_diff_rules import CASES, CHARGE, CONFIRM, LOOK, LOOK_AT_THE_END, RESERVE
from waiting import eventually_async

from generated.mesh import MESH
from sagagen.contract import Mesh
from sagagen.emit.files import FilePlan
from sagagen.emit.plan import plan
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.rpc.errors import Code, RpcError
from sagagen.runtime.rpc.transport import Reply, Transport
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.view import SagaView

WAITS = {"SD001", "SD002", "SD003", "SD004"}
"""Rules that say: a saga under way finds no definition of its own any more."""
OF_SAGA_YAML = [
    name
    for name, (edits, _) in CASES.items()
    if all(path == SAGA_YAML for path, _, _ in edits) and name != "an rpc moves to another service"
]
"""What is deployed here are sagas; services stay what they are."""


class Away:
    """A service that nobody reaches."""

    async def call(self, path: str, request: bytes, **_: object) -> Reply:
        raise RpcError(Code.UNAVAILABLE, "away")


@dataclass
class Later(SystemClock):
    """A clock that has gone on by so much."""

    seconds: float = 0.0

    def wall_ms(self) -> int:
        return super().wall_ms() + round(self.seconds * 1000)


async def begin(folder: Path, transports: dict[str, Transport], price: float) -> None:
    """One order of the old contract, at its payment."""
    without_payment = {**transports, "payment": Away()}
    async with running_engine(folder, [PLACE_ORDER], without_payment, grace_s=0.0) as engine:
        await engine.accept(order(price))
        await eventually_async(
            "an attempt of the payment", lambda: described(engine), lambda saga: saga.steps[2].attempts
        )


async def go_on(
    folder: Path, transports: dict[str, Transport], sagas: list[Saga], later_s: float = 0.0
) -> SagaView:
    """The order after the deployment: where it ended, or what it waits for."""
    async with running_engine(folder, sagas, transports, clock=Later(later_s)) as engine:
        await engine.wait_until_idle()
        return await described(engine)


async def described(engine: EmbeddedEngine) -> SagaView:
    view = await engine.describe(ORDER_ID)
    assert view is not None
    return view


def deployed(folder: Path, edits: list[Edit]) -> list[Saga]:
    """The definitions that the edited contract is emitted as."""
    sources, _ = shop()
    text = sources.saga_yaml or ""
    for _, was, now in edits:
        text = edited(text, was, now)
    return emitted_sagas(folder, resolved(replace(sources, saga_yaml=text)))


def emitted_sagas(folder: Path, mesh: Mesh) -> list[Saga]:
    return [_loaded(folder, name, content) for name, content in _emitted(plan(mesh))]


def _emitted(files: Iterable[FilePlan]) -> list[tuple[str, str]]:
    return [
        (Path(file.path).stem, str(file.render()))
        for file in files
        if file.path.startswith("generated/sagas/") and not file.path.endswith("__init__.py")
    ]


def _loaded(folder: Path, name: str, content: str) -> Saga:
    path = folder / f"{name}.py"
    path.write_text(content)
    spec = importlib.util.spec_from_file_location(f"changed_{name}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (saga,) = [value for value in vars(module).values() if isinstance(value, Saga)]
    return saga


@pytest.mark.parametrize("name", OF_SAGA_YAML)
async def test_an_order_under_way_goes_on_if_and_only_if_the_diff_says_so(name: str, tmp_path: Path):
    edits, _ = CASES[name]
    waits = bool(WAITS & severities(changes(tmp_path / "shop", edits)).keys())
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports, price=50.0)
        view = await go_on(tmp_path, transports, deployed(tmp_path, edits))
    assert bool(view.waiting_for) is waits
    assert view.status is (SagaStatus.RUNNING if waits else SagaStatus.COMPLETED)


async def forced(folder: Path, edits: list[Edit], price: float = 600.0) -> SagaView:
    """What the engine's refusal to go on with another digest prevents."""
    async with running_services(MESH, folder) as transports:
        await begin(folder, transports, price)
        (changed,) = deployed(folder, edits)
        return await go_on(folder, transports, [replace(changed, digest=PLACE_ORDER.digest)])


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


RELEASE = "        compensate: { call: inventory/ReleaseStock, request: { order_id: saga.id } }\n"
RESERVE_MORE = """        compensate:
          call: inventory/ReserveStock
          request:
            order_id: failure.step
            lines: "input.items.map(i, StockLine{product_id: i.product_id, quantity: 1})"
"""


@pytest.mark.parametrize(
    ("rule", "edits"),
    [
        ("SD201", [(SAGA_YAML, RELEASE, "        compensate: none\n")]),
        ("SD101", [(SAGA_YAML, RESERVE, "")]),
        ("SD203", [(SAGA_YAML, RELEASE, RESERVE_MORE)]),
    ],
)
async def test_a_step_that_nobody_undoes_keeps_its_stock(rule: str, edits: list[Edit], tmp_path: Path):
    assert rule in severities(changes(tmp_path / "shop", edits))
    view = await forced(tmp_path, edits)
    assert view.status in {SagaStatus.COMPENSATED, SagaStatus.STUCK}
    assert rows(tmp_path / "inventory.db", "SELECT sum(reserved) >= 2 FROM stock") == [(1,)]


async def test_without_a_change_the_stock_comes_back(tmp_path: Path):
    view = await forced(tmp_path, [])
    assert view.status is SagaStatus.COMPENSATED
    assert rows(tmp_path / "inventory.db", "SELECT sum(reserved) FROM stock") == [(0,)]


async def test_an_order_past_the_place_of_a_new_step_runs_it_late(tmp_path: Path):
    """SD105: between the two steps that it was put between nothing has run it."""
    edits = [(SAGA_YAML, RESERVE, LOOK + RESERVE)]
    assert "SD105" in severities(changes(tmp_path / "shop", edits))
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports, 50.0)
        (changed,) = deployed(tmp_path, edits)
        await go_on(tmp_path, transports, [replace(changed, digest=PLACE_ORDER.digest)])
    done = rows(tmp_path / "saga-log.db", "SELECT step FROM event WHERE kind = 'DONE' ORDER BY seq")
    assert [step for (step,) in done].index("look") > [step for (step,) in done].index("reserve_stock")


async def test_a_lower_deadline_turns_older_orders_back(tmp_path: Path):
    edits = [(SAGA_YAML, "deadline: 60s", "deadline: 20s")]
    assert "SD302" in severities(changes(tmp_path / "shop", edits))
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports, 50.0)
        view = await go_on(tmp_path, transports, deployed(tmp_path, edits), later_s=40.0)
    assert view.status is SagaStatus.COMPENSATED


async def test_with_the_old_deadline_they_go_on(tmp_path: Path):
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports, 50.0)
        view = await go_on(tmp_path, transports, deployed(tmp_path, []), later_s=40.0)
    assert view.status is SagaStatus.COMPLETED


async def test_an_appended_step_is_run_by_orders_under_way(tmp_path: Path):
    """SD106 is a warning: nothing breaks but that they run it too."""
    view = await forced(tmp_path, [(SAGA_YAML, CONFIRM, CONFIRM + LOOK_AT_THE_END)], price=50.0)
    assert view.status is SagaStatus.COMPLETED
    assert [step.name for step in view.steps if step.status == "DONE"][-1] == "look"


async def test_two_versions_side_by_side_each_end_on_their_own(tmp_path: Path):
    """P8: the order under way still charges and refunds as version 1 says; the new one has no payment at all."""
    sources, _ = shop()
    text = edited(sources.saga_yaml or "", "    version: 1\n", "    version: 2\n")
    v1 = textwrap.dedent((sources.saga_yaml or "").partition("  place_order:\n")[2])
    kept = {"contracts/sagas/place_order.v1.yaml": v1}
    mesh = resolved(replace(sources, saga_yaml=edited(text, CHARGE, ""), kept=kept))
    both = emitted_sagas(tmp_path, mesh)
    newest = next(saga for saga in both if saga.version == 2)
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports, price=50.0)
        async with running_engine(tmp_path, both, transports) as engine:
            await engine.accept(order(50.0, "another", saga=newest))
            await engine.wait_until_idle()
            old, new = await described(engine), await engine.describe("another")
    assert new
    assert (old.version, old.status) == (1, SagaStatus.COMPLETED)
    assert (new.version, new.status) == (2, SagaStatus.COMPLETED)
    assert rows(tmp_path / "payment.db", "SELECT order_id FROM payments") == [(ORDER_ID,)]
