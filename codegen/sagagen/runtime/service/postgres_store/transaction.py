"""One call's transaction on a connection: the barrier, the handler's effects, the record, COMMIT.

    BEGIN; SELECT enter_new(...)     the saga's lock, and whether there is anything of the step; most often there is not
    SELECT enter(...)                if so: the step's rows and the watermark; `barrier.rules.rule` decides
    the handler's statements
    SELECT record(...); COMMIT       what the barrier keeps of it. The tag is looked at: a COMMIT that has failed is
                                     answered with ROLLBACK, and no error

A line is one round trip. Where it has several statements, values stand in its text, since the protocol binds them for
one statement only. Of such a line only the last tag can be seen; so `enter_new` tells by the number of its rows.

SERIALIZABLE remembers what a transaction has read by pages of indexes. All calls read and write one index, that of the
barrier, and while it is small any two of them would conflict. So there `enter_new` is a transaction of its own, before
the handler's; that what it saw may be old by then is as under REPEATABLE READ, where keys hold (see `ddl`).

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
    StepRows,
    TurnDown,
    rule,
)
from sagagen.runtime.service.call import Row
from sagagen.runtime.service.postgres_store.sealing import Kept, Sealing

LONG_OUTCOME = 2048
"""A response of more bytes is sent by itself, and not as text."""
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

    def __init__(self, schema: str, isolation: str, sealing: Sealing | None = None) -> None:
        """`schema` is quoted. Under READ COMMITTED the lock alone keeps runs apart; else a row of their own does."""
        self._sealing = sealing or Sealing()
        self._is_read_committed = isolation == "read_committed"
        self._schema = schema
        self._is_serializable = isolation == "serializable"
        self._enter_new = f"{schema}.enter_new("
        self._literal = _quoted(f"{schema.strip(chr(34))}/")
        self._record_text = f"SELECT {schema}.record("
        self._enter = f"SELECT * FROM {schema}.enter($1, $2, $3)"
        self._record = (
            f"SELECT {schema}.record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        )

    async def begin(
        self,
        connection: PgConnection,
        call: BarredCall,
        now_ms: int,
        purged_through_ms: int,
        turn: int | None = None,
    ) -> Entered:
        """Begin, and ask the barrier. The transaction is open, whatever it says.

        `purged_through_ms`: the watermark, as far as it is known. `turn`: of a call that is repeated, see `repeating`.
        """
        begin = "BEGIN" if turn is None else f"BEGIN; LOCK TABLE {self._schema}.turn_{turn} IN EXCLUSIVE MODE"
        if (saga := call.saga) is None:
            await connection.execute(begin)
            return Entered(RunHandler())
        match await connection.execute(self._beginning(begin, saga, purged_through_ms)):
            case "SELECT 1":
                return self._decided(call, saga, StepRows(None), purged_through_ms, now_ms)
            case "SELECT 2":
                return self._decided(call, saga, StepRows(saga.run), purged_through_ms, now_ms)
            case _:
                return await self._begin_with_rows(connection, call, saga, now_ms)

    def _beginning(self, begin: str, saga: SagaCall, purged_through_ms: int) -> str:
        saga_id = _quoted(saga.saga_id)
        asked = f"{self._enter_new}{saga_id}, {_quoted(saga.step)}, {_quoted(saga.run)}, {purged_through_ms})"
        if not self._is_serializable:
            return f"{begin}; SELECT FROM generate_series(1, {asked})"
        return (
            f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT set_config('sagagen.new', {asked}::text, false); COMMIT; "
            f"{begin}; SELECT FROM generate_series(1, current_setting('sagagen.new')::integer) "
            f"WHERE pg_try_advisory_xact_lock(hashtextextended({self._literal} || {saga_id}, 0))"
        )

    async def _begin_with_rows(
        self, connection: PgConnection, call: BarredCall, saga: SagaCall, now_ms: int
    ) -> Entered:
        """There is something to know, or another call of this saga is under way."""
        for look in range(LOOKS):
            rows = await connection.fetch(self._enter, saga.saga_id, saga.step, str(saga.direction))
            if self._is_read_committed or look == LOOKS - 1 or not rows[0]["had_to_wait"]:
                return self._entered(call, saga, rows, now_ms)
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
            found = self._sealing.opened(saga, row)
            if isinstance(found, TurnDown):
                return Entered(found)
            if row["direction"] == Direction.ACTION:
                action = found
            else:
                compensation = found
        return self._decided(call, saga, StepRows(owner, action, compensation), purged_through_ms, now_ms)

    def _decided(
        self, call: BarredCall, saga: SagaCall, rows: StepRows, purged_through_ms: int, now_ms: int
    ) -> Entered:
        decision = rule(saga, call.digest, rows, purged_through_ms, now_ms)
        return Entered(
            decision,
            is_first=rows.owner is None and bool(saga.run) and not self._is_read_committed,
            shuts_action_out=isinstance(decision, RecordEmpty) and rows.action is None,
            purged_through_ms=purged_through_ms,
        )

    async def commit(self, connection: PgConnection, entered: Entered, record: Record | None) -> None:
        """With the record, if the call leaves one.

        Raises NotCommitted, and asyncpg.UniqueViolationError where another transaction was first.
        """
        # Waiting for a standby is no statement that may be cut short: COMMIT would answer as if it had been waited for.
        first = "SET LOCAL statement_timeout = 0"
        if record is not None:
            kept = self._sealing.kept(record)
            arguments = _arguments(entered, record, kept)
            if len(kept.outcome) > LONG_OUTCOME:
                await connection.execute(self._record, *arguments)
            else:
                values = ", ".join(map(_literal, arguments))
                first = f"{self._record_text}{values}), set_config('statement_timeout', '0', true)"
        tag = await connection.execute(f"{first}; COMMIT")
        if tag != "COMMIT":
            raise NotCommitted(tag)


def _arguments(entered: Entered, record: Record, kept: Kept) -> Sequence[str | int | bytes | bool | None]:
    call = record.call
    return (
        call.saga_id,
        call.step,
        str(call.direction),
        call.run,
        call.started_ms,
        call.not_after_ms,
        kept.digest,
        str(record.state),
        kept.outcome,
        record.incarnation,
        record.trace_id,
        entered.shuts_action_out,
        entered.is_first,
        kept.is_sealed,
        kept.kek,
        kept.wrapped,
    )


def _literal(value: str | int | bytes | bool | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return _quoted(value)
    return f"'\\x{value.hex()}'" if isinstance(value, bytes) else str(value)


def _quoted(text: str) -> str:
    """As a literal, where `standard_conforming_strings` is on, which every connection says of itself."""
    return "'" + text.replace("'", "''") + "'"
