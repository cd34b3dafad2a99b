"""A project that moves from one engine to another: sagas of before end where they began, and new ones in the other."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from engine_world import World
from grpclib.const import Status as Code
from readable import readable
from runtime_conformance import RUNTIMES, over
from small_mesh import LATER_MS, ManualClock, acceptance, usual_saga

from sagagen.runtime.audit.entry import AuditEntry, AuditQuery, Result
from sagagen.runtime.audit.moving import MovingAudit
from sagagen.runtime.audit.trail import PendingOrder
from sagagen.runtime.engine.moving import SLACK_S, MovingSagas
from sagagen.runtime.engine.port import (
    Acceptance,
    CallerQuery,
    Delivery,
    MovableRuntime,
    NotDelivered,
    Overloaded,
    Refusal,
    SagaQuery,
    TooManyRunning,
    UnknownSaga,
)
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.events import SagaStatus

DEFINITION = usual_saga()
ENDED, STUCK, OPEN, NEW = (f"5c0e2f9e-0000-5000-8000-00000000000{number}" for number in range(1, 5))
FORGOTTEN = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain=DOMAIN)
PAIRS = [("embedded", "shared"), ("shared", "embedded"), ("embedded", "restate"), ("restate", "embedded")]


def of(saga_id: str, input: str = "x") -> Acceptance:
    return replace(acceptance(DEFINITION, saga_id, input), caller="ann", key=saga_id)


class Shop(World):
    """STUCK has no way forward until `mended`; calls of OPEN and NEW wait until they are let go."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.go = {OPEN: asyncio.Event(), NEW: asyncio.Event()}
        self.is_mended = False

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        call = SagaCall.from_metadata(metadata)
        assert call
        if call.saga_id == STUCK and call.step == "two" and not self.is_mended:
            raise FORGOTTEN
        if held := self.go.get(call.saga_id):
            await held.wait()
        return await super().call(path, request, metadata=metadata, timeout_s=timeout_s)


@dataclass
class Moving:
    sagas: MovingSagas
    left: MovableRuntime
    entered: MovableRuntime
    shop: Shop
    clock: ManualClock


@asynccontextmanager
async def moving(folder: Path, pair: tuple[str, str], **limits: int) -> AsyncGenerator[Moving]:
    """With sagas of before: one that has ended, one that is stuck, and one that goes on."""
    clock = ManualClock()
    shop, folders = Shop(clock), (folder / "left", folder / "entered")
    for each in folders:
        each.mkdir()
    left, entered = (RUNTIMES[name] for name in pair)
    async with left(folders[0], DEFINITION, shop, clock, grace_s=0.0) as before:
        for saga_id in (ENDED, STUCK, OPEN):
            await before.accept(of(saga_id))
        assert await over(before, ENDED) is SagaStatus.COMPLETED
        assert await over(before, STUCK) is SagaStatus.STUCK
    async with (
        left(folders[0], DEFINITION, shop, clock) as old,
        entered(folders[1], DEFINITION, shop, clock) as new,
        MovingSagas(
            old,
            new,
            name="log",
            clock=clock,
            look_s=0.01,
            max_running=limits.get("max_running", 100),
            running_per_caller=limits.get("running_per_caller"),
        ) as sagas,
    ):
        try:
            yield Moving(sagas, old, new, shop, clock)
        finally:
            for held in shop.go.values():
                held.set()


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
async def test_sagas_of_before_end_where_they_began(pair: tuple[str, str], tmp_path: Path) -> None:
    async with moving(tmp_path, pair) as project:
        await what_is_known_is_answered_from_before(project)
        await what_is_new_begins_in_the_other(project)
        await both_are_seen_as_one(project)
        await what_comes_for_a_saga_gets_to_it(project)
        await nobody_asks_what_can_go(project)


async def what_is_known_is_answered_from_before(project: Moving) -> None:
    ended = await project.sagas.accept(of(ENDED))
    assert (ended.is_new, ended.status) == (False, SagaStatus.COMPLETED)
    assert ended.result == await project.sagas.wait(ENDED, 60.0)
    other = await project.sagas.accept(of(OPEN, "another payload"))
    assert (other.is_new, other.fingerprint) == (False, of(OPEN).fingerprint)
    assert [await project.entered.find(saga_id) for saga_id in (ENDED, STUCK, OPEN)] == [None] * 3


async def what_is_new_begins_in_the_other(project: Moving) -> None:
    assert (await project.sagas.accept(of(NEW))).is_new
    assert not (await project.sagas.accept(of(NEW))).is_new
    assert await project.left.find(NEW) is None
    assert await project.entered.find(NEW)


