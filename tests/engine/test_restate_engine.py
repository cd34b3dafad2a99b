"""What an engine on a real Restate does beyond what every engine does."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from engine_world import World
from restate_runtime import restate_engine
from small_mesh import SAGA_ID, ManualClock, acceptance, usual_saga
from waiting import eventually_async

from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.engine.port import CommandRejected, TooManyRunning
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.restate.client import RestateClient
from sagagen.runtime.restate.failing import Failing, said_of
from sagagen.runtime.restate.sagas import RestateSagas
from sagagen.runtime.saga.codec import UnknownFormat
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.events import SagaStatus

CANCEL = OperatorCommand(Act.CANCEL, "ann", "wrong order")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def waiting_for(runtime: RestateSagas) -> str:
    async def asked() -> str:
        view = await runtime.describe(SAGA_ID)
        return view.waiting_for if view else ""

    return await eventually_async("Restate to know of a failure", asked, bool)


async def test_a_version_that_no_adapter_has_is_what_the_saga_waits_for(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sagagen.runtime.restate.failing.KEPT_S", 0.0)
    definition, other = usual_saga(), usual_saga(version=2)
    async with restate_engine(tmp_path, definition, World(clock), clock, driven=[other]) as runtime:
        await runtime.accept(acceptance(definition))
        view = await runtime.describe(SAGA_ID)
        assert view
        assert (view.status, view.waiting_for) == (SagaStatus.RUNNING, ""), "it may go on in a moment"
        clock.advance(2.0)
        why = await waiting_for(runtime)
        assert why.startswith("adapters: saga place version 1: this code has no such version"), why
        shown = await SagaOperations(runtime).show(SAGA_ID)
        assert shown["waiting_for"] == why
        with pytest.raises(CommandRejected, match="waits for a deployment: adapters: saga place version 1"):
            await runtime.command(SAGA_ID, CANCEL)
    async with restate_engine(tmp_path, definition, World(clock), clock) as runtime:
        await eventually_async(
            "the saga to end",
            lambda: runtime.describe(SAGA_ID),
            lambda view: view is not None and not view.status.is_active,
        )


async def test_a_later_format_of_rows_is_a_matter_of_deployment_and_a_mistake_of_ours_is_not() -> None:
    class Admin:
        async def query(self, sql: str) -> list[dict[str, object]]:
            failures = [
                ("later", said_of(UnknownFormat(9)), 1),
                ("ours", said_of(ValueError("x")), 9),
                ("passing", said_of(ValueError("x")), 2),
            ]
            return [
                {"saga_id": saga_id, "last_failure": f"[500 Internal] {said}", "retry_count": count}
                for saga_id, said, count in failures
            ]

    failing = Failing(cast(RestateClient, Admin()), "p", ["place"])
    assert (await failing.of("later")).startswith("adapters: it waits for code that reads rows of format 9")
    assert await failing.of("ours") == "adapters that can go on with it: their attempts fail"
    assert (await failing.of("passing"), await failing.of("unknown")) == ("", "")


async def test_a_caller_has_no_more_sagas_than_the_contract_says_whoever_drives_them(
    tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(clock, faults={("one", Direction.ACTION): ["down"] * 3})
    mine = replace(acceptance(definition), caller="ann")
    async with restate_engine(tmp_path, definition, world, clock, per_caller=1) as runtime:
        await runtime.accept(mine)
        with pytest.raises(TooManyRunning, match="you have 1 active sagas"):
            await runtime.accept(replace(mine, saga_id="second"))
        assert not (await runtime.accept(mine)).is_new, "a repeat is no second one"
        assert (await runtime.accept(replace(mine, saga_id="of-bob", caller="bob"))).is_new
        clock.advance(60.0)
        await eventually_async(
            "the place of a saga that is over",
            lambda: runtime.accept(replace(mine, saga_id="second")),
            despite=(TooManyRunning,),
        )


@pytest.mark.parametrize("made_up", ["a b", "../x", "x/head\r\nhost: y", "ü%00"])
async def test_an_id_that_a_client_made_up_is_none(tmp_path: Path, clock: ManualClock, made_up: str) -> None:
    async with restate_engine(tmp_path, usual_saga(), World(clock), clock) as runtime:
        assert await runtime.find(made_up) is None
