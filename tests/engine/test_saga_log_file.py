"""The log on a real SQLite file: what is durable when, in which order, and for whom."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status as Code
from readable import readable
from small_mesh import SAGA_ID, TRACE, text
from waiting import LIMIT_S

from sagagen.runtime.log.group_commit import GroupWriter
from sagagen.runtime.log.schema import MIGRATIONS
from sagagen.runtime.log.store import LogCorrupted, LogUnavailable, SagaLog
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    Compensated,
    Done,
    DoneByHand,
    Ended,
    EventTaken,
    Failed,
    GaveUp,
    Held,
    LogEvent,
    LoopPlanned,
    NextRequest,
    Outcome,
    PassedOver,
    Planned,
    RefusedByHand,
    Resolved,
    Resumed,
    Retried,
    SagaStatus,
    Skipped,
    Stuck,
    TimedOut,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.result import SagaResult, StoredAnswer, Succeeded, Superseded, Unsuccessful
from sagagen.runtime.scope import Failure
from sagagen.runtime.sqlite.database import Database, DatabaseTooNew
from sagagen.runtime.sqlite.lock import LogLocked

RESULT = Succeeded(201, "shop.v1.PlaceOrderResponse", b"\x0a\x00")
STORED = StoredAnswer(201, (("content-type", "application/json"), ("location", "/sagas/ü")), b'{"a": 1}')
FAILURE = Failure("FAILED_PRECONDITION", "SOLD_OUT", "none left", "two")


def accepted(saga_id: str = SAGA_ID) -> Accepted:
    return Accepted(
        at_ms=5,
        span_id=TRACE.span_id,
        saga_id=saga_id,
        saga="place",
        version=3,
        digest="d1",
        run="0123456789abcdef",
        caller="alice",
        key="key-1",
        fingerprint=b"\x00\xff",
        input=text("x"),
        trace=TRACE._replace(flags=0, state="vendor=1"),
        next=NextRequest(b"first"),
    )


KINDS_OF_SCHEMA_4: Sequence[LogEvent] = [
    Done(at_ms=6, span_id="a", step="one", attempt=2, response=b"r", next=NextRequest(b"n"), result=RESULT),
    Done(at_ms=7, span_id="b", step="two", attempt=1, response=b"", next=NextRequest(problem="overflow")),
    Failed(
        at_ms=8,
        span_id="c",
        step="two",
        direction=Direction.COMPENSATION,
        attempt=4,
        outcome=Outcome.DOUBT,
        code=Code.RESOURCE_EXHAUSTED,
        domain="sagagen",
        reason="BUSY",
        message="later",
        retry_after_s=1.25,
        is_other_payload=True,
        owner_run="0123456789abcdef",
    ),
    TimeUp(at_ms=9, step="two", direction=Direction.ACTION),
    TurnedBack(
        at_ms=10, failure=FAILURE, outcome=Outcome.DOUBT, result=Unsuccessful(FAILURE, is_refused=False)
    ),
    Compensated(at_ms=11, span_id="d", step="two", attempt=5),
    PassedOver(at_ms=12, step="one", reason="READ", message="a read"),
    Stuck(at_ms=13, direction=Direction.COMPENSATION, failure=FAILURE),
    Retried(at_ms=14, by="ann", step="two", direction=Direction.COMPENSATION),
    Resolved(at_ms=15, by="ann", note="paid back in cash", step="two"),
    Cancelled(at_ms=16, by="bob"),
    Resumed(at_ms=17, span_id="e"),
    Ended(
        at_ms=18, status=SagaStatus.COMPENSATED, result=Superseded("0123456789abcdef", is_other_payload=True)
    ),
]
KINDS_SINCE_SCHEMA_5: Sequence[LogEvent] = [
    Held(at_ms=19, by="ann", note="asking the bank", step="two", direction=Direction.ACTION),
    DoneByHand(
        at_ms=20,
        by="ann",
        note="the bank says so",
        step="two",
        response=b"r",
        next=NextRequest(b"n"),
        result=RESULT,
    ),
    RefusedByHand(at_ms=21, by="ann", note="it never arrived", step="two"),
    GaveUp(
        at_ms=22,
        by="ann",
        note="nobody reads it",
        failure=FAILURE,
        next=NextRequest(problem="no way"),
        result=RESULT,
    ),
]
KINDS_SINCE_SCHEMA_6: Sequence[LogEvent] = [
    Planned(at_ms=23, next=NextRequest(b"sent", step="reserve[größe]")),
    Planned(at_ms=23, next=NextRequest(problem="overflow", step="ship")),
    Planned(at_ms=23, next=NextRequest(step="answer", until_ms=600)),
    LoopPlanned(at_ms=24, step="reserve", keys=("größe", "m,[l]"), at_once=5),
    LoopPlanned(at_ms=24, step="empty", keys=(), at_once=5, result=Succeeded(200, "x.Y", b"")),
    Skipped(at_ms=25, step="check"),
    TimedOut(at_ms=26, step="answer"),
    EventTaken(at_ms=27, event="answered", key="k", fingerprint=b"f", payload=b"yes", caller="ann@shop"),
    Done(at_ms=28, step="answer", attempt=0, response=b"", next=NextRequest(b"r", step="ship"), event=0),
    Failed(
        at_ms=29,
        step="answer",
        direction=Direction.ACTION,
        attempt=1,
        outcome=Outcome.REFUSED,
        code=Code.FAILED_PRECONDITION,
        reason="SAID_NO",
        event=0,
    ),
    Cancelled(at_ms=30, reason="CUSTOMER_CANCELLED", caller="bob", key="c", fingerprint=b"g"),
    TurnedBack(
        at_ms=31,
        failure=Failure("CANCELLED", "CUSTOMER_CANCELLED", "the client cancelled it", "answer"),
        outcome=Outcome.NOT_CALLED,
        doubt=("reserve[größe]", "ship"),
    ),
]
"""Rows that the log has since schema 6."""

CLAIMS = '{"groups":["ops"],"tenant":"größe"}'
WITH_CLAIMS: Sequence[LogEvent] = [
    EventTaken(at_ms=32, event="e", key="k", fingerprint=b"f", payload=b"", caller="ann", claims=CLAIMS),
    Cancelled(at_ms=33, reason="R", caller="bob", key="c", fingerprint=b"g", claims=CLAIMS),
]

EVERY_KIND = (*KINDS_OF_SCHEMA_4, *KINDS_SINCE_SCHEMA_5, *KINDS_SINCE_SCHEMA_6)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "saga-log.db"


def killed(path: Path, tmp_path: Path) -> Path:
    """The files as kill -9 leaves them now, for another process to open."""
    copy = tmp_path / "after-the-kill"
    shutil.copytree(path.parent, copy)
    return copy / path.name


async def test_every_kind_of_row_comes_back_as_it_was_written(path: Path) -> None:
    first, rows = replace(accepted(), claims=CLAIMS), (*EVERY_KIND, *WITH_CLAIMS)
    async with SagaLog.open(path) as log:
        ref = await log.accept(first)
        assert ref is not None
        await log.append(ref, rows, SagaStatus.COMPENSATED)
    async with SagaLog.open(path) as log:
        logged = await log.find(SAGA_ID)
        assert logged is not None
        assert logged.rows == (first, *rows)
        assert await log.last_ms() == rows[-1].at_ms


async def test_a_saga_is_accepted_once_and_its_head_tells_who_started_it(path: Path) -> None:
    async with SagaLog.open(path) as log:
        assert await log.head(SAGA_ID) is None
        assert await log.last_ms() == 0
        refs = await asyncio.gather(*(log.accept(accepted()) for _ in range(20)))
        assert sum(ref is not None for ref in refs) == 1
        head = await log.head(SAGA_ID)
        assert head is not None
        assert (head.caller, head.fingerprint, head.version) == ("alice", b"\x00\xff", 3)
        assert (head.status, head.result) == (SagaStatus.RUNNING, None)


@pytest.mark.parametrize("first", [RESULT, STORED])
async def test_the_first_result_stays(path: Path, first: SagaResult) -> None:
    async with SagaLog.open(path) as log:
        ref = await log.accept(accepted())
        assert ref is not None
        done = Done(at_ms=8, step="one", attempt=1, response=b"", next=NextRequest(b"n"), result=first)
        late = Ended(at_ms=9, status=SagaStatus.COMPLETED, result=StoredAnswer(500, (), b""))
        await log.append(ref, [done, late], SagaStatus.COMPLETED)
        head = await log.head(SAGA_ID)
        assert head is not None
        assert (head.result, head.status) == (first, SagaStatus.COMPLETED)


async def test_what_waits_at_once_shares_a_commit(path: Path) -> None:
    async with SagaLog.open(path) as log:
        before = log.commits
        refs = await asyncio.gather(*(log.accept(accepted(f"saga {n}")) for n in range(200)))
        assert all(refs)
        assert log.commits - before <= 2


async def test_rows_that_ride_along_are_durable_with_the_next_one_and_not_before(
    path: Path, tmp_path: Path
) -> None:
    rides, done = EVERY_KIND[2], EVERY_KIND[0]
    async with SagaLog.open(path) as log:
        ref = await log.accept(accepted())
        assert ref is not None
        await log.append_later(ref, [rides])
        async with SagaLog.open(killed(path, tmp_path / "1")) as survivor:
            assert await rows(survivor) == (accepted(),)
        await log.append(ref, [done], SagaStatus.RUNNING)
        async with SagaLog.open(killed(path, tmp_path / "2")) as survivor:
            assert await rows(survivor) == (accepted(), rides, done)


async def test_closing_writes_what_rides_along(path: Path) -> None:
    async with SagaLog.open(path) as log:
        ref = await log.accept(accepted())
        assert ref is not None
        await log.append_later(ref, [EVERY_KIND[2]])
    async with SagaLog.open(path) as log:
        assert await rows(log) == (accepted(), EVERY_KIND[2])


async def rows(log: SagaLog, saga_id: str = SAGA_ID) -> tuple[LogEvent, ...]:
    logged = await log.find(saga_id)
    return logged.rows if logged else ()


async def test_a_second_owner_is_refused_and_told_who_the_first_is(path: Path) -> None:
    async with SagaLog.open(path):
        with pytest.raises(LogLocked, match=r"saga-log\.db"):
            async with SagaLog.open(path):
                pass
    async with SagaLog.open(path):
        pass


async def test_a_log_of_a_later_version_is_refused(path: Path) -> None:
    async with SagaLog.open(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DatabaseTooNew):
        async with SagaLog.open(path):
            pass


async def test_a_log_of_the_first_version_is_brought_up_to_date_with_its_sagas(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(f"{MIGRATIONS[1]}; PRAGMA user_version = 1")
        values = (
            1,
            SAGA_ID,
            "place",
            3,
            "d1",
            "r",
            "alice",
            "k",
            b"",
            TRACE.trace_id,
            0,
            "",
            5,
            6,
            "RUNNING",
            None,
        )
        connection.execute(f"INSERT INTO saga VALUES ({', '.join('?' * len(values))})", values)
        for kind, payload in (("ACCEPTED", text("x")), ("CANCELLED", None)):
            connection.execute(
                "INSERT INTO event (saga, at_ms, kind, trace_id, span_id, payload) VALUES (1, 5, ?, 't', 's', ?)",
                (kind, payload),
            )
    async with SagaLog.open(path) as log:
        (page,) = [page async for page in log.active_sagas()]
        (saga,) = readable(page)
        first, cancelled = saga.rows
        assert (first.at_ms, cancelled) == (5, Cancelled(at_ms=5, span_id="s"))
        await log.append(saga.ref, [EVERY_KIND[9]], SagaStatus.RUNNING)
        assert (await rows(log))[-1] == EVERY_KIND[9], "and takes what only the later version writes"


async def test_a_row_that_cannot_be_written_fails_alone(path: Path) -> None:
    async with SagaLog.open(path) as log:
        good, bad = await log.accept(accepted("good")), await log.accept(accepted("bad"))
        assert good is not None
        assert bad is not None
        too_big = Compensated(at_ms=2**70, step="one", attempt=1)
        results = await asyncio.gather(
            log.append(good, [EVERY_KIND[0]], SagaStatus.RUNNING),
            log.append(bad, [EVERY_KIND[0], too_big], SagaStatus.COMPLETED),
            log.append(good, [EVERY_KIND[1]], SagaStatus.RUNNING),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [type(None), OverflowError, type(None)]
        assert len(await rows(log, "good")) == 3
        assert await rows(log, "bad") == (accepted("bad"),)
        head = await log.head("bad")
        assert head is not None
        assert head.status is SagaStatus.RUNNING


async def test_active_sagas_are_read_in_pages_and_others_not_at_all(path: Path) -> None:
    async with SagaLog.open(path) as log:
        refs = await asyncio.gather(*(log.accept(accepted(f"saga {n}")) for n in range(1100)))
        end = Ended(at_ms=9, status=SagaStatus.COMPLETED)
        stuck = Stuck(at_ms=9, direction=Direction.ACTION, failure=FAILURE)
        await asyncio.gather(
            *(log.append(ref, [end], SagaStatus.COMPLETED) for ref in refs[:50] if ref),
            *(log.append(ref, [stuck], SagaStatus.STUCK) for ref in refs[50:100] if ref),
            *(log.append(ref, [EVERY_KIND[0]], SagaStatus.RUNNING) for ref in refs[100:110] if ref),
        )
        pages = [page async for page in log.active_sagas()]
        found = readable(logged for page in pages for logged in page)
        assert [len(page) for page in pages] == [500, 500]
        assert [logged.ref for logged in found] == refs[100:]
        assert {len(logged.rows) for logged in found[:10]} == {2}
        assert {len(logged.rows) for logged in found[10:]} == {1}


async def test_recovery_uses_the_index_of_active_sagas(path: Path) -> None:
    async with SagaLog.open(path):
        pass
    connection = sqlite3.connect(path)
    query = "SELECT * FROM saga WHERE status IN ('RUNNING', 'COMPENSATING') AND number > 0 ORDER BY number LIMIT 9"
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
    connection.close()
    assert "saga_unfinished" in plan


async def test_rows_that_no_version_wrote_are_named(path: Path) -> None:
    async with SagaLog.open(path) as log:
        ref = await log.accept(accepted())
        assert ref is not None
        await log.append(ref, [Cancelled(at_ms=9)], SagaStatus.RUNNING)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE event SET kind = 'DREAMT' WHERE kind = 'CANCELLED'")
    connection.close()
    async with SagaLog.open(path) as log:
        with pytest.raises(LogCorrupted, match=SAGA_ID):
            await log.find(SAGA_ID)


@asynccontextmanager
async def small_disk(path: Path, **bounds: Any) -> AsyncGenerator[tuple[GroupWriter, Database]]:
    async with Database(path) as database:
        await database.run_script("CREATE TABLE t (x); CREATE TABLE filler (x)")
        writer = GroupWriter(database, **bounds)
        task = asyncio.create_task(writer.run())
        yield writer, database
        writer.close()
        await task


def fill(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO filler VALUES (zeroblob(200000))")


def insert(value: int) -> "Insert":
    return Insert(value)


class Insert:
    def __init__(self, value: int) -> None:
        self._value = value

    def __call__(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (?)", (self._value,))


async def test_a_full_disk_fails_who_waits_and_keeps_the_order_of_what_rides_along(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "small.db") as (writer, database):
        await database.in_thread(lambda c: c.execute("PRAGMA max_page_count = 10").fetchall())
        await writer.write_later(insert(1))
        with pytest.raises(LogUnavailable, match="full"):
            await writer.write(fill)
        await writer.write_later(insert(2))
        await database.in_thread(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchall())
        await writer.write(insert(3))
        found = await database.in_thread(lambda c: [row[0] for row in c.execute("SELECT x FROM t")])
        assert found == [1, 2, 3]
        assert not await database.in_thread(lambda c: c.execute("SELECT x FROM filler").fetchall())


async def test_nobody_waits_for_ever_for_a_log_that_closes(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "small.db") as (writer, _):
        waiting = asyncio.create_task(writer.write(insert(1)))
        await asyncio.sleep(0)
        writer.close()
        await waiting
        with pytest.raises(LogUnavailable, match="closing"):
            await writer.write(insert(2))


async def test_who_stops_waiting_disturbs_nobody(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "small.db") as (writer, database):
        impatient = asyncio.create_task(writer.write(insert(1)))
        patient = asyncio.create_task(writer.write(insert(2)))
        await asyncio.sleep(0)
        impatient.cancel()
        await patient
        assert len(await database.in_thread(lambda c: c.execute("SELECT x FROM t").fetchall())) == 2


async def test_who_finds_the_queue_full_waits_for_room(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "log.db", max_waiting=3) as (writer, database):
        riding = [asyncio.create_task(writer.write_later(insert(n))) for n in range(20)]
        await asyncio.sleep(0)
        assert writer.is_full
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*riding, *(writer.write(insert(n)) for n in range(20, 40)))
        found = await database.in_thread(lambda c: [row[0] for row in c.execute("SELECT x FROM t")])
        assert sorted(found) == list(range(40))
        assert not writer.is_full


async def test_who_waits_for_room_when_the_log_closes_is_told(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "log.db", max_waiting=1) as (writer, _):
        written = asyncio.create_task(writer.write(insert(1)))
        late = asyncio.create_task(writer.write(insert(2)))
        await asyncio.sleep(0)
        writer.close()
        async with asyncio.timeout(LIMIT_S):
            await written
            with pytest.raises(LogUnavailable, match="closing"):
                await late


async def test_a_commit_waits_for_half_of_those_at_work(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "log.db", gather_s=3600) as (writer, _):
        at_work = 16
        writer.gather_for(lambda _: at_work)

        async def write_rows() -> None:
            nonlocal at_work
            for value in range(5):
                await asyncio.sleep(0)
                await writer.write(insert(value))
            at_work -= 1

        await asyncio.gather(*(write_rows() for _ in range(16)))
        assert writer.commits <= 16 * 5 / 8


async def test_the_first_of_several_at_work_waits_for_the_second(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "log.db", gather_s=3600) as (writer, _):
        writer.gather_for(lambda _: 4)
        first = asyncio.create_task(writer.write(insert(1)))
        await asyncio.sleep(0.05)
        assert writer.commits == 0
        await asyncio.gather(first, writer.write(insert(2)))
        assert writer.commits == 1


async def test_a_writer_who_is_alone_never_waits_for_company(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "log.db", gather_s=3600) as (writer, _):
        writer.gather_for(lambda _: 1)
        for value in range(3):
            await writer.write(insert(value))
        assert writer.commits == 3


FAMILY = """
CREATE TABLE parent (x INTEGER PRIMARY KEY);
CREATE TABLE child (x REFERENCES parent DEFERRABLE INITIALLY DEFERRED)
"""
ORPHAN = "INSERT INTO child VALUES (1)"
"""SQLite minds it no sooner than at COMMIT."""


async def test_who_brings_enough_commits_and_needs_no_task_for_it(tmp_path: Path) -> None:
    async with Database(tmp_path / "log.db") as database:
        await database.run_script("CREATE TABLE t (x)")
        writer = GroupWriter(database)
        async with asyncio.timeout(LIMIT_S):
            await writer.write_later(insert(1))
            await writer.write(insert(2))
            await writer.write(insert(3))
        assert writer.commits == 2
        assert [
            row[0] for row in await database.in_thread(lambda c: c.execute("SELECT x FROM t").fetchall())
        ] == [
            1,
            2,
            3,
        ]


async def test_a_commit_that_fails_is_told_and_loses_nothing_else(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "log.db") as (writer, database):
        await database.run_script(FAMILY)
        await writer.write_later(insert(1))
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(LogUnavailable, match="FOREIGN KEY"):
                await writer.write(lambda c: c.execute(ORPHAN) and None)
            await writer.write(insert(2))
        found = await database.in_thread(lambda c: [row[0] for row in c.execute("SELECT x FROM t")])
        assert found == [1, 2]
        assert not await database.in_thread(lambda c: c.execute("SELECT x FROM child").fetchall())


async def test_a_commit_that_fails_while_the_log_closes_is_told(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "log.db") as (writer, database):
        await database.run_script(FAMILY)
        async with asyncio.timeout(LIMIT_S):
            waiting = asyncio.create_task(writer.write(lambda c: c.execute(ORPHAN) and None))
            await asyncio.sleep(0)
            writer.close()
            with pytest.raises(LogUnavailable, match="FOREIGN KEY"):
                await waiting


async def test_what_comes_during_a_commit_is_in_the_next_one_also_where_the_log_closes(
    tmp_path: Path,
) -> None:
    async with small_disk(tmp_path / "log.db") as (writer, database):
        async with asyncio.timeout(LIMIT_S):
            first = asyncio.create_task(writer.write(insert(1)))
            await asyncio.sleep(0)
            later = [asyncio.create_task(writer.write(insert(n))) for n in range(2, 6)]
            await asyncio.sleep(0)
            first.cancel()
            writer.close()
            await asyncio.gather(*later)
        assert writer.commits == 2
        found = await database.in_thread(lambda c: [row[0] for row in c.execute("SELECT x FROM t")])
        assert found == [1, 2, 3, 4, 5]


async def test_company_that_does_not_come_is_not_waited_for_long(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "log.db") as (writer, _):
        writer.gather_for(lambda _: 100)
        await writer.write(insert(1))
        assert writer.commits == 1
