"""The barrier of a service: what happens to a call, decided from the rows that earlier calls of its saga left.

Theory of operation. Calls of a saga arrive repeated, late and out of order. Each effect and each refusal leaves a row
in the service's own database, in the transaction of the effect itself. `rule` is the whole decision; it is pure, and
its seven rules are tried in order. Two things follow from the rows alone: an effect happens once, however often its
call arrives; and a compensation that overtakes its action leaves a row that shuts the action out for good.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from grpclib.const import Status as Code

from sagagen.runtime.definition import Direction, StepKind
from sagagen.runtime.errors import DOMAIN, RpcError
from sagagen.runtime.metadata import SagaCall

OTHER_PAYLOAD = "other-payload"
"""Key in OTHER_RUN's ErrorInfo.metadata: `true` if the run that owns the saga sent another request in this step."""


class State(StrEnum):
    """What became of a call."""

    DONE = "DONE"
    """The handler's effect is in the database; the outcome is the encoded response."""
    REFUSED = "REFUSED"
    """The handler declined; nothing happened and nothing will. The outcome is the encoded google.rpc.Status."""
    EMPTY = "EMPTY"
    """A compensation that found nothing to undo. The outcome is empty: the default response."""
    PENDING = "PENDING"
    """A manual method is under way, or was when its process died."""


class Reason(StrEnum):
    """Why the runtime itself turns a call down: ErrorInfo.reason in the runtime's domain."""

    EXPIRED = "EXPIRED"
    OTHER_RUN = "OTHER_RUN"
    FORGOTTEN = "FORGOTTEN"
    STEP_COMPENSATED = "STEP_COMPENSATED"
    PAYLOAD_MISMATCH = "PAYLOAD_MISMATCH"


@dataclass(frozen=True, slots=True)
class Row:
    """What an earlier call left."""

    run: str
    digest: bytes
    state: State
    outcome: bytes


Rows = Mapping[tuple[str, Direction], Row]
"""The rows of one saga, by step and direction."""


@dataclass(frozen=True, slots=True)
class RunHandler:
    """Nothing stands against the call."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The call happened before: its outcome is answered again."""

    row: Row


@dataclass(frozen=True, slots=True)
class RecordEmpty:
    """A compensation with nothing to undo: a row is left, so that its action stays shut out."""


@dataclass(frozen=True, slots=True)
class TurnDown:
    """Nothing runs and nothing is recorded."""

    error: RpcError


Ruling = RunHandler | Replay | RecordEmpty | TurnDown


def rule(call: SagaCall, digest: bytes, rows: Rows, purged_through_ms: int, now_ms: int) -> Ruling:
    """The first of the seven rules that fits.

    `rows` are those of the call's saga. `purged_through_ms` is the latest `started` of the sagas whose rows were
    deleted.
    """
    own = rows.get((call.step, call.direction))
    if now_ms > call.not_after_ms:
        late_s = (now_ms - call.not_after_ms) / 1000
        return _turn_down(Code.DEADLINE_EXCEEDED, Reason.EXPIRED, f"arrived {late_s:g} s after its deadline")
    if any(row.run != call.run for row in rows.values()):
        differs = own is not None and own.digest != digest
        return _turn_down(
            Code.ABORTED,
            Reason.OTHER_RUN,
            "another run owns this saga",
            {OTHER_PAYLOAD: "true"} if differs else {},
        )
    if own is None and call.started_ms <= purged_through_ms:
        return _turn_down(
            Code.FAILED_PRECONDITION, Reason.FORGOTTEN, "the saga is older than what is remembered here"
        )
    if call.direction is Direction.ACTION and (call.step, Direction.COMPENSATION) in rows:
        return _turn_down(
            Code.FAILED_PRECONDITION, Reason.STEP_COMPENSATED, f"step {call.step} is compensated already"
        )
    if own is not None:
        return _repeat(own, digest)
    if call.direction is Direction.COMPENSATION:
        return _compensate(rows.get((call.step, Direction.ACTION)))
    return RunHandler()


def records_refusal(call: SagaCall) -> bool:
    """Whether a `Declined` of this call is an outcome.

    Compensations and retriable steps are repeated until they succeed, so theirs is not.
    """
    return call.direction is Direction.ACTION and call.kind is not StepKind.RETRIABLE


def _repeat(own: Row, digest: bytes) -> Ruling:
    if own.digest != digest:
        return _turn_down(
            Code.ABORTED, Reason.PAYLOAD_MISMATCH, "the same step was called with another request before"
        )
    if own.state is State.PENDING:
        return TurnDown(RpcError(Code.UNAVAILABLE, "an earlier attempt of this call is not settled"))
    return Replay(own)


def _compensate(action: Row | None) -> Ruling:
    if action is None or action.state is State.REFUSED:
        return RecordEmpty()
    if action.state is State.PENDING:
        return TurnDown(RpcError(Code.UNAVAILABLE, "the action of this step is not settled"))
    return RunHandler()


def _turn_down(
    code: Code, reason: Reason, message: str, metadata: Mapping[str, str] | None = None
) -> TurnDown:
    return TurnDown(RpcError(code, message, reason=reason.value, domain=DOMAIN, metadata=metadata))


BARRIER_VERSION = 1
DDL = """
CREATE TABLE IF NOT EXISTS sagagen_barrier (
  saga         TEXT NOT NULL,
  step         TEXT NOT NULL,
  direction    TEXT NOT NULL CHECK (direction IN ('action', 'compensation')),
  run          TEXT NOT NULL,               -- empty for calls that no saga makes
  started_ms   INTEGER NOT NULL,            -- the engine's stamp; rows are purged by it, whole sagas at a time
  not_after_ms INTEGER NOT NULL,
  digest       BLOB NOT NULL,               -- SHA-256 of method and request
  state        TEXT NOT NULL CHECK (state IN ('DONE', 'REFUSED', 'EMPTY', 'PENDING')),
  outcome      BLOB NOT NULL,
  incarnation  TEXT NOT NULL DEFAULT '',    -- of the process that runs a PENDING call
  trace_id     TEXT NOT NULL,
  PRIMARY KEY (saga, step, direction)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS sagagen_meta (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO sagagen_meta (name, value) VALUES ('barrier_version', 1), ('purged_through_ms', 0);
"""


def read_rows(connection: sqlite3.Connection, call: SagaCall) -> Rows:
    """The saga's rows. Only that of the call itself has its outcome: responses may be large."""
    return {
        (step, Direction(direction)): Row(run, digest, State(state), outcome)
        for step, direction, run, digest, state, outcome in connection.execute(
            "SELECT step, direction, run, digest, state, iif(step = ?2 AND direction = ?3, outcome, x'') "
            "FROM sagagen_barrier WHERE saga = ?1",
            (call.saga_id, call.step, call.direction.value),
        )
    }


@dataclass(frozen=True, slots=True)
class Record:
    """A row about to be written, in the transaction of the effect that it tells of."""

    call: SagaCall
    digest: bytes
    trace_id: str
    state: State
    outcome: bytes = b""

    def insert(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO sagagen_barrier"
            " (saga, step, direction, run, started_ms, not_after_ms, digest, state, outcome, trace_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.call.saga_id,
                self.call.step,
                self.call.direction.value,
                self.call.run,
                self.call.started_ms,
                self.call.not_after_ms,
                self.digest,
                self.state.value,
                self.outcome,
                self.trace_id,
            ),
        )


def read_meta(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute("SELECT value FROM sagagen_meta WHERE name = ?", (name,)).fetchone()[0]
    return value
