"""Overload is refused early, and never what was accepted: replays, waits and status pass (P13)."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from edge_library import Served, library, served
from waiting import eventually_async

from sagagen.runtime.model.definition import Limits, Mesh
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import SettingsError


def limited(**limits: int) -> Mesh:
    return replace(library().mesh, limits=Limits(**limits))


@pytest_asyncio.fixture
async def narrow(tmp_path: Path) -> AsyncGenerator[Served]:
    """A library that takes on one saga, and one request of its services, at a time."""
    async with served(tmp_path, mesh=limited(max_running=1, max_waiting=1, calls_per_service=1)) as running:
        yield running
        running.shelf.gate.set()


async def lend(library: Served, key: str, book: str) -> httpx.Response:
    body = {"name": book, "reader": "ann"}
    return await library.client.post("/loans", json=body, headers={"idempotency-key": key})


def assert_refused(answer: httpx.Response, reason: str) -> None:
    assert (answer.status_code, answer.json()["reason"]) == (503, reason)
    assert int(answer.headers["retry-after"]) >= 1


async def test_one_saga_too_many_is_refused_and_nothing_of_it_stays(narrow: Served) -> None:
    done = await lend(narrow, "done", "b")
    await narrow.engine.wait_until_idle()
    accepted = await lend(narrow, "accepted", "slow")
    assert accepted.status_code == 202
    assert_refused(await lend(narrow, "refused", "b"), "NOT_ACCEPTED")
    # What was accepted before is no new work: a replay, a duplicate under way, and how the saga stands.
    assert (await lend(narrow, "done", "b")).content == done.content
    assert (await lend(narrow, "accepted", "slow")).json()["reason"] == "IDEMPOTENCY_CONFLICT"
    assert (await narrow.client.get(f"/sagas/{accepted.json()['id']}")).json()["status"] == "RUNNING"
    narrow.shelf.gate.set()
    await narrow.engine.wait_until_idle()
    assert (await lend(narrow, "accepted", "slow")).status_code == 201
    assert "idempotency-replayed" not in (await lend(narrow, "refused", "b")).headers


async def test_a_wait_for_an_accepted_saga_is_admitted(narrow: Served) -> None:
    path, headers = "/loans/slow:renew", {"idempotency-key": "renewal"}
    first = asyncio.create_task(narrow.client.post(path, headers=headers))
    await eventually_async("a running saga", lambda: narrow.engine.running == 1)
    waiting = asyncio.create_task(narrow.client.post(path, headers=headers))
    assert_refused(await narrow.client.post(path), "NOT_ACCEPTED")
    narrow.shelf.gate.set()
    assert (await first).content == (await waiting).content
    assert (await waiting).status_code == 200


async def test_one_request_too_many_for_a_service_is_refused_at_once(narrow: Served) -> None:
    slow = asyncio.create_task(
        narrow.client.get("/v1/shelves/1/books/endless", headers={"grpc-timeout": "1S"})
    )
    await eventually_async("a read", lambda: narrow.shelf.reads == 1)
    assert_refused(await narrow.client.get("/v1/shelves/1/books/b"), "OVERLOADED")
    assert (await slow).status_code == 504
    assert (await narrow.client.get("/v1/shelves/1/books/b")).status_code == 200


async def test_who_waits_long_for_a_first_call_keeps_new_ones_out_and_is_tried_all_the_same(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, mesh=limited(calls_per_service=1)) as running:
        # Each holds the one call that there may be, until the service gives it up.
        slow = [asyncio.create_task(lend(running, f"slow-{number}", "slow")) for number in range(4)]
        await eventually_async("a standing line", lambda: running.engine.room() == 0)
        assert_refused(await lend(running, "late", "b"), "NOT_ACCEPTED")
        running.shelf.gate.set()
        accepted = [await answer for answer in slow]
        assert {answer.status_code for answer in accepted} <= {201, 202}
        await running.engine.wait_until_idle()
        for answer in accepted:
            saga_id = answer.json().get("id") or answer.json()["loan_id"]
            view = await running.engine.describe(saga_id)
            assert view, saga_id
            assert view.steps[0].attempts >= 1
        assert (await lend(running, "late", "b")).status_code == 201


async def test_thirty_at_once_all_get_an_answer_and_what_was_accepted_ends(narrow: Served) -> None:
    narrow.shelf.gate.set()
    answers = await asyncio.gather(*(lend(narrow, f"burst-{number}", "b") for number in range(30)))
    assert {answer.status_code for answer in answers} <= {201, 202, 503}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused
    await narrow.engine.wait_until_idle()
    for number, answer in enumerate(answers):
        if answer.status_code != 503:
            assert (await lend(narrow, f"burst-{number}", "b")).status_code == 201


def test_the_environment_overrules_the_contract(tmp_path: Path) -> None:
    settings = Settings.read({"SAGAGEN_MAX_RUNNING": "7"}, tmp_path)
    assert settings.limits(limited(max_running=5, max_waiting=6)) == Limits(max_running=7, max_waiting=6)


@pytest.mark.parametrize("text", ["0", "-1", "many", "1000001", "1" * 5000])
def test_a_limit_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="SAGAGEN_MAX_WAITING"):
        Settings.read({"SAGAGEN_MAX_WAITING": text}, tmp_path).limits(limited())
