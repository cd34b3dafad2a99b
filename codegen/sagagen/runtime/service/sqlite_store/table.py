"""The barrier's tables in a service's database, and how its rows are read and written."""

import sqlite3
from functools import cache
from typing import TYPE_CHECKING

from sagagen.runtime.model.definition import Direction, direction_of
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import Record
from sagagen.runtime.service.barrier.rules import BarrierRow, State, StepRows
from sagagen.runtime.sqlite.database import blob

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault

_state_of = cache(State)

BARRIER_VERSION = 2
ENCRYPTED_SINCE = 2
"""A database stays at 1 until something of it is encrypted: earlier versions of the runtime can't read it then."""
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

DDL_OF_KEYS = (
    """
CREATE TABLE sagagen_store_key (
  kek     TEXT PRIMARY KEY,
  wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID
""",
    """
CREATE TABLE sagagen_own_key (              -- of the database itself, for what outlives a saga's data
  number  INTEGER PRIMARY KEY,
  kek     TEXT REFERENCES sagagen_store_key (kek),
  wrapped BLOB NOT NULL
) STRICT
""",
    "ALTER TABLE sagagen_barrier ADD COLUMN sealed INTEGER",  # 1: digest and outcome are encrypted
    "ALTER TABLE sagagen_barrier ADD COLUMN kek TEXT REFERENCES sagagen_store_key (kek)",
    "ALTER TABLE sagagen_barrier ADD COLUMN wrapped BLOB",  # the key of the outcome; zeros once it is destroyed
    "UPDATE sagagen_meta SET value = 2 WHERE name = 'barrier_version'",
)
"""What version 2 adds."""

_ROWS = """
SELECT direction, run, digest, state, iif(direction = ?3, outcome, x''), not_after_ms{column} FROM sagagen_barrier
  WHERE saga = ?1 AND step = ?2
UNION ALL
SELECT '', * FROM (SELECT run, NULL, NULL, NULL, NULL{null} FROM sagagen_barrier WHERE saga = ?1 LIMIT 1)
"""
_READ = _ROWS.format(column="", null="")
"""The rows of a step, then any row of its saga for its run: two look-ups by the primary key, however many rows a saga
has. Only the call's own row has its outcome, since responses may be large."""


_READ_SEALED = _ROWS.format(column=", sealed, kek, wrapped", null=", NULL, NULL, NULL")


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


def read_sealed_rows(connection: sqlite3.Connection, call: SagaCall, vault: "Vault") -> StepRows:
    """As `read_rows`, where rows may be encrypted. Raises Sealed for one that can't be read."""
    owner = action = compensation = None
    for direction, run, digest, state, outcome, not_after_ms, is_sealed, kek, wrapped in connection.execute(
        _READ_SEALED, (call.saga_id, call.step, str(call.direction))
    ):
        owner = run
        if not direction:
            continue
        if is_sealed:
            place = _place(call.saga_id, call.step, direction)
            digest = vault.own.open(place, digest)
            if wrapped is not None and outcome:
                outcome = vault.unwrap(kek, wrapped, place).open(state, outcome)
        row = BarrierRow(run, digest, _state_of(state), outcome, not_after_ms)
        if direction_of(direction) is Direction.ACTION:
            action = row
        else:
            compensation = row
    return StepRows(owner, action, compensation)


_INSERT = """
INSERT INTO sagagen_barrier (saga, step, direction, run, started_ms, not_after_ms, digest, state, outcome, incarnation,
                             trace_id{column})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?{value})
ON CONFLICT DO UPDATE SET not_after_ms = excluded.not_after_ms, state = excluded.state, outcome = excluded.outcome,
    incarnation = excluded.incarnation, trace_id = excluded.trace_id{updated}
WHERE state = 'PENDING'
"""
_INSERT_CLEAR = _INSERT.format(column="", value="", updated="")
_INSERT_SEALED = _INSERT.format(
    column=", sealed, kek, wrapped",
    value=", 1, ?, ?",
    updated=", digest = excluded.digest, sealed = 1, kek = excluded.kek, wrapped = excluded.wrapped",
)


def insert(connection: sqlite3.Connection, record: Record, vault: "Vault | None" = None) -> None:
    """An outcome takes the place of the PENDING that came before it, and of nothing else. A vault encrypts it.

    Raises sqlite3.IntegrityError where another outcome stands already.
    """
    call = record.call
    digest, outcome, keys = record.digest, record.outcome, ()
    if vault is not None:
        digest, outcome, keys = _sealed(record, vault)
    written = connection.execute(
        _INSERT_CLEAR if vault is None else _INSERT_SEALED,
        (
            call.saga_id,
            call.step,
            str(call.direction),
            call.run,
            call.started_ms,
            call.not_after_ms,
            blob(digest),
            str(record.state),
            blob(outcome),
            record.incarnation,
            record.trace_id,
            *keys,
        ),
    ).rowcount
    if written != 1:
        raise sqlite3.IntegrityError(f"{call.saga_id} has another outcome of this step already")


def _sealed(record: Record, vault: "Vault") -> tuple[bytes, bytes, tuple[str | None, bytes | None]]:
    """Its digest, its outcome, and the outcome's key with the key that wraps it.

    The digest is sealed by the database's own key: a repeat is known though the saga's data are erased.
    """
    call = record.call
    place = _place(call.saga_id, call.step, str(call.direction))
    digest = vault.own.seal(place, record.digest)
    if record.state not in (State.DONE, State.REFUSED):  # the others have no outcome
        return digest, record.outcome, (None, None)
    key, wrapped = vault.begin(place)
    return digest, key.seal(str(record.state), record.outcome), (vault.first, wrapped)


def _place(saga_id: str, step: str, direction: str) -> str:
    return f"{saga_id} {direction} {step}"


def read_meta(connection: sqlite3.Connection, name: str) -> int:
    """A number that the database keeps about itself, for example `purged_through_ms`."""
    value: int = connection.execute("SELECT value FROM sagagen_meta WHERE name = ?", (name,)).fetchone()[0]
    return value
