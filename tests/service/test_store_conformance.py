"""What every store holds: barrier and effects in one transaction, whatever is repeated, cancelled or lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from grpclib.const import Status as Code
from small_mesh import ManualClock, saga_call
from store_conformance import (
    FAILS_AT_COMMIT,
    STORES,
    Gate,
    Shop,
    StoreFactory,
    barred,
    done,
    effect,
    handling,
    opened,
    reason,
)
from structlog.typing import EventDict

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.errors import Declined, RpcError
from sagagen.runtime.service.barrier.calls import CallResult, Handled, Record
from sagagen.runtime.service.barrier.rules import ActionState, State
from sagagen.runtime.service.call import Db, TransactionEnded
from sagagen.runtime.service.store import OpenTurn, Turn

UNDO = Direction.COMPENSATION


@pytest.fixture(params=STORES.values(), ids=list(STORES))
def make(request: pytest.FixtureRequest) -> StoreFactory:
    return request.param


@pytest.fixture
async def shop(make: StoreFactory, tmp_path: Path) -> AsyncGenerator[Shop]:
    async with opened(make, tmp_path) as store:
        yield Shop(store)


async def decline(db: Db) -> None:
    await effect("declined")(db)
    raise Declined("NO")


async def fail(db: Db) -> None:
    await effect("failed")(db)
    raise RpcError(Code.INTERNAL, "no")


async def unexpected(_: Db) -> None:
    pytest.fail("no handler is to run")


# effects and the barrier


async def test_an_effect_and_its_record_are_one(shop: Shop):
    assert reason(await shop.act("a")) == "OK"
    again = await shop.act("a", unexpected)
    assert (again.response, again.is_replay) == (b"done", True)
    assert await shop.effects() == ["a"]


async def test_what_fails_leaves_neither_effect_nor_record(shop: Shop):
    assert reason(await shop.act("a", fail)) == "INTERNAL"
    assert await shop.effects() == []
    assert reason(await shop.act("a")) == "OK"


async def test_each_step_of_a_saga_with_many_has_rows_of_its_own(shop: Shop):
    """A loop leaves rows for each item; how many there are, and in which order, must not matter."""
    steps = [f"s{number}" for number in range(200)]
    for step in steps:
        assert reason(await shop.act("loop", step=step)) == "OK"
    for step in (steps[0], steps[99], steps[-1]):
        assert reason(await shop.act("loop", unexpected, step=step)) == "REPLAY"
        assert reason(await shop.undo("loop", step=step)) == "OK"
        assert reason(await shop.act("loop", unexpected, step=step)) == "STEP_COMPENSATED"
    assert (await shop.undo("loop", unexpected, step="never called")).response == b""
    assert reason(await shop.act("loop", unexpected, step="never called")) == "STEP_COMPENSATED"
    assert len(await shop.effects()) == 203


@pytest.mark.parametrize("step", ["a", "m", "z"])
async def test_another_run_is_turned_down_whichever_step_the_owner_has_called(shop: Shop, step: str):
    await shop.act("owned", step="m")
    for write in (shop.act, shop.undo):
        assert reason(await write("owned", unexpected, step=step, run="another")) == "OTHER_RUN"
    assert await shop.effects() == ["owned"]


async def test_a_refusal_takes_the_effects_back_and_is_an_outcome(shop: Shop):
    first, again = await shop.act("a", decline), await shop.act("a", unexpected)
    assert first.error is not None
    assert again.error is not None
    assert (first.error.reason, again.error.reason, again.is_replay) == ("NO", "NO", True)
    assert again.error.is_refusal
    assert await shop.effects() == []


async def test_an_empty_compensation_blocks_its_action(shop: Shop):
    assert reason(await shop.undo("a", unexpected)) == "OK"
    assert reason(await shop.act("a", unexpected)) == "STEP_COMPENSATED"
    assert reason(await shop.undo("a", unexpected)) == "REPLAY"


async def test_a_compensation_of_what_was_refused_is_empty(shop: Shop):
    await shop.act("a", decline)
    assert reason(await shop.undo("a", unexpected)) == "OK"


async def test_a_compensation_of_what_was_done_runs_once(shop: Shop):
    await shop.act("a")
    assert [reason(await shop.undo("a")) for _ in range(2)] == ["OK", "REPLAY"]
    assert await shop.effects() == ["a", "undo a"]
    assert reason(await shop.act("a", unexpected)) == "STEP_COMPENSATED"


async def test_the_barrier_turns_down_what_it_must(make: StoreFactory, tmp_path: Path):
    clock = ManualClock(1_000_000)
    async with opened(make, tmp_path, clock) as store:
        shop = Shop(store)
        await shop.act("a")
        assert reason(await shop.act("late", unexpected, not_after_ms=clock.ms - 1)) == "EXPIRED"
        assert reason(await shop.act("a", unexpected, run="run-2")) == "OTHER_RUN"
        mismatch = await shop.write(saga_call(saga="a"), unexpected, b"another digest")
        assert reason(mismatch) == "PAYLOAD_MISMATCH"
        assert await shop.effects() == ["a"]


async def test_a_call_without_a_saga_passes_and_leaves_no_record(shop: Shop):
    assert [reason(await shop.write(None, effect("free"))) for _ in range(2)] == ["OK", "OK"]
    assert await shop.effects() == ["free", "free"]


async def test_handlers_may_read_what_they_wrote(shop: Shop):
    async def body(db: Db) -> None:
        assert await db.executemany("INSERT INTO effects VALUES (?)", [("x",), ("y",)]) == 2
        assert await db.execute("UPDATE effects SET name = ? WHERE name = ?", ("z", "y")) == 1
        rows = await db.fetch("SELECT name FROM effects ORDER BY name")
        assert [(row["name"], row[0]) for row in rows] == [("x", "x"), ("z", "z")]

    assert reason(await shop.act("a", body)) == "OK"
    assert await shop.effects() == ["x", "z"]


async def test_the_transaction_is_gone_when_its_handler_has_returned(shop: Shop):
    kept: list[Db] = []

    async def keep(db: Db) -> None:
        kept.append(db)

    await shop.act("a", keep)
    with pytest.raises(TransactionEnded):
        await effect("late")(kept[0])
    assert await shop.effects() == []


# many at once


async def test_copies_at_once_have_one_effect(shop: Shop):
    results = await asyncio.gather(*(shop.act("a") for _ in range(30)))
    assert Counter(map(reason, results)) == {"OK": 1, "REPLAY": 29}
    assert await shop.effects() == ["a"]


async def test_neighbours_of_a_failure_are_untouched(shop: Shop):
    names = [f"n{number}" for number in range(40)]
    bodies = {name: (fail if number % 4 == 0 else None) for number, name in enumerate(names)}
    results = await asyncio.gather(*(shop.act(name, bodies[name]) for name in names))
    assert [result.error is None for result in results] == [bodies[name] is None for name in names]
    assert await shop.effects() == sorted(name for name in names if bodies[name] is None)


async def test_actions_and_compensations_in_any_order_leave_no_half(shop: Shop):
    async def both(name: str, random: Random) -> None:
        calls = [shop.act(name), shop.act(name), shop.undo(name), shop.undo(name)]
        random.shuffle(calls)
        await asyncio.gather(*calls)

    await asyncio.gather(*(both(f"n{number}", Random(number)) for number in range(40)))
    found = Counter(await shop.effects())
    assert set(found.values()) <= {1}
    assert all(f"undo {name}" in found for name in found if not name.startswith("undo "))


# commits


async def test_no_result_comes_before_its_effect_can_be_read(shop: Shop):
    async def one(name: str) -> None:
        result = await shop.act(name)
        assert result.error is None
        assert name in await shop.effects()

    await asyncio.gather(*(one(f"n{number}") for number in range(20)))


async def test_rows_are_reported_before_anybody_gets_the_result(shop: Shop):
    reported: list[tuple[str, State]] = []

    def committed(record: Record) -> None:
        reported.append((record.call.saga_id, record.state))

    shop.store.report_commits(committed)
    await shop.act("a")
    assert reported == [("a", State.DONE)]
    await shop.act("a")
    await shop.act("b", fail)
    await shop.act("c", decline)
    await shop.undo("d")
    assert reported == [("a", State.DONE), ("c", State.REFUSED), ("d", State.EMPTY)]


async def test_what_can_not_be_committed_is_in_doubt_and_harms_nobody_later(shop: Shop):
    async def spoil(db: Db) -> None:
        await effect("spoilt")(db)
        await db.execute(FAILS_AT_COMMIT)

    reported: list[str] = []
    shop.store.report_commits(lambda record: reported.append(record.call.saga_id))
    results = await asyncio.gather(shop.act("before"), shop.act("spoilt", spoil), shop.act("after"))
    assert reason(results[1]) == "UNAVAILABLE"
    assert {reason(result) for result in results} <= {"OK", "UNAVAILABLE"}
    known = sorted(
        name
        for name, result in zip(("before", "spoilt", "after"), results, strict=True)
        if result.error is None
    )
    assert await shop.effects() == sorted(reported) == known
    # What was in doubt comes again, beside the one that spoils: the others get through.
    again = await asyncio.gather(shop.act("before"), shop.act("spoilt", spoil), shop.act("after"))
    assert [result.error is None for result in again] == [True, False, True]
    assert await shop.effects() == ["after", "before"]
    assert reason(await shop.act("later")) == "OK"


async def test_it_is_well_and_says_so(shop: Shop):
    assert await shop.store.check() == ""


# reads


async def test_a_read_sees_one_state_and_nothing_uncommitted(shop: Shop):
    await shop.act("first")
    gate = Gate("second")
    writing = asyncio.create_task(shop.act("second", gate))
    await gate.entered.wait()
    async with shop.store.read() as db:
        query = "SELECT name FROM effects"
        assert [row["name"] for row in await db.fetch(query)] == ["first"]
        gate.released.set()
        await writing
        assert [row["name"] for row in await db.fetch(query)] == ["first"]
    assert await shop.effects() == ["first", "second"]


async def test_a_read_can_not_write(shop: Shop):
    async with shop.store.read() as db:
        with pytest.raises(Exception, match=r"."):
            await effect("read")(db)
    assert await shop.effects() == []


async def test_many_reads_at_once_are_all_answered(shop: Shop):
    await shop.act("a")
    assert await asyncio.gather(*(shop.effects() for _ in range(30))) == [["a"]] * 30


# cancelling


async def test_a_cancelled_handler_leaves_nothing(shop: Shop):
    gate = Gate("a")
    writing = asyncio.create_task(shop.act("a", gate))
    await gate.entered.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert reason(await shop.act("b")) == "OK"
    assert await shop.effects() == ["b"]
    assert reason(await shop.act("a")) == "OK"


async def test_a_call_cancelled_while_it_waits_never_runs(shop: Shop):
    gate = Gate("first")
    first = asyncio.create_task(shop.act("same", gate))
    await gate.entered.wait()
    second = asyncio.create_task(shop.act("same", unexpected))
    await asyncio.sleep(0)
    second.cancel()
    gate.released.set()
    assert reason(await first) == "OK"
    assert await shop.effects() == ["first"]


@pytest.mark.parametrize("seed", range(4))
async def test_a_storm_of_cancellations_leaves_effects_and_records_that_agree(shop: Shop, seed: int):
    random = Random(seed)
    names = [f"n{number}" for number in range(150)]

    async def dawdle(name: str, db: Db) -> None:
        await effect(name)(db)
        if random.random() < 0.3:
            await asyncio.sleep(0.001)

    async def hurried(name: str) -> None:
        await asyncio.sleep(random.random() * 0.05)
        with suppress(TimeoutError):
            limit_s = random.choice([60.0, 0.01, 0.001, 0.0])
            await asyncio.wait_for(shop.act(name, lambda db: dawdle(name, db)), limit_s)

    async with asyncio.timeout(120):
        await asyncio.gather(*(hurried(name) for name in names))
        kept = Counter(await shop.effects())
        assert set(kept.values()) <= {1}
        again = await asyncio.gather(*(shop.act(name) for name in names))
    # And more than those: a call that was cancelled may have been on its way to the disk when it was looked.
    assert {name for name, result in zip(names, again, strict=True) if result.is_replay} >= set(kept)
    assert Counter(await shop.effects()) == Counter(names)


async def test_a_handler_that_takes_too_long_is_rolled_back_and_named(
    make: StoreFactory, tmp_path: Path, log_lines: list[EventDict]
):
    async with opened(make, tmp_path, hold_limit_s=0.2) as store:
        shop = Shop(store)
        assert store.hold_limit_s == 0.2
        slow = await shop.act("slow", Gate("slow"))
        assert slow.error is not None
        assert (slow.error.code, slow.error.is_ours) == (Code.UNAVAILABLE, False)
        assert [line["rpc"] for line in log_lines if line["log_level"] == "warning"] == ["/lab/Write"]
        assert reason(await shop.act("quick")) == "OK"
        assert await shop.effects() == ["quick"]


# manual methods


async def turn_of(shop: Shop, name: str, direction: Direction = Direction.ACTION) -> OpenTurn | CallResult:
    call = barred(saga_call(saga=name, direction=direction))
    return await shop.store.turn(call, asyncio.timeout(None))


async def claim(shop: Shop, name: str) -> None:
    """Leave PENDING, as a manual method does before it calls its third party."""
    call = barred(saga_call(saga=name))

    async def pending(_: Turn) -> Handled:
        return Handled(CallResult(), call.record(State.PENDING, incarnation="ours"), keeps_effects=True)

    assert (await shop.store.write(call, pending)).error is None


async def test_a_turn_is_committed_with_its_record_in_the_place_of_pending(shop: Shop):
    await claim(shop, "a")
    turn = await turn_of(shop, "a")
    assert not isinstance(turn, CallResult)
    assert turn.decision.is_repeat
    await effect("a")(turn.db)
    turn.finish(done(barred(saga_call(saga="a"))))
    assert (await turn.commit()).response == b"done"
    turn.abandon()  # changes nothing any more
    assert await shop.effects() == ["a"]
    assert reason(await shop.act("a", unexpected)) == "REPLAY"


async def test_an_abandoned_turn_leaves_pending_and_no_effect(shop: Shop):
    await claim(shop, "a")
    turn = await turn_of(shop, "a")
    assert not isinstance(turn, CallResult)
    await effect("a")(turn.db)
    turn.abandon()
    with pytest.raises(TransactionEnded):
        await effect("late")(turn.db)
    assert await shop.effects() == []
    again = await turn_of(shop, "a")
    assert not isinstance(again, CallResult)
    assert again.decision.is_repeat
    again.abandon()


async def test_others_go_on_after_an_abandoned_turn(shop: Shop):
    turn = await turn_of(shop, "a")
    assert not isinstance(turn, CallResult)
    waiting = asyncio.create_task(shop.act("b"))
    await asyncio.sleep(0)
    turn.abandon()
    async with asyncio.timeout(60):
        assert reason(await waiting) == "OK"


async def test_no_turn_for_what_may_have_no_effect(shop: Shop):
    await shop.undo("undone")
    await shop.act("settled")
    found = [await turn_of(shop, name) for name in ("undone", "settled")]
    assert [reason(each) for each in found if isinstance(each, CallResult)] == ["STEP_COMPENSATED", "REPLAY"]


async def test_the_limit_of_a_turn_that_is_held_too_long_ends_its_handler(make: StoreFactory, tmp_path: Path):
    turns: list[OpenTurn | CallResult] = []

    async def dawdle(shop: Shop) -> None:
        async with asyncio.timeout(None) as limit:
            turns.append(await shop.store.turn(barred(saga_call(saga="a")), limit))
            await asyncio.Event().wait()

    async with opened(make, tmp_path, hold_limit_s=0.1) as store:
        shop = Shop(store)
        with pytest.raises(TimeoutError):
            await dawdle(shop)
        (turn,) = turns
        assert not isinstance(turn, CallResult)
        turn.finish(Handled(CallResult(error=RpcError(Code.UNAVAILABLE))))
        assert reason(await turn.commit()) == "UNAVAILABLE"
        assert reason(await shop.act("a")) == "OK"


async def test_a_compensation_waits_for_pending_and_then_does_not_know(make: StoreFactory, tmp_path: Path):
    clock = ManualClock(1_000_000)
    async with opened(make, tmp_path, clock) as store:
        shop, seen = Shop(store), list[ActionState | None]()
        action = barred(saga_call(saga="a", not_after_ms=clock.ms + 100))

        async def pending(_: Turn) -> Handled:
            return Handled(CallResult(), action.record(State.PENDING), keeps_effects=True)

        await store.write(action, pending)
        early = await shop.undo("a", unexpected)
        assert early.error is not None
        assert (early.error.code, early.error.retry_after_s) == (Code.UNAVAILABLE, 0.101)
        clock.advance(0.101)
        undo = barred(saga_call(saga="a", direction=UNDO))

        async def handle(turn: Turn) -> Handled:
            seen.append(turn.decision.action)
            return await handling(undo, effect("undone"))(turn)

        assert reason(await store.write(undo, handle)) == "OK"
        assert (seen, await shop.effects()) == ([ActionState.UNKNOWN], ["undone"])


# restarts


async def test_all_of_it_is_there_after_a_restart_under_the_same_name(make: StoreFactory, tmp_path: Path):
    async with opened(make, tmp_path) as store:
        before = store.identity
        await Shop(store).act("a")
    async with opened(make, tmp_path) as store:
        assert store.identity.database_id == before.database_id
        assert store.identity.epoch == before.epoch + 1
        assert reason(await Shop(store).act("a", unexpected)) == "REPLAY"
        assert await Shop(store).effects() == ["a"]


async def test_calls_that_come_after_the_end_are_turned_away(make: StoreFactory, tmp_path: Path):
    async with opened(make, tmp_path) as store:
        shop = Shop(store)
    assert reason(await shop.act("late", unexpected)) == "UNAVAILABLE"
