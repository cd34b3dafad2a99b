"""The audit on a real Restate, and orders that wait for a second person there."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from engine_world import World
from grpclib.const import Status as Code
from restate_runtime import restate_engine
from small_mesh import SAGA_ID, ManualClock, acceptance, usual_saga
from waiting import eventually_async

from sagagen.runtime.admin.deed import Deed
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import Orders
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.audit.entry import AuditEntry, AuditQuery, Result
from sagagen.runtime.audit.trail import PendingOrder
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.restate.audit import RestateAudit
from sagagen.runtime.restate.sagas import RestateSagas
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.saga.events import SagaStatus

FORGOTTEN = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain=DOMAIN)
ENTRY = AuditEntry(1_000, "ann", "cancel", Result.DONE, "saga-1", reason="wrong order")
NOW_MS = SystemClock().wall_ms()
ORDER = PendingOrder("o1", "saga-1", "resolve", '{"note":"é"}', "ann", NOW_MS, NOW_MS + 60_000)


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[tuple[RestateSagas, RestateAudit]]:
    clock = ManualClock()
    world = World(clock, faults={("two", Direction.ACTION): [FORGOTTEN]})
    audits: list[RestateAudit] = []
    async with restate_engine(folder, usual_saga(), world, clock, audits=audits) as sagas:
        yield sagas, audits[0]


async def found(audit: RestateAudit, query: AuditQuery, *entries: AuditEntry) -> None:
    """Once adapters have worked off what was sent."""
    await eventually_async("the audit", lambda: audit.search(query), lambda got: list(got) == list(entries))


async def test_what_was_kept_is_found_by_saga_person_and_time_and_is_never_written_over(
    tmp_path: Path,
) -> None:
    other = replace(ENTRY, at_ms=2_000, by="bob % ü", saga_id="saga-2", id="2")
    stranger = AuditEntry(3_000, "", "show", Result.UNKNOWN)
    async with opened(tmp_path) as (_, audit):
        await audit.record([ENTRY, other, stranger])
        await found(audit, AuditQuery(), stranger, other, ENTRY)
        await audit.record([replace(ENTRY, by="forged")])
        await found(audit, AuditQuery(saga_id="saga-"), other, ENTRY)
        await found(audit, AuditQuery(saga_id="saga-1-and-more"), ENTRY)
        await found(audit, AuditQuery(by="bob % ü"), other)
        await found(audit, AuditQuery(since_ms=2_000, limit=1), stranger)
        assert await audit.has(ENTRY.id)
        assert not await audit.has("nothing")


async def test_an_order_waits_until_it_is_closed_once(tmp_path: Path) -> None:
    placed, closed = replace(ENTRY, id="placed", order_id="o1"), replace(ENTRY, id="closed", order_id="o1")
    async with opened(tmp_path) as (_, audit):
        assert await audit.find("o1") is None
        await audit.place(ORDER, placed)
        assert (await audit.find("o1"), await audit.pending()) == (ORDER, [ORDER])
        assert await audit.close("o1", closed)
        assert not await audit.close("o1", replace(closed, id="another"))
        assert await audit.find("o1") is None
        await eventually_async("no order to wait", audit.pending, lambda left: not left)
        entries = await audit.search(AuditQuery())
        assert {entry.id for entry in entries} == {"placed", "closed"}


async def test_an_order_that_nobody_confirms_expires_with_an_entry(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, audit):
        await audit.place(replace(ORDER, expires_ms=SystemClock().wall_ms() + 300), ENTRY)
        await eventually_async(
            "the entry of its end",
            lambda: audit.search(AuditQuery()),
            lambda got: (
                [entry.reason for entry in got if entry.result is Result.REFUSED]
                == ["nobody confirmed it in time"]
            ),
        )
        assert await audit.find("o1") is None


async def test_a_second_person_confirms_what_the_first_has_ordered(tmp_path: Path) -> None:
    """Of a saga that is stuck; the entries stand in the audit once."""
    definition = usual_saga()
    async with opened(tmp_path) as (sagas, audit):
        await sagas.accept(acceptance(definition))
        await eventually_async(
            "the saga to be stuck",
            lambda: sagas.describe(SAGA_ID),
            lambda view: view is not None and view.status is SagaStatus.STUCK,
        )
        orders = Orders(SagaOperations(sagas), Auditor(audit), ["retry"])
        placed = await orders.give(deed("ann", "retry"), {"by": "ann", "note": "it is back"})
        assert isinstance(placed, PendingOrder)
        await orders.confirm(deed("bob", "confirm", placed.id))
        await eventually_async(
            "the saga to end",
            lambda: sagas.describe(SAGA_ID),
            lambda view: view is not None and view.status is SagaStatus.COMPLETED,
        )
        await eventually_async("no order to wait", orders.pending, lambda left: not left)
        entries = await eventually_async(
            "both entries", lambda: audit.search(AuditQuery()), lambda got: len(got) >= 2
        )
        assert [(entry.by, entry.result, entry.order_id) for entry in reversed(entries)] == [
            ("ann", Result.PENDING, placed.id),
            ("bob", Result.DONE, placed.id),
        ]


def deed(by: str, did: str, order_id: str = "") -> Deed:
    return Deed(did=did, saga_id="" if order_id else SAGA_ID, by=by, scheme="token", order_id=order_id)
