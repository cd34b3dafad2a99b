"""Dinners that are ordered at two gateways: each is placed, answered, fetched or cancelled, by whoever keeps asking.

Every message goes to both gateways at once, or twice to one, and again until it has an answer that is final.
"""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
from waiting import LIMIT_S

RESTAURANT, COURIER = "da-mario", "courier-1"
DISHES = ("margherita", "lasagne", "tiramisu")
KINDS = {
    "brought": 40,
    "early": 10,
    "bounced": 5,
    "cancelled": 20,
    "refused": 10,
    "nobody rides": 5,
    "sold out": 5,
    "fraud": 5,
}
"""How many of each there are, beside the others."""
TURNED_BACK = {"refused", "nobody rides", "sold out", "fraud"}
"""They can't end well."""
Say = Callable[[], Awaitable[None]]


@dataclass
class Dinner:
    """One order, and what was answered to whoever had to do with it."""

    number: int
    kind: str
    dishes: Mapping[str, int]
    order_id: str = ""
    answered: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """HTTP status and reason of each message's final answer: `answer`, `pickup`, `cancel`."""
    differing: list[str] = field(default_factory=list[str])
    """Answers to one key that are not the same."""
    longest_s: float = 0.0
    """From a message's first request to its final answer."""

    @property
    def customer(self) -> str:
        return {"bounced": "nomail", "fraud": "mallory"}.get(self.kind, f"guest-{self.number}")

    @property
    def key(self) -> str:
        return f"dinner-{self.number}"

    @property
    def body(self) -> dict[str, Any]:
        return {
            "restaurant_id": RESTAURANT,
            "dishes": [{"dish_id": dish, "quantity": quantity} for dish, quantity in self.dishes.items()],
            "total_minor": 20_000 if self.kind == "fraud" else 3400,
            "address": "9 Hill Road, Nowhere" if self.kind == "nobody rides" else "1 Main Street, Old Town",
        }

    def is_acknowledged(self, message: str) -> bool:
        return self.answered.get(message, (0, ""))[0] in (200, 202)


