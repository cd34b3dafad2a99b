"""A caller has no more active sagas than it may: others go on, replays are never refused by it, and a restart forgets
nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from edge_library import Served, served
from small_mesh import acceptance, running_engine, usual_saga

from sagagen.runtime.engine.caller_sagas import CallerSagas
from sagagen.runtime.engine.port import Acceptance, TooManyRunning
from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.rpc.transport import Reply

SAGA = usual_saga()
UNKNOWN = [(ANONYMOUS, key) for key in "12"]


async def test_one_saga_too_many_is_429_until_another_has_ended(tmp_path: Path) -> None:
    async with served(tmp_path, max_running_per_caller=1) as edge:
        done = await lend(edge, "ann", "done", "b")
        await edge.engine.wait_until_idle()
        first = await lend(edge, "ann", "1", "slow")
        assert first.status_code == 202, "what was over did not count any more"
        refused = await lend(edge, "ann", "2", "b")
        assert (refused.status_code, refused.json()["reason"]) == (429, "TOO_MANY_RUNNING")
        assert int(refused.headers["retry-after"]) >= 1
        # A replay begins nothing, and is not counted either.
        replays = [await lend(edge, "ann", "done", "b") for _ in range(2)]
        assert [(each.status_code, each.content) for each in replays] == [(201, done.content)] * 2
        assert (await lend(edge, "ann", "1", "slow")).json()["reason"] == "IDEMPOTENCY_CONFLICT"
        # Nor is it anybody else's business; and who is anonymous is nobody who could have too much.
        others = await asyncio.gather(*(lend(edge, *other, "b") for other in (("bob", "1"), *UNKNOWN)))
        assert {each.status_code for each in others} <= {201, 202}
        edge.shelf.gate.set()
        await edge.engine.wait_until_idle()
        for key in "23":
            assert (await lend(edge, "ann", key, "b")).status_code == 201
            await edge.engine.wait_until_idle()


class Away:
    """A service that never answers."""

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nothing ends that")


def order(caller: str, number: int) -> Acceptance:
    return replace(acceptance(SAGA, f"{caller}-{number}"), caller=caller)


async def test_a_restart_counts_what_the_log_has(tmp_path: Path) -> None:
    services = {name: Away() for name in {step.action.service for step in SAGA.calls}}
    async with running_engine(tmp_path, [SAGA], services, grace_s=0.1, max_running_per_caller=2) as engine:
        for each in (order("ann", 1), order("ann", 2), order("bob", 1)):
            await engine.accept(each)
    async with running_engine(tmp_path, [SAGA], services, grace_s=0.1, max_running_per_caller=2) as engine:
        with pytest.raises(TooManyRunning, match="you have 2 active sagas"):
            await engine.accept(order("ann", 3))
        assert not (await engine.accept(order("ann", 2))).is_new
        assert (await engine.accept(order("bob", 2))).is_new
        with pytest.raises(TooManyRunning):
            await engine.accept(order("bob", 3))


async def test_callers_who_come_at_once_are_counted_before_they_are_on_disk(tmp_path: Path) -> None:
    services = {name: Away() for name in {step.action.service for step in SAGA.calls}}
    async with running_engine(tmp_path, [SAGA], services, grace_s=0.1, max_running_per_caller=3) as engine:
        came = [engine.accept(order("ann", number)) for number in range(20)]
        refused = await asyncio.gather(*came, return_exceptions=True)
        assert sum(isinstance(each, TooManyRunning) for each in refused) == 17


def test_callers_without_sagas_are_forgotten() -> None:
    callers = CallerSagas(1, {"ann": 1, ANONYMOUS: 5})
    for _ in range(3):
        callers.begin("bob")
        assert callers.is_full("bob")
        callers.end("bob")
    callers.end("ann")
    callers.end("ann")
    assert vars(callers) == {"at_most": 1, "_active": {}}


async def lend(edge: Served, caller: str, key: str, book: str) -> httpx.Response:
    headers = {"x-caller": caller, "idempotency-key": key}
    return await edge.client.post("/loans", json={"name": book, "reader": "ann"}, headers=headers)
