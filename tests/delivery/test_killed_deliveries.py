"""kill -9 at random moments while dinners are ordered, answered, fetched and cancelled. Nothing is lost or doubled.

SAGAGEN_FAULT_ROUNDS=20 runs as many rounds as a release should see.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from delivery_project import LOG, SERVICES, effects_of, journal_of
from ordering import COURIER, NOBODY_RIDES_THERE, RESTAURANT, order_body, order_id_of
from stack import Stack
from thorough import FAULT_ROUNDS
from waiting import LIMIT_S, eventually

pytestmark = pytest.mark.slow

COUNT = 60 if FAULT_ROUNDS > 1 else 30
BROUGHT, TURNED_BACK = "COMPLETED", "COMPENSATED"
PAUSE_S = 0.05
VICTIMS = [("gateway",), ("payment", "kitchen"), ("restaurant", "courier"), ("gateway", *SERVICES)]


@dataclass
class Dinner:
    """An order, and what was answered to whoever had to do with it."""

    number: int
    order_id: str = ""
    answered: dict[str, int] = field(default_factory=dict[str, int])
    """The HTTP status of each message that had a final answer: `answer`, `pickup`, `cancel`."""

    @property
    def is_declined(self) -> bool:
        return self.number % 5 == 1

    @property
    def is_cancelled(self) -> bool:
        return self.number % 5 == 2

    @property
    def customer(self) -> str:
        return "nomail" if self.number % 5 == 3 else f"guest-{self.number}"

    @property
    def body(self) -> dict[str, Any]:
        return order_body(**({"address": NOBODY_RIDES_THERE} if self.number % 5 == 4 else {}))

    @property
    def end(self) -> str:
        """Where it must end, by what was promised."""
        if self.number % 5 == 4 or self.is_declined:
            return TURNED_BACK
        return TURNED_BACK if self.answered.get("cancel") == 202 else BROUGHT


@pytest.fixture
def stack(delivery_root: Path, tmp_path: Path) -> Iterator[Stack]:
    with closing(Stack(tmp_path / "var", root=delivery_root, services=SERVICES)) as stack:
        yield stack


@pytest.mark.parametrize("victims", VICTIMS if FAULT_ROUNDS > 1 else VICTIMS[-1:], ids="+".join)
async def test_kill_while_dinners_are_ordered(stack: Stack, victims: tuple[str, ...]) -> None:
    stack.start_each()
    for number in range(FAULT_ROUNDS):
        dinners = [Dinner(number * COUNT + each) for each in range(COUNT)]
        eating = asyncio.create_task(_serve(stack, dinners))
        await asyncio.sleep(random.uniform(0.1, 2.0))
        stack.kill(*victims)
        stack.start(*victims)
        await eating
        _assert_all_ended_well(stack, dinners)


async def _serve(stack: Stack, dinners: list[Dinner]) -> None:
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=stack.url, limits=limits, timeout=LIMIT_S, verify=False) as client:
        await asyncio.gather(*(_dine(client, dinner) for dinner in dinners))


async def _dine(client: httpx.AsyncClient, dinner: Dinner) -> None:
    placed = await _twice(client, "/orders", dinner.body, dinner.customer, f"order-{dinner.number}")
    dinner.order_id = order_id_of(placed) if placed.status_code == 202 else _told_later(placed)
    messages: list[Callable[[], Awaitable[None]]] = [
        lambda: _tell(client, dinner, "/answer", {"accepted": not dinner.is_declined}, RESTAURANT),
        lambda: _tell(client, dinner, "/pickup", {}, COURIER),
    ]
    if dinner.is_cancelled:
        messages.append(lambda: _tell(client, dinner, ":cancel", {}, dinner.customer))
        random.shuffle(messages)
    for message in messages:
        await asyncio.sleep(random.uniform(0, 0.5))
        await message()


def _told_later(placed: httpx.Response) -> str:
    """The id, where the 202 was lost with its gateway. Whoever sends the key again then hears how the order failed; or,
    while it is under way, that it is: an order's body is not stored before its end."""
    problem = placed.json()
    assert placed.status_code == 400 or problem.get("reason") == "IDEMPOTENCY_CONFLICT", placed.text
    return problem["saga_id"]


