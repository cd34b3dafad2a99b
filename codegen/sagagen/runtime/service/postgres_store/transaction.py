"""One call's transaction on a connection: the barrier, the handler's effects, the record, COMMIT.

    BEGIN
    SELECT enter(...)            the saga's lock, the step's rows and the watermark; `barrier.rules.rule` decides
    the handler's statements
    SELECT record(...)           what the barrier keeps of it
    COMMIT                       its tag is looked at: one that has failed is answered with ROLLBACK, and no error

A refusal is a ROLLBACK, and a second transaction that only records it. Whatever is turned down ends in ROLLBACK.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.postgres.connection import PgConnection
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import BarredCall, Record
from sagagen.runtime.service.barrier.rules import (
    BarrierDecision,
    BarrierRow,
    RecordEmpty,
    RunHandler,
    State,
    StepRows,
    rule,
)
from sagagen.runtime.service.call import Row

LOOKS = 5
"""How often a call begins anew because what it saw may be older than the lock that it waited for."""


class Entered(NamedTuple):
    """A transaction that has passed the barrier, or not."""

    decision: BarrierDecision
    is_first: bool = False
    """The saga has no row here, and its run is to be written down beside the record."""
    shuts_action_out: bool = False
    """There is no action: a compensation that is recorded as empty takes its place."""
    purged_through_ms: int = 0


class NotCommitted(Exception):
    """COMMIT was answered with something else: nothing of the transaction was kept."""


class Transactions:
    """How the transactions of one service's calls begin and end."""

    def __init__(self, schema: str, isolation: str) -> None:
        """`schema` is quoted. Under READ COMMITTED the lock alone keeps runs apart; else a row of their own does."""
        self._is_read_committed = isolation == "read_committed"
        self._enter = f"SELECT * FROM {schema}.enter($1, $2, $3)"
        self._record = f"SELECT {schema}.record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"

    async def begin(self, connection: PgConnection, call: BarredCall, now_ms: int) -> Entered:
        """Begin, and ask the barrier. The transaction is open, whatever it says."""
        await connection.execute("BEGIN")
        if call.saga is None:
            return Entered(RunHandler())
        for look in range(LOOKS):
            rows = await connection.fetch(
                self._enter, call.saga.saga_id, call.saga.step, str(call.saga.direction)
            )
            if self._is_read_committed or look == LOOKS - 1 or not rows[0]["had_to_wait"]:
                return self._entered(call, call.saga, rows, now_ms)
            # What it waited for is committed now, and this transaction can't see it.
            await connection.execute("ROLLBACK")
            await connection.execute("BEGIN")
        raise AssertionError("the last look is believed")

    def _entered(self, call: BarredCall, saga: SagaCall, rows: Sequence[Row], now_ms: int) -> Entered:
        owner: str | None = None
        action: BarrierRow | None = None
        compensation: BarrierRow | None = None
        purged_through_ms = 0
        for row in rows:
            if not row["direction"]:
                owner, purged_through_ms = row["run"], row["purged_through_ms"]
                continue
            found = BarrierRow(
                row["run"], row["digest"], State(row["state"]), row["outcome"], row["not_after_ms"]
            )
            if row["direction"] == Direction.ACTION:
                action = found
            else:
                compensation = found
        decision = rule(saga, call.digest, StepRows(owner, action, compensation), purged_through_ms, now_ms)
        return Entered(
            decision,
            is_first=owner is None and bool(saga.run) and not self._is_read_committed,
            shuts_action_out=isinstance(decision, RecordEmpty) and action is None,
            purged_through_ms=purged_through_ms,
        )

    async def record(self, connection: PgConnection, entered: Entered, record: Record) -> None:
        """Raises asyncpg.UniqueViolationError where another transaction was first."""
        call = record.call
        await connection.execute(
            self._record,
            call.saga_id,
            call.step,
            str(call.direction),
            call.run,
            call.started_ms,
            call.not_after_ms,
            record.digest,
            str(record.state),
            record.outcome,
            record.incarnation,
            record.trace_id,
            entered.shuts_action_out,
            entered.is_first,
        )

    async def commit(self, connection: PgConnection) -> None:
        """Raises NotCommitted."""
        # Waiting for a standby is no statement that may be cut short: COMMIT would answer as if it had been waited for.
        tag = await connection.execute("SET LOCAL statement_timeout = 0; COMMIT")
        if tag != "COMMIT":
            raise NotCommitted(tag)
