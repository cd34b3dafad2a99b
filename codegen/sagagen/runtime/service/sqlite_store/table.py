"""The barrier's tables in a service's database, and how its rows are read and written."""

import sqlite3
from functools import cache

from sagagen.runtime.model.definition import Direction, direction_of
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import Record
from sagagen.runtime.service.barrier.rules import BarrierRow, State, StepRows
from sagagen.runtime.sqlite.database import blob

_state_of = cache(State)

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
  state        TEXT NOT NULL CHECK (state = 'DONE' OR state = 'REFUSED' OR state = 'EMPTY' OR state = 'PENDING'),
  outcome      BLOB NOT NULL,
  incarnation  TEXT NOT NULL DEFAULT '',    -- of the process that runs a PENDING call
  trace_id     TEXT NOT NULL,
  PRIMARY KEY (saga, step, direction)
) STRICT;                                   -- with row ids: rows are large, and their keys come in no order

CREATE INDEX IF NOT EXISTS sagagen_barrier_started ON sagagen_barrier (started_ms);

CREATE TABLE IF NOT EXISTS sagagen_meta (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO sagagen_meta (name, value) VALUES
  ('barrier_version', 1), ('purged_through_ms', 0),
  ('database_id', random() & 0x7fffffffffffffff),
  ('epoch', 0);                             -- how often the database was opened
"""


_READ = """
SELECT direction, run, digest, state, iif(direction = ?3, outcome, x''), not_after_ms FROM sagagen_barrier
  WHERE saga = ?1 AND step = ?2
UNION ALL
SELECT '', * FROM (SELECT run, NULL, NULL, NULL, NULL FROM sagagen_barrier WHERE saga = ?1 LIMIT 1)
"""
"""The rows of a step, then any row of its saga for its run: two look-ups by the primary key, however many rows a saga
has. Only the call's own row has its outcome, since responses may be large."""


def read_rows(connection: sqlite3.Connection, call: SagaCall) -> StepRows:
    """What the barrier needs to decide about the call."""
    owner = action = compensation = None
    for direction, run, digest, state, outcome, not_after_ms in connection.execute(
        _READ, (call.saga_id, call.step, str(call.direction))
    ):
        owner = run
        if direction:
            row = BarrierRow(run, digest, _state_of(state), outcome, not_after_ms)
            if direction_of(direction) is Direction.ACTION:
                action = row
            else:
                compensation = row
    return StepRows(owner, action, compensation)


def insert(connection: sqlite3.Connection, record: Record) -> None:
    """An outcome takes the place of the PENDING that came before it, and of nothing else.

    Raises sqlite3.IntegrityError where another outcome stands already.
    """
    call = record.call
    written = connection.execute(
        "INSERT INTO sagagen_barrier (saga, step, direction, run, started_ms, not_after_ms,"
        " digest, state, outcome, incarnation, trace_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET not_after_ms = excluded.not_after_ms, state = excluded.state,"
        " outcome = excluded.outcome, incarnation = excluded.incarnation, trace_id = excluded.trace_id"
        " WHERE state = 'PENDING'",
        (
            call.saga_id,
            call.step,
            str(call.direction),
            call.run,
            call.started_ms,
            call.not_after_ms,
            blob(record.digest),
            str(record.state),
            blob(record.outcome),
            record.incarnation,
            record.trace_id,
        ),
    ).rowcount
    if written != 1:
        raise sqlite3.IntegrityError(f"{call.saga_id} has another outcome of this step already")


def read_meta(connection: sqlite3.Connection, name: str) -> int:
    """A number that the database keeps about itself, for example `purged_through_ms`."""
    value: int = connection.execute("SELECT value FROM sagagen_meta WHERE name = ?", (name,)).fetchone()[0]
    return value
