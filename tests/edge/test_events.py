"""Events and requests to cancel over real HTTP: what is read of them, how they are answered, how they are refused."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from collecting import collecting
from edge_library import Served, served
from waiting import eventually_async

from sagagen.runtime.engine.port import (
    Delivered,
    Delivery,
    JournalUnavailable,
    NotDelivered,
    Overloaded,
    Refusal,
    SagaRuntime,
)
from sagagen.runtime.saga.commands import Act, OperatorCommand

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAGA = "5c0e2f9e-0000-5000-8000-000000000001"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Recording:
    """An engine that answers deliveries as a test says, so that each of its words is heard over HTTP."""

    engine: SagaRuntime
    answer: Delivered | Exception = field(default_factory=lambda: Delivered(True, TRACE_ID, 0))
    delivered: list[Delivery] = field(default_factory=list[Delivery])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    async def deliver(self, delivery: Delivery) -> Delivered:
        self.delivered.append(delivery)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Desk:
    client: httpx.AsyncClient
    engine: Recording

    async def collected(self, saga_id: str = SAGA, key: str | None = "k", **headers: str) -> httpx.Response:
        named = {"idempotency-key": key} if key is not None else {}
        return await self.client.post(
            f"/loans/{saga_id}:collected", json={"reason": "early"}, headers={**named, **headers}
        )

    async def cancel(self, saga_id: str = SAGA, key: str | None = "k") -> httpx.Response:
        named = {"idempotency-key": key} if key is not None else {}
        return await self.client.post(f"/loans/{saga_id}:cancel", headers=named)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk]:
    seen: list[Recording] = []

    def recording(engine: SagaRuntime) -> SagaRuntime:
        seen.append(Recording(engine))
        return cast(SagaRuntime, seen[0])

    async with served(tmp_path_factory.mktemp("events"), mesh=collecting(), seen=recording) as running:
        yield Desk(running.client, seen[0])


async def test_a_saga_that_waits_says_for_what_since_when_and_until_when(library: Desk) -> None:
    loan = {"name": "b", "reader": "ann"}
    lent = await library.client.post("/loans", json=loan, headers={"idempotency-key": "waits"})
    address = lent.headers["location"]

    async def saga() -> dict[str, Any]:
        return (await library.client.get(address)).json()

    found = await eventually_async("it to wait", saga, lambda found: found["steps"][1]["status"] == "WAITING")
    (_, waits) = found["steps"]
    assert (waits["name"], waits["event"], waits["path"], waits["attempts"]) == (
        "collect",
        "collected",
        [],
        0,
    )
    since, until = (datetime.fromisoformat(waits[name]) for name in ("since", "until"))
    assert until - since == timedelta(seconds=300)
    await library.engine.engine.command(lent.json()["id"], OperatorCommand(Act.CANCEL, "ann"))
    over = await eventually_async("its end", saga, lambda found: found["status"] == "COMPENSATED")
    assert (over["unconsumed"], over["incomplete"], over["starts_at"]) == ([], [], None)
    assert [step["event"] for step in over["steps"]] == [None, None]


@pytest.fixture
def desk(library: Desk) -> Desk:
    library.engine.answer = Delivered(True, TRACE_ID, 0)
    library.engine.delivered.clear()
    return library


async def test_an_event_reaches_the_engine_as_it_was_sent(desk: Desk) -> None:
    answer = await desk.collected(key='"mine"', **{"x-caller": "ann"})
    assert answer.status_code == 200, answer.text
    [delivery] = desk.engine.delivered
    assert (delivery.saga, delivery.saga_id, delivery.event) == ("lend_book", SAGA, "collected")
    assert (delivery.key, delivery.caller, delivery.is_operator) == ("mine", "ann", False)
    assert delivery.payload == b"\n$" + SAGA.encode() + b"\x12\x05early"
    assert answer.headers["traceparent"].split("-")[1] == TRACE_ID
    assert answer.headers["content-type"] == "application/json"
    assert "idempotency-replayed" not in answer.headers


async def test_the_body_is_of_the_event_its_saga_and_its_input(desk: Desk) -> None:
    lent = b"\n\x01b\x12\x03ann"
    desk.engine.answer = Delivered(True, TRACE_ID, 0, version=1, input=lent)
    assert (await desk.collected()).json() == {"name": SAGA, "reason": "early for ann"}


async def test_the_same_payload_has_the_same_fingerprint_however_it_is_spelled(desk: Desk) -> None:
    await desk.collected()
    await desk.client.post(
        f"/loans/{SAGA}:collected", content=b'{ "reason":"\\u0065arly"}', headers={"idempotency-key": "k"}
    )
    await desk.client.post(
        f"/loans/{SAGA}:collected", json={"reason": "late"}, headers={"idempotency-key": "k"}
    )
    prints = [delivery.fingerprint for delivery in desk.engine.delivered]
    assert prints[0] == prints[1] != prints[2]


async def test_a_repeat_says_that_it_is_one(desk: Desk) -> None:
    desk.engine.answer = Delivered(False, TRACE_ID, 0)
    assert (await desk.collected()).headers["idempotency-replayed"] == "true"


async def test_a_cancel_is_202_with_the_sagas_address(desk: Desk) -> None:
    desk.engine.answer = Delivered(False, TRACE_ID, 0, version=3)
    answer = await desk.cancel()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/sagas/{SAGA}")
    assert answer.json() == {"id": SAGA, "saga": "lend_book", "version": 3, "trace_id": TRACE_ID}
    assert desk.engine.delivered[0].event == "~cancel"


async def test_nothing_is_delivered_without_a_key_or_with_a_bad_payload(desk: Desk) -> None:
    for answer in (await desk.collected(key=None), await desk.cancel(key=None)):
        assert (answer.status_code, answer.json()["reason"]) == (400, "IDEMPOTENCY_KEY_MISSING")
    bad = await desk.client.post(
        f"/loans/{SAGA}:collected", json={"reason": 5}, headers={"idempotency-key": "k"}
    )
    assert (bad.status_code, bad.json()["violations"][0]["field"]) == (400, "reason")
    stranger = await desk.collected(**{"x-caller": "nobody"})
    assert stranger.status_code == 401
    assert desk.engine.delivered == []


@pytest.mark.parametrize("saga_id", ["none", SAGA.upper(), "%00%1b[31m", "x" * 4000, f"{SAGA}%0a"])
async def test_what_is_no_id_is_an_unknown_saga_and_nobody_is_asked(desk: Desk, saga_id: str) -> None:
    answer = await desk.collected(saga_id)
    assert (answer.status_code, answer.json()["reason"]) == (404, "UNKNOWN_SAGA")
    assert answer.text.isprintable()
    assert desk.engine.delivered == []


REFUSED: dict[Refusal, tuple[int, str, str]] = {
    Refusal.UNKNOWN_SAGA: (404, "NOT_FOUND", "UNKNOWN_SAGA"),
    Refusal.SAGA_OVER: (409, "ABORTED", "SAGA_OVER"),
    Refusal.NOT_EXPECTED: (409, "ABORTED", "NOT_EXPECTED"),
    Refusal.TOO_LATE: (409, "ABORTED", "TOO_LATE"),
    Refusal.NOT_ALLOWED: (403, "PERMISSION_DENIED", "NOT_ALLOWED"),
    Refusal.KEY_REUSED: (422, "INVALID_ARGUMENT", "IDEMPOTENCY_KEY_REUSED"),
    Refusal.SAGA_ELSEWHERE: (409, "ABORTED", "SAGA_ELSEWHERE"),
    Refusal.NOT_READY: (503, "UNAVAILABLE", "NOT_READY"),
}
MAY_BE_REPEATED = {Refusal.UNKNOWN_SAGA, Refusal.SAGA_ELSEWHERE, Refusal.NOT_READY}


@pytest.mark.parametrize("refusal", Refusal)
async def test_each_refusal_has_its_status_and_reason(desk: Desk, refusal: Refusal) -> None:
    desk.engine.answer = NotDelivered(refusal, "why it is so", 7.2)
    for answer in (await desk.collected(), await desk.cancel()):
        document = answer.json()
        assert (answer.status_code, document["code"], document["reason"]) == REFUSED[refusal]
        assert answer.headers["content-type"] == "application/problem+json"
        assert document["detail"]
        assert ("retry-after" in answer.headers) == (refusal in MAY_BE_REPEATED)


async def test_a_saga_that_is_not_ready_says_when_it_may_be(desk: Desk) -> None:
    desk.engine.answer = NotDelivered(Refusal.NOT_READY, "it has not begun", 7.2)
    assert (await desk.collected()).headers["retry-after"] == "8"


@pytest.mark.parametrize("error", [JournalUnavailable("the disk is full"), Overloaded("stopping")])
async def test_what_can_not_be_written_is_503(desk: Desk, error: Exception) -> None:
    desk.engine.answer = error
    answer = await desk.collected()
    assert (answer.status_code, answer.json()["reason"]) == (503, "NOT_ACCEPTED")
    assert int(answer.headers["retry-after"]) >= 1


# -- on the engine itself ------------------------------------------------------------------------------------------


class Loan:
    """A loan that waits until its book is collected."""

    def __init__(self, served: Served, saga_id: str) -> None:
        self.saga_id = saga_id
        self.client = served.client

    async def state(self) -> dict[str, Any]:
        return (await self.client.get(f"/sagas/{self.saga_id}", headers={"x-caller": "ann"})).json()

    async def ends(self) -> dict[str, Any]:
        return await eventually_async(
            "its end", self.state, lambda saga: saga["status"] in ("COMPLETED", "COMPENSATED")
        )

    async def send(self, what: str, key: str, caller: str = "ann", **body: str) -> httpx.Response:
        headers = {"idempotency-key": key, "x-caller": caller}
        path = f"/loans/{self.saga_id}:{what}"
        return await self.client.post(path, json=body or None, headers=headers)


async def lend(client: httpx.AsyncClient, number: int) -> httpx.Response:
    headers = {"idempotency-key": f"loan {number}", "x-caller": "ann"}
    return await client.post("/loans", json={"name": "b", "reader": "ann"}, headers=headers)


@asynccontextmanager
async def loans(data_dir: Path, count: int) -> AsyncGenerator[list[Loan]]:
    async with served(data_dir, mesh=collecting()) as running:
        found = list[Loan]()
        for number in range(count):
            lent = await lend(running.client, number)
            found.append(Loan(running, lent.json().get("id") or lent.json()["saga_id"]))
        for loan in found:
            await eventually_async(
                "it to wait", loan.state, lambda saga: saga["steps"][1]["status"] == "WAITING"
            )
        yield found


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


async def test_events_and_cancels_reach_the_engine_and_are_answered_again(tmp_path: Path) -> None:
    async with loans(tmp_path, 2) as (collected, cancelled):
        event = {"reason": "early"}
        assert reason(await collected.send("collected", "s", "stranger", **event)) == (403, "NOT_ALLOWED")
        first = await collected.send("collected", "k", **event)
        assert (first.status_code, first.json()) == (
            200,
            {"name": collected.saga_id, "reason": "early for ann"},
        )
        over = await collected.ends()
        assert (over["status"], over["unconsumed"]) == ("COMPLETED", [])
        again = await collected.send("collected", "k", **event)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert reason(await collected.send("collected", "k", reason="late")) == (
            422,
            "IDEMPOTENCY_KEY_REUSED",
        )
        assert reason(await collected.send("collected", "other", **event)) == (409, "SAGA_OVER")
        assert reason(await collected.send("cancel", "k")) == (409, "SAGA_OVER")

        assert reason(await cancelled.send("cancel", "s", "bob")) == (403, "NOT_ALLOWED")
        for key in ("k", "k", "another"):
            answer = await cancelled.send("cancel", key)
            assert (answer.status_code, answer.headers["location"]) == (202, f"/sagas/{cancelled.saga_id}")
            assert (answer.json()["version"], answer.json()["saga"]) == (1, "lend_book")
        assert (await cancelled.ends())["status"] == "COMPENSATED"
        assert reason(await lend(cancelled.client, 1)) == (409, "CLIENT_CANCELLED")
        assert reason(await cancelled.send("collected", "k", **event)) == (409, "SAGA_OVER")


async def test_an_event_that_came_is_answered_the_same_after_a_restart(tmp_path: Path) -> None:
    async with loans(tmp_path, 1) as (loan,):
        first = await loan.send("collected", "k", reason="early")
    async with served(tmp_path, mesh=collecting()) as restarted:
        again = await Loan(restarted, loan.saga_id).send("collected", "k", reason="early")
        assert (again.status_code, again.content) == (200, first.content)