async def _tell(
    client: httpx.AsyncClient, dinner: Dinner, path: str, body: dict[str, Any], caller: str
) -> None:
    key = f"{path}-{dinner.number}"
    answer = await _twice(client, f"/orders/{dinner.order_id}{path}", body, caller, key)
    assert answer.status_code in (200, 202, 409), answer.text
    dinner.answered[path.strip("/:")] = answer.status_code


async def _twice(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], caller: str, key: str
) -> httpx.Response:
    """Send it, and a duplicate at the same time. Both have one answer, if they are answered for good."""
    first, second = await asyncio.gather(
        _until_answered(client, path, body, caller, key), _until_answered(client, path, body, caller, key)
    )
    if first.status_code < 300 and second.status_code < 300:
        assert first.status_code == second.status_code
    return min(first, second, key=lambda answer: answer.status_code)


async def _until_answered(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], caller: str, key: str
) -> httpx.Response:
    """As a patient client: again, with the same key, until it is told what became of it."""
    headers = {"X-Idempotency-Key": key, "X-Forwarded-User": caller}
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                answer = await client.post(path, json=body, headers=headers)
                if answer.status_code not in (404, 503):
                    return answer
            except httpx.TransportError:  # killed before it could answer
                pass
            await asyncio.sleep(PAUSE_S)


# -- what must hold -------------------------------------------------------------------------------------------


def _assert_all_ended_well(stack: Stack, dinners: list[Dinner]) -> None:
    eventually("each order to end", lambda: set(_statuses(stack).values()), {BROUGHT, TURNED_BACK}.issuperset)
    ended = _statuses(stack)
    assert {dinner.number: ended[dinner.order_id] for dinner in dinners} == {
        dinner.number: dinner.end for dinner in dinners
    }
    for dinner in dinners:
        _assert_effects(stack, dinner)
        _assert_events_are_kept(stack, dinner)
    _assert_larder_adds_up(stack)


def _statuses(stack: Stack) -> dict[str, str]:
    return {row["saga_id"]: row["status"] for row in stack.rows(LOG, "SELECT saga_id, status FROM saga")}


def _assert_effects(stack: Stack, dinner: Dinner) -> None:
    found = effects_of(stack, dinner.order_id)
    doubled = {
        what: count for what, count in Counter(journal_of(stack, dinner.order_id)).items() if count > 1
    }
    assert not doubled, (dinner, doubled)
    if dinner.end == BROUGHT:
        mails = {} if dinner.customer == "nomail" else {"mails": 1}
        assert found == {
            "payment": "CAPTURED", "ticket": "OPEN", "courier": "RIDES", "margherita": 2, "lasagne": 1, "points": 1,
            **mails,
        }, dinner  # fmt: skip
    else:
        assert found.pop("payment", "VOIDED") == "VOIDED", dinner
        assert found.pop("ticket", "WITHDRAWN").startswith("WITHDRAWN"), dinner
        assert found == {}, dinner


def _assert_events_are_kept(stack: Stack, dinner: Dinner) -> None:
    """What was acknowledged is in the log, once."""
    query = (
        "SELECT count(*) AS count FROM event JOIN saga ON saga.number = event.saga "
        f"WHERE saga.saga_id = '{dinner.order_id}' AND event.kind = 'EVENT'"
    )
    (row,) = stack.rows(LOG, query)
    acknowledged = [name for name in ("answer", "pickup") if dinner.answered.get(name) == 200]
    assert row["count"] == len(acknowledged), dinner


def _assert_larder_adds_up(stack: Stack) -> None:
    query = (
        "SELECT larder.dish_id, larder.reserved, coalesce(sum(reservations.quantity), 0) AS wanted, "
        "larder.available + larder.reserved AS total "
        "FROM larder LEFT JOIN reservations USING (dish_id) GROUP BY larder.dish_id"
    )
    for row in stack.rows("kitchen", query):
        assert row["reserved"] == row["wanted"], dict(row)
        assert row["total"] in (0, 100_000), dict(row)