def draw_dinner(number: int, rng: random.Random) -> Dinner:
    (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
    dishes = {dish: rng.randint(1, 3) for dish in rng.sample(DISHES, rng.randint(1, len(DISHES)))}
    return Dinner(number, kind, dishes | ({"truffle": 1} if kind == "sold out" else {}))


class Guests:
    """Whoever has to do with dinners."""

    def __init__(self, ports: Sequence[int], dinners: Sequence[Dinner], rng: random.Random) -> None:
        """`ports` are the gateways'."""
        self._urls = [f"http://127.0.0.1:{port}" for port in ports]
        self._dinners = dinners
        self._rng = rng
        self.statuses = Counter[int]()
        """Of all answers; 0 where there was none."""
        self.have_begun = asyncio.Event()
        """All dinners are ordered, or nearly."""
        self.ask_until_s = math.inf
        """When those who have no final answer give up, by the monotonic clock."""

    async def dine(self, per_s: float, at_once: int) -> None:
        """All dinners, so many a second. Returns when each message has its final answer."""
        places = asyncio.Semaphore(at_once)
        limits = httpx.Limits(max_connections=4 * at_once, max_keepalive_connections=0)
        client = httpx.AsyncClient(limits=limits, timeout=30, verify=False)
        async with client as self._client, asyncio.TaskGroup() as group:
            for dinner in self._dinners:
                await asyncio.sleep(self._rng.expovariate(per_s))
                await places.acquire()
                group.create_task(self._dine(dinner, places))
            self.have_begun.set()

    async def ask_again(self, dinners: Sequence[Dinner]) -> None:
        """Once more the same at both gateways, now that all is over: they answer alike."""
        self.ask_until_s = time.monotonic() + LIMIT_S
        places = asyncio.Semaphore(8)
        async with httpx.AsyncClient(timeout=30, verify=False) as self._client:
            await asyncio.gather(*(self._ask_again(dinner, places) for dinner in dinners))

    async def _ask_again(self, dinner: Dinner, places: asyncio.Semaphore) -> None:
        async with places:
            one, other = [
                await self._until_final(url, dinner, "/orders", dinner.body, dinner.customer, dinner.key)
                for url in self._urls
            ]
        if _without_trace(one) != _without_trace(other):
            dinner.differing.append(f"placed again: {one.status_code} {one.text} {other.text}")

    async def _dine(self, dinner: Dinner, places: asyncio.Semaphore) -> None:
        try:
            placed = await self._say(dinner, "/orders", dinner.body, dinner.customer, dinner.key)
            dinner.order_id = _id_in(placed)
            for message in self._messages(dinner):
                await asyncio.sleep(self._rng.uniform(0, 0.5))
                await message()
        finally:
            places.release()

    def _messages(self, dinner: Dinner) -> Sequence[Say]:
        is_accepted = {"accepted": dinner.kind != "refused"}
        answer = partial(self._tell, dinner, "answer", is_accepted, RESTAURANT)
        pickup = partial(self._tell, dinner, "pickup", {}, COURIER)
        cancel = partial(self._tell, dinner, "cancel", {}, dinner.customer)
        match dinner.kind:
            case "early":
                return [pickup, answer]
            case "cancelled":
                said = [answer, pickup, cancel]
                self._rng.shuffle(said)
                return said
            case _:
                return [answer, pickup]

    async def _tell(self, dinner: Dinner, message: str, body: Mapping[str, Any], caller: str) -> None:
        path = f"/orders/{dinner.order_id}" + (":cancel" if message == "cancel" else f"/{message}")
        answer = await self._say(dinner, path, body, caller, f"{message}-{dinner.number}")
        reason = "" if answer.status_code < 300 else str(answer.json().get("reason", ""))
        dinner.answered[message] = answer.status_code, reason

    async def _say(
        self, dinner: Dinner, path: str, body: Mapping[str, Any], caller: str, key: str
    ) -> httpx.Response:
        """The message, and its double: both have one answer, if they are answered for good."""
        begun = time.monotonic()
        urls = [self._rng.choice(self._urls), self._rng.choice(self._urls)]
        first, second = await asyncio.gather(
            *(self._until_final(url, dinner, path, body, caller, key) for url in urls)
        )
        dinner.longest_s = max(dinner.longest_s, time.monotonic() - begun)
        codes = {first.status_code, second.status_code}
        is_of_one_saga = path != "/orders" or _id_in(first) == _id_in(second)
        if not is_of_one_saga or (path != "/orders" and len(codes) > 1):
            dinner.differing.append(
                f"{path}: {first.status_code} {first.text} / {second.status_code} {second.text}"
            )
        return min(first, second, key=lambda answer: answer.status_code)

    async def _until_final(
        self, url: str, dinner: Dinner, path: str, body: Mapping[str, Any], caller: str, key: str
    ) -> httpx.Response:
        """As a patient client: again, at this gateway or the other one, until it is told what became of it."""
        headers = {"X-Idempotency-Key": key, "X-Forwarded-User": caller}
        seen = ""
        while time.monotonic() < self.ask_until_s:
            try:
                answer = await self._client.post(f"{url}{path}", json=body, headers=headers)
                self.statuses[answer.status_code] += 1
                seen = f"{answer.status_code} {answer.text}"
                is_to_come = path != "/orders" and "retry-after" in answer.headers
                if answer.status_code not in (404, 503) and not is_to_come:
                    return answer
            except httpx.TransportError as error:  # killed before it could answer
                self.statuses[0] += 1
                seen = repr(error)
            await asyncio.sleep(0.2)
            url = self._rng.choice(self._urls)
        raise AssertionError(f"{dinner}: {path} has no final answer, and had last: {seen}")


def _id_in(placed: httpx.Response) -> str:
    """The order's: in its address, or in the answer to whoever repeats it after that, or while it is under way."""
    if placed.status_code == 202:
        return placed.headers["location"].rpartition("/")[2]
    return placed.json().get("saga_id") or placed.text


def _without_trace(answer: httpx.Response) -> tuple[int, Mapping[str, Any]]:
    said: dict[str, Any] = answer.json()
    said.pop("trace_id", None)
    return answer.status_code, said
