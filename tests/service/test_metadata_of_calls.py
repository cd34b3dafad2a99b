"""What a service believes of a call's metadata: whoever reaches its port may have written it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from grpclib.const import Status as Code
from ledger import GET, PUT, UNDO, Ledger, RunningLedger, Turnstile, database_in, put, running
from small_mesh import BUDGETED, RETRY, Text, saga, saga_call
from waiting import LIMIT_S

from sagagen.runtime.identity import owner_digest, run_id
from sagagen.runtime.model.definition import Action, Direction, Method, Step, StepKind
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.refusals import OWNER_RUN, UNKNOWN_CALL, BarrierRefusal

WHOLE = saga_call().to_metadata()
LONG = "x" * 300

BROKEN: dict[str, tuple[str, str]] = {
    "an empty saga id": ("sagagen-saga-id", ""),
    "a saga id that stands for a direct write": ("sagagen-saga-id", "direct:1"),
    "a long saga id": ("sagagen-saga-id", LONG),
    "an escape in the saga id": ("sagagen-saga-id", "a\x1b]0;b"),
    "a line break in the saga id": ("sagagen-saga-id", "a\nb"),
    "a NUL in the saga id": ("sagagen-saga-id", "a\0b"),
    "half a surrogate pair in the saga id": ("sagagen-saga-id", "a\ud800"),
    "an empty run": ("sagagen-run", ""),
    "a long run": ("sagagen-run", LONG),
    "a run of other characters": ("sagagen-run", "run 1"),
    "an empty step": ("sagagen-step", ""),
    "a long step": ("sagagen-step", LONG),
    "a step with an escape": ("sagagen-step", "put\x1b[2J"),
    "an unknown kind": ("sagagen-kind", "final"),
    "an unknown direction": ("sagagen-direction", "sideways"),
    "a start before all time": ("sagagen-started", "-1"),
    "a start beyond SQLite's integers": ("sagagen-started", "9" * 30),
    "a start with digits of other scripts": ("sagagen-started", "\uff11\uff12"),
    "a start with an underscore": ("sagagen-started", "1_000"),
    "a start with a space": ("sagagen-started", " 1"),
    "a fraction": ("sagagen-started", "1.5"),
    "the attempt 0": ("sagagen-attempt", "0"),
    "an attempt beyond SQLite's integers": ("sagagen-attempt", "9" * 30),
    "an end beyond SQLite's integers": ("sagagen-not-after", "9" * 30),
    "an empty end": ("sagagen-not-after", ""),
}


@pytest.fixture
async def running_ledger(tmp_path: Path) -> AsyncGenerator[RunningLedger]:
    ledger = Ledger()
    async with running(tmp_path, ledger) as host:
        yield RunningLedger(host, ledger, database_in(tmp_path))


async def refused(ledger: RunningLedger, metadata: Mapping[str, str], path: str = PUT.path) -> RpcError:
    with pytest.raises(RpcError) as raised:
        await ledger.host.handle(path, b"" if path == GET.path else put(), metadata, LIMIT_S)
    return raised.value


@pytest.mark.parametrize("path", [PUT.path, UNDO.path, GET.path, "/lab.v1.LedgerService/Charge"])
async def test_metadata_that_no_engine_sends_is_refused_and_leaves_nothing(
    running_ledger: RunningLedger, path: str
) -> None:
    for name, (entry, value) in BROKEN.items():
        error = await refused(running_ledger, WHOLE | {entry: value}, path)
        assert (error.code, entry in error.message) == (Code.INVALID_ARGUMENT, True), (name, error)
        assert error.message.isprintable(), name
        assert len(error.message) < 200, name
        without = {key: each for key, each in WHOLE.items() if key != entry}
        assert (await refused(running_ledger, without, path)).code is Code.INVALID_ARGUMENT, name
    assert running_ledger.states() == {}
    assert running_ledger.ledger.puts == 0


async def test_a_call_that_can_not_be_recorded_spoils_no_others(running_ledger: RunningLedger) -> None:
    """They share a transaction, which an integer that SQLite can't hold voided."""
    stop = Turnstile()
    running_ledger.ledger.on_put = stop
    async with asyncio.TaskGroup() as group:
        first = group.create_task(running_ledger.act())
        await stop.entered.wait()
        broken = group.create_task(refused(running_ledger, WHOLE | BROKEN_STARTED))
        await asyncio.sleep(0)
        stop.released.set()
    assert first.result().response
    assert broken.result().code is Code.INVALID_ARGUMENT


