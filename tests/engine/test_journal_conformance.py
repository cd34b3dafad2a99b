"""What every journal does, seen through its port: `Journal`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from journal_conformance import JOURNALS, JournalFactory, JournalInUse
from test_saga_log_file import EVERY_KIND, accepted
from waiting import eventually_async

from sagagen.runtime.saga.events import Compensated, Done, Ended, LogEvent, NextRequest, Resumed, SagaStatus
from sagagen.runtime.saga.journal import JournalUnavailable

DONE = Done(at_ms=10, step="one", attempt=1, response=b"r", next=NextRequest(b"n"))
LATER = [Compensated(at_ms=number, step=f"step {number}", attempt=1) for number in range(20, 30)]
ENDED = Ended(at_ms=99, status=SagaStatus.COMPENSATED)
LONG_S = 60.0


@pytest_asyncio.fixture(params=JOURNALS.values(), ids=[*JOURNALS])
async def using(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[JournalInUse]:
    async with request.param(tmp_path) as journal:
        yield journal


async def rows_of(using: JournalInUse, saga_id: str) -> Sequence[LogEvent]:
    return (await using.durable(saga_id))[1]


async def test_appended_rows_are_durable_with_where_the_saga_stands(using: JournalInUse) -> None:
    row = accepted()
    ref = await using.begin(row)
    assert await using.durable(row.saga_id) == (SagaStatus.RUNNING, (row,))
    await using.journal.append(ref, [DONE], None)
    assert await using.durable(row.saga_id) == (SagaStatus.RUNNING, (row, DONE))
    await using.journal.append(ref, [*LATER, ENDED], SagaStatus.COMPENSATED)
    assert await using.durable(row.saga_id) == (SagaStatus.COMPENSATED, (row, DONE, *LATER, ENDED))


async def test_rows_of_every_kind_come_back_as_they_were(using: JournalInUse) -> None:
    row = accepted()
    ref = await using.begin(row)
    await using.journal.append(ref, EVERY_KIND, SagaStatus.COMPENSATED)
    assert await rows_of(using, row.saga_id) == (row, *EVERY_KIND)


async def test_what_is_appended_later_is_durable_with_what_follows_and_before_it(using: JournalInUse) -> None:
    row = accepted()
    ref = await using.begin(row)
    for later in LATER:
        await using.journal.append_later(ref, [later])
    await using.journal.append(ref, [ENDED], SagaStatus.COMPENSATED)
    assert await rows_of(using, row.saga_id) == (row, *LATER, ENDED)


async def test_what_is_appended_later_is_durable_some_time_with_nothing_after_it(using: JournalInUse) -> None:
    row = accepted()
    ref = await using.begin(row)
    await using.journal.append_later(ref, LATER)
    await eventually_async(
        "rows that ride along", lambda: rows_of(using, row.saga_id), lambda rows: rows == (row, *LATER)
    )


async def test_sagas_that_write_at_once_keep_their_order_and_their_own_rows(using: JournalInUse) -> None:
    ids = [f"saga-{number}" for number in range(40)]

    async def write(saga_id: str) -> None:
        ref = await using.begin(replace(accepted(), saga_id=saga_id))
        for number in range(5):
            row = Resumed(at_ms=10 + number, span_id=saga_id)
            await using.journal.append_later(ref, [row])
            await using.journal.append(ref, [replace(DONE, at_ms=10 + number, step=saga_id)], None)

    await asyncio.gather(*map(write, ids))
    for saga_id in ids:
        _, *rows = await rows_of(using, saga_id)
        assert [row.at_ms for row in rows] == [10, 10, 11, 11, 12, 12, 13, 13, 14, 14]
        assert [type(row) for row in rows] == [Resumed, Done] * 5
        assert {row.step for row in rows if isinstance(row, Done)} == {saga_id}


@pytest.mark.parametrize("factory", JOURNALS.values(), ids=[*JOURNALS])
async def test_what_a_closed_journal_is_given_is_refused(factory: JournalFactory, tmp_path: Path) -> None:
    async with factory(tmp_path) as using:
        ref = await using.begin(accepted())
    with pytest.raises(JournalUnavailable) as refused:
        await using.journal.append(ref, [DONE], None)
    assert refused.value.retry_after_s > 0
    with pytest.raises(JournalUnavailable):
        await using.journal.append_later(ref, [DONE])
    async with factory(tmp_path) as again:
        assert await rows_of(again, accepted().saga_id) == (accepted(),)


async def test_a_rest_ends_by_itself(using: JournalInUse) -> None:
    begun_s = time.monotonic()
    await using.journal.rest(0.05, asyncio.Event())
    assert time.monotonic() - begun_s >= 0.05


async def test_a_rest_ends_when_woken_and_leaves_the_event_as_it_is(using: JournalInUse) -> None:
    wake = asyncio.Event()
    resting = asyncio.create_task(using.journal.rest(10 * LONG_S, wake))
    done, _ = await asyncio.wait([resting], timeout=0.05)
    assert not done
    wake.set()
    async with asyncio.timeout(LONG_S):
        await resting
        await using.journal.rest(10 * LONG_S, wake)
    assert wake.is_set()


async def test_a_rest_that_is_cancelled_ends(using: JournalInUse) -> None:
    resting = asyncio.create_task(using.journal.rest(10 * LONG_S, asyncio.Event()))
    await asyncio.sleep(0)
    resting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await resting
