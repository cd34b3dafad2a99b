"""One saga whose rows can't be read is that saga's trouble: it is reported and left alone, and the others run."""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from engine_world import World, engine
from shop_mesh import order
from small_mesh import ManualClock, acceptance, running_engine, usual_saga
from waiting import eventually_async

from generated.mesh import MESH
from sagagen.runtime import Gateway
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.parsing import Narrowed
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.log.reading import open_sagas_in
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.journal import JournalUnreadable
from sagagen.runtime.saga.search import SagaQuery, UnreadableSaga

IDS = ("before", "bad", "after")
OF_BAD = "saga = (SELECT number FROM saga WHERE saga_id = 'bad')"
RETRY = OperatorCommand(Act.RETRY, "ann")

DAMAGES = {
    "a kind of row that nobody knows": f"UPDATE event SET kind = 'DREAMT' WHERE kind = 'FAILED' AND {OF_BAD}",
    "a status of gRPC's that there is not": f"UPDATE event SET code = 'SAD' WHERE kind = 'FAILED' AND {OF_BAD}",
    "a direction that there is not": f"UPDATE event SET direction = NULL WHERE kind = 'FAILED' AND {OF_BAD}",
    "a result that is no JSON": f"UPDATE event SET answer_headers = '{{' WHERE kind = 'DONE' AND {OF_BAD}",
    "a result of another shape": f"UPDATE event SET answer_headers = '7' WHERE kind = 'DONE' AND {OF_BAD}",
    "no row at all": f"DELETE FROM event WHERE {OF_BAD}",
    "no row of its acceptance": f"DELETE FROM event WHERE kind = 'ACCEPTED' AND {OF_BAD}",
    "a text of an event that is none": "UPDATE event SET message = CAST(x'ff41' AS TEXT) "
    f"WHERE kind = 'FAILED' AND {OF_BAD}",
    "a text of the saga that is none": "UPDATE saga SET idempotency_key = CAST(x'ff' AS TEXT) WHERE saga_id = 'bad'",
}


def damage(log: Path, sql: str) -> None:
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute(sql)


def rows_of_bad(log: Path) -> list[Any]:
    with closing(sqlite3.connect(log)) as connection:
        connection.text_factory = bytes
        return connection.execute(f"SELECT * FROM event WHERE {OF_BAD} ORDER BY seq").fetchall()


async def leave_three_active(log: Path, clock: ManualClock) -> None:
    """Three sagas whose second step fails, in a log whose engine has stopped."""
    definition = usual_saga(respond_after="one", deadline_s=1e9)
    world = World(clock, faults={("two", Direction.ACTION): ["down"] * 100_000})
    async with SagaLog.open(log) as opened, engine(definition, opened, world, clock, grace_s=0.0) as running:
        for saga_id in IDS:
            await running.accept(acceptance(definition, saga_id))
            await running.wait(saga_id, 60)
        await eventually_async(
            "their second steps to fail", lambda: failing(world), lambda seen: seen == {*IDS}
        )


def failing(world: World) -> set[str]:
    return {call.saga_id for call, _, _ in world.calls if (call.step, call.attempt) == ("two", 3)}


@asynccontextmanager
async def resumed(log: Path, clock: ManualClock) -> AsyncGenerator[EmbeddedEngine]:
    definition = usual_saga(respond_after="one", deadline_s=1e9)
    async with SagaLog.open(log) as opened, engine(definition, opened, World(clock), clock) as running:
        await running.wait_until_idle()
        yield running


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    await leave_three_active(path, ManualClock())
    return path


@pytest.mark.parametrize("kind", DAMAGES)
async def test_the_others_run_and_it_is_listed_as_what_it_is(
    kind: str, log: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    damage(log, DAMAGES[kind])
    before = rows_of_bad(log)
    clock = ManualClock()
    async with resumed(log, clock) as running:
        # Where a log line goes is whatever an earlier test of this process has set.
        assert "bad can't be read" in capsys.readouterr().out + caplog.text
        operations = SagaOperations(running)
        listed = await operations.list(SagaQuery(statuses=tuple(SagaStatus)))
        assert {saga["id"]: saga["status"] for saga in listed} == {
            "before": "COMPLETED",
            "bad": "UNREADABLE",
            "after": "COMPLETED",
        }
        (bad,) = [saga for saga in listed if saga["id"] == "bad"]
        (good, *_) = [saga for saga in listed if saga["id"] != "bad"]
        assert ("bad can't be read" in bad["error"], bad.keys() == good.keys()) == (True, True)
        assert [saga["id"] for saga in await operations.list(SagaQuery(), Narrowed(act=Act.RETRY))] == []
        for asked in (
            running.describe("bad"),
            operations.show("bad"),
            running.command("bad", RETRY),
            running.accept(acceptance(usual_saga(), "bad")),
        ):
            with pytest.raises(Exception, match="bad can't be read") as refused:
                await asked
            assert isinstance(refused.value, JournalUnreadable) or "CommandRejected" in repr(refused.value)
        assert (await operations.stats())["sagas"]["place"]["in_flight"] == 1
    assert rows_of_bad(log) == before, "it is left as it is"


async def test_a_saga_of_a_status_that_nobody_knows_is_shown_where_all_are(log: Path) -> None:
    damage(log, "UPDATE saga SET status = 'ASLEEP' WHERE saga_id = 'bad'")
    async with resumed(log, ManualClock()) as running:
        found = await running.search(SagaQuery(statuses=tuple(SagaStatus)))
        assert len(found) == 3
        with pytest.raises(JournalUnreadable, match="ASLEEP"):
            await running.accept(acceptance(usual_saga(), "bad"))


def ids(found: Sequence[Any]) -> list[str]:
    return [each.saga_id if isinstance(each, UnreadableSaga) else each.accepted.saga_id for each in found]


async def test_what_reads_a_log_from_outside_sees_all(log: Path) -> None:
    damage(log, DAMAGES["a text of an event that is none"])
    with closing(sqlite3.connect(log)) as connection:
        connection.row_factory = sqlite3.Row
        found = open_sagas_in(connection)
    assert sorted(ids(found)) == sorted(IDS)
    assert [type(each) for each in found].count(UnreadableSaga) == 1


class Silent:
    async def call(self, path: str, request: bytes, **_: object) -> Reply:
        return Reply(b"")


async def test_the_edge_says_of_it_that_it_can_t_be_read_and_serves_the_others(tmp_path: Path) -> None:
    transports = {service.name: Silent() for service in MESH.services}
    for damaged in (False, True):
        if damaged:
            damage(
                tmp_path / "saga-log.db", f"UPDATE event SET kind = 'DREAMT' WHERE kind = 'DONE' AND {OF_BAD}"
            )
        async with running_engine(tmp_path, MESH.sagas, transports) as running:
            for saga_id in IDS if not damaged else ():
                await running.accept(order(5.0, saga_id))
            await running.wait_until_idle()
            app = httpx.ASGITransport(Gateway(MESH).application(running, transports))
            async with httpx.AsyncClient(transport=app, base_url="http://shop") as client:
                answers = {saga_id: await client.get(f"/sagas/{saga_id}") for saga_id in IDS}
            assert {saga_id: answer.status_code for saga_id, answer in answers.items()} == {
                "before": 200,
                "bad": 500 if damaged else 200,
                "after": 200,
            }
            if damaged:
                assert answers["bad"].json()["reason"] == "SAGA_UNREADABLE"
