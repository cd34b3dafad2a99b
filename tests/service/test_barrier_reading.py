"""What the barrier reads for a call: the rows of its step and one more, however many steps its saga has had here."""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from ledger import (
    CHARGE,
    REFUND,
    Ledger,
    PutRequest,
    PutResponse,
    RunningLedger,
    database_in,
    put,
    running,
)
from small_mesh import LATER_MS, saga_call
from store_conformance import barred, done
from waiting import LIMIT_S

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import Record
from sagagen.runtime.service.barrier.rules import BarrierDecision, RunHandler, State
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.service.sqlite_store.steps import begin_call, end_call
from sagagen.runtime.service.sqlite_store.table import DDL, insert, read_rows

FEW, MANY = 4, 1_000
UNDO = Direction.COMPENSATION
CALLS = {
    "a step that is new": saga_call("new"),
    "a repeat": saga_call("step-1"),
    "a compensation": saga_call("step-1", UNDO),
    "a compensation of nothing": saga_call("new", UNDO),
    "another run": saga_call("new", run="another"),
}


def with_rows(count: int) -> sqlite3.Connection:
    """A service's database after so many steps of a saga, and some of others."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(DDL)
    for number in range(count):
        insert(connection, _done(saga_call(f"step-{number}")))
    for other in ("saga-0", "saga-2"):
        insert(connection, _done(saga_call("step-1", saga=other, run=f"run of {other}")))
    return connection


def _done(call: SagaCall) -> Record:
    return Record(call, b"digest", "", State.DONE, b"x" * 5_000)


@contextmanager
def counted_steps(connection: sqlite3.Connection) -> Generator[Callable[[], int]]:
    """How many instructions of its virtual machine SQLite has executed in the block: they grow with the rows read."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    connection.set_progress_handler(step, 1)
    try:
        yield lambda: count
    finally:
        connection.set_progress_handler(None, 1)


def steps_of(connection: sqlite3.Connection, call: SagaCall) -> int:
    """Of one call from end to end, within a transaction that is open."""
    _pass(connection, call._replace(saga_id="saga-0", run="run of saga-0"))  # statements are compiled
    with counted_steps(connection) as steps:
        _pass(connection, call)
        return steps()


def _pass(connection: sqlite3.Connection, call: SagaCall) -> BarrierDecision:
    connection.execute("BEGIN")
    decision = begin_call(connection, barred(call), 0, LATER_MS)
    if isinstance(decision, RunHandler):
        end_call(connection, done(barred(call)))
    connection.execute("ROLLBACK")
    return decision


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_hole_11_a_call_of_a_saga_with_a_thousand_rows_costs_as_much_as_of_one_with_four(
    call: SagaCall,
) -> None:
    few, many = steps_of(with_rows(FEW), call), steps_of(with_rows(MANY), call)
    assert 0 < many <= few + 5


def test_hole_11_what_is_read_is_the_step_and_the_owner_of_the_saga() -> None:
    connection = with_rows(MANY)
    insert(connection, Record(saga_call("step-1", UNDO), b"undone", "", State.DONE, b"y"))
    new = read_rows(connection, saga_call("new", run="another"))
    assert (new.owner, new.action, new.compensation) == ("run-1", None, None)
    own = read_rows(connection, saga_call("step-1", UNDO))
    assert own.owner == "run-1"
    assert own.action is not None
    assert own.compensation is not None
    assert (own.action.digest, own.action.outcome) == (b"digest", b""), (
        "responses of other calls may be large"
    )
    assert (own.compensation.digest, own.compensation.outcome) == (b"undone", b"y")
    assert read_rows(connection, saga_call(saga="saga-9")).owner is None


async def begin_only(_: PutRequest, call: CallContext) -> PutResponse:
    await call.begin()
    return PutResponse()


async def test_hole_11_manual_methods_read_no_more(tmp_path: Path) -> None:
    """Their PENDING, their turn and their repeats pass the same barrier: on the running service's own connection."""
    ledger = Ledger()
    ledger.on_charge = ledger.on_refund = begin_only
    async with running(tmp_path, ledger) as host:
        service = RunningLedger(host, ledger, database_in(tmp_path))
        connection = cast(sqlite3.Connection, host._store._writer._session.connection)  # pyright: ignore

        async def steps(number: int) -> list[int]:
            counts: list[int] = []
            for path, direction in ((CHARGE.path, Direction.ACTION), (REFUND.path, UNDO)):
                call = saga_call(f"item-{number}", direction)
                with counted_steps(connection) as counted:
                    await host.handle(path, put(f"n{number}"), call.to_metadata(), LIMIT_S)
                    counts.append(counted())
            return counts

        await steps(0)
        few = await steps(1)
        for number in range(2, 40):
            await service.act(saga_call(f"item-{number}"), put(f"n{number}"))
        many = await steps(40)
    assert all(0 < after <= before + 10 for before, after in zip(few, many, strict=True)), (few, many)