async def both_are_seen_as_one(project: Moving) -> None:
    sagas, all_ids = project.sagas, [ENDED, STUCK, OPEN, NEW]
    assert await sagas.ids(ENDED[:-1], 10) == all_ids
    assert await sagas.ids(ENDED[:-1], 3) == all_ids[:3]
    for saga_id in all_ids:
        found, view = await sagas.find(saga_id), await sagas.describe(saga_id)
        assert found
        assert view
        assert found.accepted.saga_id == saga_id
    listed, query = list[str](), SagaQuery(statuses=tuple(SagaStatus), limit=2)
    while page := readable(await sagas.search(query)):
        listed += [each.accepted.saga_id for each in page]
        query = replace(query, before=page[-1].cursor)
    assert listed[0] == NEW
    assert sorted(listed) == all_ids
    own, after = list[str](), ""
    while True:
        of_caller = await sagas.of_caller(CallerQuery("ann", after=after, limit=1))
        own += [each.saga_id for each in of_caller.sagas]
        if not (after := of_caller.last):
            break
    assert own == listed
    with pytest.raises(UnknownSaga):
        await sagas.of_caller(CallerQuery("ann", after="nobody's"))
    assert sum(each.count for each in await sagas.open_counts()) == 3
    assert await sagas.ended_counts() == {("place", SagaStatus.COMPLETED): 1}
    assert not await sagas.check()
    overview = await sagas.figures.overview(sagas.definitions.newest)
    assert {each.status: each.count for each in overview.counts} == {
        SagaStatus.RUNNING: 2,
        SagaStatus.STUCK: 1,
        SagaStatus.COMPLETED: 1,
    }
    groups = await sagas.figures.groups()
    assert groups
    assert [(each.step, each.count) for each in groups.groups] == [("two", 1)]
    steps = await sagas.figures.of_definition(DEFINITION)
    assert steps
    assert (steps.ended, steps.open, steps.running) == (1, 3, 2)
    assert steps.calls["one", Direction.ACTION].done == 2


async def what_comes_for_a_saga_gets_to_it(project: Moving) -> None:
    sagas = project.sagas
    for saga_id, refusal in (("nobody", Refusal.UNKNOWN_SAGA), (ENDED, Refusal.SAGA_OVER)):
        with pytest.raises(NotDelivered) as refused:
            await sagas.deliver(Delivery("place", saga_id, "paid", "k", b"", b"", "ann"))
        assert refused.value.refusal is refusal
    with pytest.raises(UnknownSaga):
        await sagas.command("nobody", OperatorCommand(Act.RETRY, "ann"))
    project.shop.is_mended = True
    await sagas.command(STUCK, OperatorCommand(Act.RETRY, "ann"))
    assert await over(sagas, STUCK) in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)
    for saga_id in (OPEN, NEW):
        project.shop.go[saga_id].set()
        assert await over(sagas, saga_id) is SagaStatus.COMPLETED
        await sagas.wait(saga_id, 60.0)
        assert project.shop.done(Direction.ACTION, saga_id) == ["one", "two", "pivot", "after"]


async def nobody_asks_what_can_go(project: Moving) -> None:
    found = await project.sagas.leaving()
    assert (found.open, found.can_go) == (0, False)
    assert found.keys_until_ms
    assert "the log must stay: keys count until 2" in str(found)
    project.clock.advance(DEFINITION.retention_s + 2 * SLACK_S)
    found = await project.sagas.leaving()
    assert str(found) == "the log can go: no open saga, no key within retention"
    assert project.sagas.can_go
    assert await project.sagas.find(ENDED) is None
    assert (await project.sagas.accept(of(NEW))).is_new is False
    assert await project.sagas.ended_counts() == {("place", SagaStatus.COMPLETED): 1}


async def test_limits_hold_for_both_engines_together(tmp_path: Path) -> None:
    async with moving(tmp_path, ("embedded", "embedded"), max_running=2) as project:
        await project.sagas.accept(of(NEW))
        with pytest.raises(Overloaded, match="2 sagas are under way"):
            await project.sagas.accept(of("one too many"))
        assert not (await project.sagas.accept(of(NEW))).is_new, "what is accepted is found all the same"
        assert not (await project.sagas.accept(of(OPEN))).is_new
        project.shop.go[OPEN].set()
        await over(project.sagas, OPEN)
        assert (await project.sagas.accept(of("one more"))).is_new


async def test_a_callers_sagas_are_counted_in_both_engines(tmp_path: Path) -> None:
    async with moving(tmp_path, ("shared", "shared"), running_per_caller=2) as project:
        assert (await project.sagas.accept(of(NEW))).is_new
        with pytest.raises(TooManyRunning):
            await project.sagas.accept(of("one too many"))
        assert not (await project.sagas.accept(of(NEW))).is_new
        other = replace(of("another's"), caller="bob")
        assert (await project.sagas.accept(other)).is_new


async def test_while_the_engine_that_is_left_is_away_no_key_is_taken_for_new(tmp_path: Path) -> None:
    class Away(Exception):
        pass

    async def away(*_: object) -> None:
        raise Away

    async with moving(tmp_path, ("embedded", "embedded")) as project:
        project.left.started = away  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(Away):
            await project.sagas.accept(of(NEW))
        assert (await project.sagas.accept(replace(of(NEW), key=""))).is_new, "it has no key"


async def test_both_audits_are_one(tmp_path: Path) -> None:
    def entry(number: int) -> AuditEntry:
        return AuditEntry(at_ms=LATER_MS + number, by="ann", did="retry", result=Result.DONE, id=str(number))

    async with SagaLog.open(tmp_path / "left.db") as left, SagaLog.open(tmp_path / "entered.db") as entered:
        order = PendingOrder("of before", "s", "resolve", "{}", "ann", 1, LATER_MS)
        await left.audit.place(order, entry(1))
        audit = MovingAudit(left.audit, entered.audit)
        await audit.record([entry(2)])
        await audit.place(replace(order, id="new", at_ms=2), entry(3))
        assert [each.id for each in await audit.search(AuditQuery())] == ["3", "2", "1"]
        assert [each.id for each in await audit.search(AuditQuery(limit=1))] == ["3"]
        assert [await audit.has(str(number)) for number in (1, 2, 4)] == [True, True, False]
        assert [each.id for each in await audit.pending()] == ["of before", "new"]
        assert await audit.find("of before") == order
        assert await audit.close("of before", entry(4))
        assert not await audit.close("of before", entry(5))
        assert await left.audit.find("of before") is None
        assert not await left.audit.has("2")
