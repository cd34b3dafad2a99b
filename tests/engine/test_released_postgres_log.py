"""A log in PostgreSQL as a release has left it: today's code ends half a saga, and leaves what it does not know.

`tests/released/postgres_log_3.sql` is that log: tables of version 3, rows of format 1. It is never edited.
"""

from pathlib import Path

import postgres_server
import pytest
from engine_world import World
from shared_gateways import gateway
from shared_log import log_url
from small_mesh import ManualClock, usual_saga

from sagagen.runtime.engine.port import SagaQuery
from sagagen.runtime.postgres.server import PostgresError
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.search import UnreadableSaga

RELEASED = Path(__file__).parents[1] / "released" / "postgres_log_3.sql"
A_NEWER_ONE = """
INSERT INTO sagagen_engine.saga (saga_id, shard, name, version, digest, run, caller, fingerprint, trace_id, started_ms,
  updated_ms, status) SELECT 'newer', shard, name, version, digest, run, caller, fingerprint, trace_id, started_ms,
  updated_ms, status FROM sagagen_engine.saga;
INSERT INTO sagagen_engine.batch (saga, answers, rows)
  SELECT (SELECT number FROM sagagen_engine.saga WHERE saga_id = 'newer'), answers, set_byte(rows, 1, 9)
    FROM sagagen_engine.batch ORDER BY seq
"""
"""The same saga once more, by code whose rows have format 9."""


def sql(folder: Path, text: str) -> None:
    postgres_server.shared_server().sql(text, log_url(folder).rpartition("/")[2])


async def test_half_a_saga_of_a_release_is_ended_and_a_newer_one_waits_for_its_code(tmp_path: Path) -> None:
    sql(tmp_path, RELEASED.read_text())
    sql(tmp_path, A_NEWER_ONE)
    world = World(ManualClock())
    async with gateway(tmp_path, usual_saga(deadline_s=1e9), world) as one:
        assert await one.ends("half") is SagaStatus.COMPLETED
        rows = (await one.saga("half")).rows
        found = await one.engine.search(SagaQuery(statuses=(SagaStatus.RUNNING,)))
    assert [type(row).__name__ for row in rows][:3] == ["Accepted", "Done", "Resumed"]
    assert len(world.effects) == 3, "its first step was done before"
    assert [(each.saga_id, each.why) for each in found if isinstance(each, UnreadableSaga)] == [
        (
            "newer",
            "saga newer can't be read from the log: it waits for code that reads rows of format 9; this one reads 1",
        )
    ]


async def test_tables_of_a_newer_release_are_left_alone(tmp_path: Path) -> None:
    sql(tmp_path, RELEASED.read_text())
    sql(tmp_path, "UPDATE sagagen_engine.meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(PostgresError, match="of version 99, and this program knows up to"):
        async with gateway(tmp_path, usual_saga(), World(ManualClock())):
            pass