BROKEN_STARTED = {"sagagen-saga-id": "other", "sagagen-started": "9" * 30}


@pytest.mark.parametrize("key", ["", LONG, "a\nb", "a\x1b[2J", "ü", "\ud800"])
async def test_a_key_of_a_direct_write_is_one_that_a_gateway_would_send(
    running_ledger: RunningLedger, key: str
) -> None:
    error = await refused(running_ledger, {"idempotency-key": key})
    assert (error.code, "idempotency-key" in error.message) == (Code.INVALID_ARGUMENT, True)


async def test_another_run_is_turned_down_and_not_told_whose_the_saga_is(
    running_ledger: RunningLedger,
) -> None:
    """Who knew the owner's run could undo its steps."""
    await running_ledger.act(saga_call(run="the-owner"))
    for direction in Direction:
        error = await refused(running_ledger, saga_call(direction=direction, run="another").to_metadata())
        assert error.reason == BarrierRefusal.OTHER_RUN
        assert "the-owner" not in str(error.to_status())
        assert error.metadata[OWNER_RUN] == owner_digest("saga-1", "the-owner")
    assert running_ledger.states() == {("put", "action"): "DONE"}


def test_an_owner_is_named_so_that_only_who_knows_the_run_finds_it() -> None:
    names = {owner_digest(saga_id, run) for saga_id in ("a", "ab", "b") for run in ("ba", "a", "b", "bc")}
    assert len(names) == 12
    assert all(len(name) == 32 for name in names)


# -- against the contract ------------------------------------------------------------------------------------------


def action(method: Method[Any, Any], *, is_undo: bool = False) -> Action:
    return Action("ledger", method, lambda _: Text(value="x"), 1.0, BUDGETED if is_undo else RETRY)


KNOWN = (
    saga(
        Step("put", StepKind.COMPENSATABLE, action(PUT), action(UNDO, is_undo=True)),
        Step("look", StepKind.COMPENSATABLE, action(GET)),
        Step("settle", StepKind.PIVOT, action(PUT)),
    ),
)
OF_THE_CONTRACT = [
    (PUT.path, "put", StepKind.COMPENSATABLE, Direction.ACTION),
    (UNDO.path, "put", StepKind.COMPENSATABLE, Direction.COMPENSATION),
    (GET.path, "look", StepKind.COMPENSATABLE, Direction.ACTION),
    (PUT.path, "settle", StepKind.PIVOT, Direction.ACTION),
]


def calls() -> list[tuple[str, SagaCall]]:
    return [
        (path, saga_call(step, direction, kind=kind))
        for path in (PUT.path, UNDO.path, GET.path)
        for step in ("put", "look", "settle", "other")
        for kind in StepKind
        for direction in Direction
    ]


async def test_only_calls_that_the_contract_makes_are_answered(tmp_path: Path) -> None:
    """No caller may try a compensation as an action, or another kind, under which a refusal would be recorded."""
    async with running(tmp_path, Ledger(), sagas=KNOWN) as host:
        ledger = RunningLedger(host, Ledger(), database_in(tmp_path))
        for path, call in calls():
            called = call._replace(saga_id=f"{call.step}-{call.kind}-{call.direction}", run=f"r{len(path)}")
            if (path, call.step, call.kind, call.direction) in OF_THE_CONTRACT:
                await host.handle(
                    path, b"" if path == GET.path else put(called.saga_id), called.to_metadata(), LIMIT_S
                )
                continue
            error = await refused(ledger, called.to_metadata(), path)
            assert (error.code, error.domain, error.reason) == (Code.UNAVAILABLE, DOMAIN, UNKNOWN_CALL), call
            assert error.retry_after_s, "a service that is behind its gateway is deployed soon"
        assert set(ledger.states()) == {("put", "action"), ("put", "compensation"), ("settle", "action")}


def test_what_engines_send_is_what_services_take() -> None:
    for seed in range(200):
        chosen = Random(seed)
        call = saga_call(
            run=run_id(chosen),
            started_ms=chosen.randrange(1, 10**13),
            attempt=chosen.randrange(1, 10**6),
            not_after_ms=chosen.randrange(1, 10**13),
        )
        assert SagaCall.from_metadata(call.to_metadata()) == call
