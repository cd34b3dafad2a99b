"""A project moves to another engine and back while dinners are ordered: all end, once, and repeats are answered.

SAGAGEN_PROOFS=all moves 200 dinners of each status.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import postgres_server
import pytest
import restate_server
from delivery_project import SERVICES, effects_of, journal_of
from ordering import Order, place
from stack import Stack, free_ports
from thorough import TRIES_ALL
from waiting import eventually

pytestmark = pytest.mark.slow

COUNT = 200 if TRIES_ALL else 10
"""Dinners of each status."""
BROUGHT = {
    "payment": "CAPTURED", "ticket": "OPEN", "courier": "RIDES", "margherita": 2, "lasagne": 1, "points": 1, "mails": 1,
}  # fmt: skip


class MovingStack(Stack):
    """`engine` is what the environment says of where sagas are; empty: in the file."""

    engine: Mapping[str, str] = {}

    def environment(self, name: str) -> dict[str, str]:
        return {**super().environment(name), **self.engine}

    def start_on(self, engine: Mapping[str, str]) -> None:
        self.engine = engine
        self.start("up")

    def listed(self, **asked: str) -> set[str]:
        found = self.admin.get("/sagas", params={"limit": "10000", **asked})
        assert found.status_code == 200, found.text
        return {saga["id"] for saga in found.json()["sagas"]}

    def stats(self) -> dict[str, Any]:
        return self.admin.get("/stats").json()


@pytest.fixture
def stack(delivery_root: Path, tmp_path: Path) -> Iterator[MovingStack]:
    with closing(MovingStack(tmp_path / "var", root=delivery_root, services=SERVICES)) as stack:
        yield stack


@pytest.fixture(params=["PostgreSQL", "Restate"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """What the environment says of the other engine."""
    if request.param == "PostgreSQL":
        if why := postgres_server.missing():
            pytest.skip(why)
        yield {
            "SAGAGEN_ENGINE_URL": postgres_server.shared_server().database(
                f"moving_{tmp_path.name}".lower()[:60]
            )
        }
        return
    if why := restate_server.missing():
        pytest.skip(why)
    with restate_server.RestateServer() as server:
        (port,) = free_ports(1)
        yield {**server.environment, "SAGAGEN_ENGINE_ADDR": f"127.0.0.1:{port}"}


def left(engine: Mapping[str, str]) -> dict[str, str]:
    """The same engine, when it is left."""
    there = dict(engine)
    return {"SAGAGEN_ENGINE_LEAVING_URL": there.pop("SAGAGEN_ENGINE_URL"), **there}


@dataclass
class Dinners:
    """Dinners of which the engine has as many in each status, and what was answered to whoever asked again."""

    stack: MovingStack
    prefix: str
    ended: list[Order] = field(default_factory=list[Order])
    turned_back: list[Order] = field(default_factory=list[Order])
    waiting: list[Order] = field(default_factory=list[Order])
    stuck: list[Order] = field(default_factory=list[Order])
    running: list[Order] = field(default_factory=list[Order])
    compensating: list[Order] = field(default_factory=list[Order])
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])

    def order(self, interrupted: Callable[[], None]) -> None:
        """Bring them there; in the end services hold some of them up, and `interrupted` has to end that."""
        groups = (self.ended, self.turned_back, self.waiting, self.stuck, self.running, self.compensating)
        for name, group in zip("etwsrc", groups, strict=True):
            group += [_placed(self.stack, f"{self.prefix}-{name}-{number}") for number in range(COUNT)]
        ids = {order.order_id for group in groups for order in group}
        eventually("all to have a courier", lambda: self._with_a_courier() >= ids, bool)
        eventually("all to wait", lambda: self.stack.listed(waiting="answered") >= ids, bool)
        for order in self.ended:
            _bring(order)
        for order in self.turned_back:
            _told(202, partial(order.cancel, key="cancel"))
        _await(self.stack, "COMPLETED", self.ended)
        _await(self.stack, "COMPENSATED", self.turned_back)
        self.answers = {order.order_id: _asked_again(order) for order in (*self.ended, *self.turned_back)}
        with self.stack.holding_writes("kitchen"), self.stack.holding_writes("courier"):
            for order in (*self.running, *self.stuck):
                _told(200, partial(order.answer, accepted=True, key="answer"))
            for order in self.compensating:
                _told(202, partial(order.cancel, key="cancel"))
            with ThreadPoolExecutor(16) as people:  # each waits until a call that is under way is over
                list(people.map(_hold, self.stuck))
            _await(self.stack, "STUCK", self.stuck)
            _await(self.stack, "COMPENSATING", self.compensating)
            self.stack.kill("up")
        interrupted()

    def _with_a_courier(self) -> set[str]:
        return {row["order_id"] for row in self.stack.rows("courier", "SELECT order_id FROM rides")}

    def end(self) -> None:
        """Whatever they wait for comes, and each ends as it has to."""
        for order in self.stuck:
            _command(order, "retry")
        for order in self.waiting:
            _bring(order)
        for order in (*self.running, *self.stuck):
            _told(200, partial(order.pickup, key="pickup"))
        _await(self.stack, "COMPLETED", (*self.ended, *self.waiting, *self.stuck, *self.running))
        _await(self.stack, "COMPENSATED", (*self.turned_back, *self.compensating))

    def assert_answered_as_before(self) -> None:
        for order in (*self.ended, *self.turned_back):
            assert _asked_again(order) == self.answers[order.order_id]

    def assert_nothing_is_doubled(self) -> None:
        for order in (*self.ended, *self.waiting, *self.stuck, *self.running):
            assert effects_of(self.stack, order.order_id) == BROUGHT
            assert max(Counter(journal_of(self.stack, order.order_id)).values()) == 1
        for order in (*self.turned_back, *self.compensating):
            found = effects_of(self.stack, order.order_id)
            assert found == {"payment": "VOIDED", "ticket": "WITHDRAWN: CUSTOMER_CANCELLED"}
            assert max(Counter(journal_of(self.stack, order.order_id)).values()) == 1

    @property
    def ids(self) -> set[str]:
        groups = (self.ended, self.turned_back, self.waiting, self.stuck, self.running, self.compensating)
        return {order.order_id for group in groups for order in group}


def _bring(order: Order) -> None:
    _told(200, partial(order.answer, accepted=True, key="answer"))
    _told(200, partial(order.pickup, key="pickup"))


def _placed(stack: Stack, customer: str) -> Order:
    """On a busy machine so many at once are too many."""
    return eventually("an order to be taken", lambda: place(stack, customer), bool, despite=(AssertionError,))


def _told(status: int, tell: Callable[[], httpx.Response]) -> None:
    """As a patient client: again, with the same key, while nothing is taken."""
    answer = eventually("it to be taken", tell, lambda answer: answer.status_code != 503)
    assert answer.status_code == status, answer.text


def _command(order: Order, act: str, **more: str) -> None:
    done = order.stack.admin.post(
        f"/sagas/{order.order_id}/{act}", json={"by": "ann", "note": "moving", **more}
    )
    assert done.status_code == 200, done.text


def _hold(order: Order) -> None:
    _command(order, "hold", step="reserve[lasagne]")


def _asked_again(order: Order) -> tuple[int, bytes]:
    again = order.again()
    return again.status_code, again.content


def _await(stack: MovingStack, status: str, orders: "tuple[Order, ...] | list[Order]") -> None:
    ids = {order.order_id for order in orders}
    eventually(f"all to be {status}", lambda: ids - stack.listed(status=status), lambda missing: not missing)


def test_there_and_back_again(stack: MovingStack, other: Mapping[str, str]) -> None:
    stack.start("up")
    first = Dinners(stack, "first")
    first.order(lambda: stack.start_on(other))
    leaving = stack.stats()["leaving"]
    assert 3 * COUNT <= leaving["unfinished"] <= 4 * COUNT, "those that were turning back may have ended"
    assert not leaving["can_go"]
    assert stack.listed(status="ALL") == first.ids
    first.assert_answered_as_before()

    second = Dinners(stack, "second")
    second.order(lambda: stack.start_on(other))
    first.end()
    first.assert_answered_as_before()
    first.assert_nothing_is_doubled()
    assert stack.stats()["leaving"]["says"].startswith(
        f"the log {stack.data_dir / 'saga-log.db'} must stay: keys "
    )
    assert stack.listed(status="ALL") == first.ids | second.ids

    assert stack.terminate("up")[0] == 0
    stack.start_on(left(other))
    leaving = stack.stats()["leaving"]
    assert 3 * COUNT <= leaving["unfinished"] <= 4 * COUNT, "those that were turning back may have ended"
    third = place(stack, "third")
    eventually("it to be here", lambda: stack.rows("saga-log", _HERE.format(third.order_id)), bool)
    second.end()
    for dinners in (first, second):
        dinners.assert_answered_as_before()
        dinners.assert_nothing_is_doubled()
    _bring(third)
    assert third.await_end() == "COMPLETED"
    open_ones = [each["in_flight"] + each["stuck"] for each in stack.stats()["sagas"].values()]
    assert sum(open_ones) == 0
    assert stack.stats()["leaving"]["unfinished"] == 0


_HERE = "SELECT 1 FROM saga WHERE saga_id = '{}'"
