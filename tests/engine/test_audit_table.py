"""The audit in the saga log: what is kept, found again, and removed."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_mesh import acceptance, auditor_of, running_engine, saga, step

from sagagen.runtime.audit.entry import MAX_TEXT, AuditEntry, AuditQuery, Result
from sagagen.runtime.audit.trail import PendingOrder, TooManyPending
from sagagen.runtime.log import audit_table
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.log.upkeep import AUDIT_S, STRANGERS_S, one_round_of_audit
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.commands import Act, CommandRejected, OperatorCommand

NOW_MS = 1_900_000_000_000
ENTRY = AuditEntry(NOW_MS, "ann", "cancel", Result.DONE, "saga-1", "", "wrong address", "staff", "ab" * 16)
ORDER = PendingOrder("0a1b", "saga-1", "resolve", '{"note": "by hand"}', "ann", NOW_MS, NOW_MS + 1000)


async def test_entries_are_found_by_saga_person_and_time_newest_first(tmp_path: Path) -> None:
    async with SagaLog.open(tmp_path / "log.db") as log:
        other = AuditEntry(NOW_MS + 1, "bob", "retry", Result.REFUSED, "saga-2")
        await log.audit.record([ENTRY, other])
        await log.audit.record([replace(ENTRY, by="forged")])
        assert await log.audit.search(AuditQuery()) == [other, ENTRY], "what is kept is never written over"
        assert await log.audit.search(AuditQuery(saga_id="saga-1")) == [ENTRY]
        assert await log.audit.search(AuditQuery(saga_id="saga-")) == [other, ENTRY]
        assert await log.audit.search(AuditQuery(saga_id="saga-1-and-more")) == [ENTRY], (
            "asked by its beginning"
        )
        assert await log.audit.search(AuditQuery(saga_id="%")) == []
        assert await log.audit.search(AuditQuery(by="bob")) == [other]
        assert await log.audit.search(AuditQuery(since_ms=NOW_MS + 1)) == [other]
        assert await log.audit.search(AuditQuery(limit=1)) == [other]
        assert [await log.audit.has(id_) for id_ in (ENTRY.id, "none")] == [True, False]


def test_what_strangers_send_can_be_stored_and_is_short() -> None:
    entry = AuditEntry(NOW_MS, "\ud800", "show", Result.UNKNOWN, saga_id="x" * 9999)
    assert (entry.by, len(entry.saga_id)) == ("?", MAX_TEXT)


async def test_a_command_and_its_entry_are_one_commit(tmp_path: Path) -> None:
    class Agreeable:
        async def call(self, path: str, request: bytes, **_: object) -> Reply:
            return Reply(b"")

    definition = saga(step("one"))
    async with running_engine(tmp_path, [definition], {"one": Agreeable()}) as engine:
        trail = auditor_of(engine).trail
        await engine.accept(acceptance(definition, "saga-1"))
        await engine.wait_until_idle()
        with pytest.raises(CommandRejected):
            await engine.command("saga-1", OperatorCommand(Act.CANCEL, "ann", audit=ENTRY))
        assert await trail.search(AuditQuery()) == [], "what is refused is for whoever asked to keep"


async def test_orders_wait_and_are_closed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SagaLog.open(tmp_path / "log.db") as log:
        await log.audit.place(ORDER, replace(ENTRY, id="placed"))
        assert (await log.audit.pending(), await log.audit.find("0a1b")) == ([ORDER], ORDER)
        monkeypatch.setattr(audit_table, "MAX_PENDING", 1)
        with pytest.raises(TooManyPending):
            await log.audit.place(replace(ORDER, id="more"), ENTRY)
        assert await log.audit.close("0a1b", replace(ENTRY, id="closed"))
        assert not await log.audit.close("0a1b", replace(ENTRY, id="again"))
        assert [entry.id for entry in await log.audit.search(AuditQuery())] == ["closed", "placed"]


async def test_upkeep_removes_what_is_old_in_batches_and_says_what_has_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_table, "REMOVED_AT_ONCE", 2)
    month_ms, year_ms = round(STRANGERS_S * 1000), round(AUDIT_S * 1000)
    async with SagaLog.open(tmp_path / "log.db") as log:
        stranger = replace(ENTRY, by="", result=Result.UNKNOWN, at_ms=NOW_MS - month_ms - 1)
        old = replace(ENTRY, at_ms=NOW_MS - year_ms - 1)
        await log.audit.record([replace(old, id=str(n)) for n in range(5)])
        await log.audit.record(
            [replace(stranger, id="stranger"), replace(stranger, id="ann", result=Result.DONE)]
        )
        await log.audit.place(ORDER, replace(ENTRY, id="placed"))
        assert await one_round_of_audit(log, NOW_MS) == 6
        assert await log.audit.pending() == [ORDER]
        assert await one_round_of_audit(log, ORDER.expires_ms) == 0
        assert await log.audit.pending() == []
        expired, *others = await log.audit.search(AuditQuery())
        assert (expired.result, expired.order_id) == (Result.REFUSED, "0a1b")
        assert "in time" in expired.reason
        assert [entry.id for entry in others] == ["placed", "ann"]
        commits = log.commits
        assert await one_round_of_audit(log, ORDER.expires_ms) == 0
        assert log.commits == commits, "where nothing is old nothing is written"
