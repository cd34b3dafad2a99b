"""The saga log's tables, and how they came to be: one script for each schema version, never edited once released."""

from functools import cache

MIGRATIONS = {
    1: """
-- One row a saga: where it stands now. `event` is the truth, this is its summary.
CREATE TABLE saga (
    number INTEGER PRIMARY KEY,
    saga_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    run TEXT NOT NULL,
    caller TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    trace_id TEXT NOT NULL,
    trace_flags INTEGER NOT NULL,
    trace_state TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    status TEXT NOT NULL,
    answer_seq INTEGER
);
CREATE INDEX saga_unfinished ON saga (number) WHERE status IN ('RUNNING', 'COMPENSATING');
CREATE INDEX saga_stuck ON saga (number) WHERE status = 'STUCK';

-- One row for each thing that happened; only ever appended to. Payloads are protobuf bytes.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    saga INTEGER NOT NULL REFERENCES saga (number),
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    step TEXT,
    direction TEXT,
    attempt INTEGER,
    outcome TEXT,
    code TEXT,
    domain TEXT,
    reason TEXT,
    message TEXT,
    retry_after_s REAL,
    is_other_payload INTEGER,
    payload BLOB,
    next_request BLOB,
    next_problem TEXT,
    answer_status INTEGER,
    answer_headers TEXT,
    answer_body BLOB
);
CREATE INDEX event_of_saga ON event (saga);
""",
    2: """
-- What an operator did: who, and why.
ALTER TABLE event ADD COLUMN operator TEXT;
ALTER TABLE event ADD COLUMN note TEXT;
-- What may be purged, the longest ended first.
CREATE INDEX saga_ended ON saga (name, updated_ms) WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED');
""",
    3: """
-- With OTHER_RUN: the run that owns the saga.
ALTER TABLE event ADD COLUMN owner_run TEXT;
""",
    4: """
-- No table changes. From here on answer_headers may hold a saga's result instead of HTTP headers (decision 146), which
-- earlier versions would take for a broken answer: they have to refuse the file.
""",
    5: """
-- No table changes. There are new kinds of events, of which earlier versions can't tell where a saga stands: HELD,
-- DONE_BY_HAND, REFUSED_BY_HAND and GAVE_UP (decision 164).
""",
    6: """
-- The second edition of the language: of which step a request is for, and when a wait ends; the keys of a loop's items,
-- or of the calls in doubt; and what came from outside. New kinds: PLANNED, LOOP, SKIPPED, TIMED_OUT and EVENT.
ALTER TABLE event ADD COLUMN next_step TEXT;
ALTER TABLE event ADD COLUMN until_ms INTEGER;
ALTER TABLE event ADD COLUMN starts_ms INTEGER;
ALTER TABLE event ADD COLUMN keys TEXT;
ALTER TABLE event ADD COLUMN at_once INTEGER;
ALTER TABLE event ADD COLUMN event TEXT;
ALTER TABLE event ADD COLUMN event_number INTEGER;
ALTER TABLE event ADD COLUMN caller TEXT;
ALTER TABLE event ADD COLUMN request_key TEXT;
ALTER TABLE event ADD COLUMN fingerprint BLOB;
-- What is known of a caller besides, as canonical JSON.
ALTER TABLE event ADD COLUMN claims TEXT;
ALTER TABLE saga ADD COLUMN claims TEXT;
-- When a saga that waits has something to do again: no process has a task for it until then. 0: at once.
ALTER TABLE saga ADD COLUMN wake_ms INTEGER;
-- The names of the steps that it waits at, or is stuck at.
ALTER TABLE saga ADD COLUMN at_steps TEXT;
-- The values by which sagas can be found: texts, and integers (true and false are 1 and 0).
CREATE TABLE saga_index (
    saga INTEGER NOT NULL REFERENCES saga (number),
    name TEXT NOT NULL,
    value NOT NULL,
    PRIMARY KEY (saga, name)
) WITHOUT ROWID;
CREATE INDEX saga_index_value ON saga_index (name, value);
CREATE INDEX saga_waiting ON saga (wake_ms) WHERE wake_ms IS NOT NULL;
-- With what ended sagas are counted by, so that counting them reads no saga.
DROP INDEX saga_ended;
CREATE INDEX saga_ended ON saga (name, updated_ms, status, version)
WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED');
-- The sagas of a caller. Where nobody says who calls, there are none to list, and the index costs nothing.
CREATE INDEX saga_of_caller ON saga (caller, number) WHERE caller <> 'anonymous';
-- What operators did, and who was refused. Apart from sagas: it is kept when they are gone.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at_ms INTEGER NOT NULL,
    by TEXT NOT NULL,
    did TEXT NOT NULL,
    result TEXT NOT NULL,
    saga_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    scheme TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    address TEXT NOT NULL,
    count INTEGER NOT NULL
);
CREATE INDEX audit_at ON audit (at_ms);
CREATE INDEX audit_of_strangers ON audit (at_ms) WHERE result = 'UNKNOWN';
CREATE INDEX audit_of_saga ON audit (saga_id, at_ms) WHERE saga_id <> '';
-- Orders that wait for a second person; `members` is what was sent, as JSON.
CREATE TABLE pending_order (
    id TEXT NOT NULL PRIMARY KEY,
    saga_id TEXT NOT NULL,
    did TEXT NOT NULL,
    members TEXT NOT NULL,
    by TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
);
-- Encryption at rest (decision 223). 1: what `log/sealing.py` names is encrypted in this row.
ALTER TABLE saga ADD COLUMN sealed INTEGER;
ALTER TABLE event ADD COLUMN sealed INTEGER;
-- Keys of this file, each wrapped by the key-encryption key that it is named for.
CREATE TABLE store_key (
    kek TEXT PRIMARY KEY,
    wrapped BLOB NOT NULL
) WITHOUT ROWID;
-- The key of the log itself, for what outlives the data of a saga.
CREATE TABLE own_key (
    number INTEGER PRIMARY KEY,
    kek TEXT REFERENCES store_key (kek),
    wrapped BLOB NOT NULL
);
-- A key for each person whose data sagas hold. Its name is an HMAC; once it is forgotten, `wrapped` is zeros.
CREATE TABLE subject_key (
    number INTEGER PRIMARY KEY,
    kek TEXT REFERENCES store_key (kek),
    wrapped BLOB NOT NULL,
    name BLOB NOT NULL,
    forgotten_ms INTEGER
);
CREATE INDEX subject_key_name ON subject_key (name);
-- The key that a saga's rows are encrypted by. It is wrapped by a store key, or by its subject's key.
ALTER TABLE saga ADD COLUMN kek TEXT REFERENCES store_key (kek);
ALTER TABLE saga ADD COLUMN wrapped BLOB;
ALTER TABLE saga ADD COLUMN subject INTEGER REFERENCES subject_key (number);
CREATE INDEX saga_subject ON saga (subject) WHERE subject IS NOT NULL;
""",
}


@cache
def insert_event(columns: tuple[str, ...]) -> str:
    """An event's INSERT, with those columns alone that it has a value for.

    Of 24 columns most rows have eight. Python's sqlite3 looks for an adapter for each NULL, 0.35 us: binding them took
    two thirds of the time of an INSERT.
    """
    return f"INSERT INTO event ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


SAGA_COLUMNS = (
    "saga_id",
    "name",
    "version",
    "digest",
    "run",
    "caller",
    "idempotency_key",
    "fingerprint",
    "trace_id",
    "trace_flags",
    "trace_state",
    "started_ms",
    "updated_ms",
    "claims",
    "sealed",
    "kek",
    "wrapped",
    "subject",
)
INSERT_SAGA = f"""
INSERT INTO saga ({", ".join(SAGA_COLUMNS)}, status)
VALUES ({", ".join("?" * len(SAGA_COLUMNS))}, 'RUNNING')
ON CONFLICT (saga_id) DO NOTHING
"""

SET_WAKE = "UPDATE saga SET wake_ms = ? WHERE number = ?"
SET_AT_STEPS = "UPDATE saga SET at_steps = ? WHERE number = ?"
COUNT_ACTIVE_BY_CALLER = """
SELECT caller, count(*) AS count FROM saga WHERE status IN ('RUNNING', 'COMPENSATING') GROUP BY caller
"""
COUNT_WAITING = "SELECT count(*) AS count FROM saga WHERE wake_ms > 0"
SELECT_DUE = """
SELECT saga_id, wake_ms, number FROM saga
WHERE wake_ms > 0 AND wake_ms <= ?1 AND (wake_ms, number) > (?2, ?3) ORDER BY wake_ms, number LIMIT ?4
"""
UPDATE_STATUS = "UPDATE saga SET status = ?, updated_ms = ? WHERE number = ?"
SET_ANSWER = "UPDATE saga SET answer_seq = ? WHERE number = ? AND answer_seq IS NULL"
"""Apart from the status, which three indexes are about: SQLite would work through them for an answer too."""

SELECT_HEAD = """
SELECT saga.*, event.answer_status, event.answer_headers, event.answer_body,
       event.kind AS event_kind, event.sealed AS event_sealed
FROM saga LEFT JOIN event ON event.seq = saga.answer_seq
WHERE saga.saga_id = ?
"""

SELECT_SAGA = "SELECT * FROM saga WHERE saga_id = ?"
SELECT_EVENTS = "SELECT * FROM event WHERE saga = ? ORDER BY seq"

SELECT_ACTIVE = """
SELECT * FROM saga
WHERE number IN (
    SELECT number FROM saga WHERE status IN ('RUNNING', 'COMPENSATING') AND wake_ms IS NULL AND number > ?1
    UNION ALL SELECT number FROM saga WHERE wake_ms = 0 AND number > ?1
) ORDER BY number LIMIT ?2
"""
"""Those that a process has to go on with; not those that wait. A stuck saga may have other branches that go on."""

SELECT_UNCHANGED = """
SELECT saga_id, name, version, digest FROM saga
WHERE status IN ('RUNNING', 'COMPENSATING') AND wake_ms IS NULL AND updated_ms < ?1 ORDER BY number LIMIT ?2
"""
SELECT_ACTIVE_EVENTS = """
SELECT event.* FROM saga JOIN event ON event.saga = saga.number
WHERE saga.number > ? AND saga.number <= ?
    AND ((saga.status IN ('RUNNING', 'COMPENSATING') AND saga.wake_ms IS NULL) OR saga.wake_ms = 0)
ORDER BY saga.number, event.seq
"""

SELECT_NEXT_ENDED_NAME = """
SELECT min(name) AS name FROM saga WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED') AND name > ?
"""

SELECT_LAST_END = """
SELECT max(updated_ms) AS ended_ms FROM saga
WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED') AND name = ?
"""

SELECT_PURGEABLE = """
SELECT number, subject FROM saga
WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED') AND name = ? AND updated_ms < ? ORDER BY updated_ms LIMIT ?
"""
INSERT_INDEX = "INSERT INTO saga_index (saga, name, value) VALUES (?, ?, ?)"
DELETE_INDEX = "DELETE FROM saga_index WHERE saga = ?"
DELETE_EVENTS = "DELETE FROM event WHERE saga = ?"
DELETE_SAGA = "DELETE FROM saga WHERE number = ?"
DELETE_SUBJECT_KEY = """
DELETE FROM subject_key WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM saga WHERE subject = ?1)
"""
SELECT_DATA_KEY = """
SELECT saga.saga_id, saga.kek, saga.wrapped, saga.subject, s.kek AS subject_kek, s.wrapped AS subject_wrapped
FROM saga LEFT JOIN subject_key AS s ON s.number = saga.subject WHERE saga.number = ?
"""
SET_DATA_KEY = "UPDATE saga SET kek = ?, wrapped = ? WHERE number = ?"
SELECT_SUBJECT_KEY = "SELECT number, kek, wrapped FROM subject_key WHERE name = ? AND forgotten_ms IS NULL"
INSERT_SUBJECT_KEY = "INSERT INTO subject_key (name, kek, wrapped) VALUES (?, ?, ?)"
WIPE_SUBJECT_KEY = (
    "UPDATE subject_key SET wrapped = zeroblob(length(wrapped)) WHERE name = ? AND forgotten_ms IS NULL"
)
FORGET_SUBJECT_KEY = (
    "UPDATE subject_key SET kek = NULL, forgotten_ms = ? WHERE name = ? AND forgotten_ms IS NULL"
)
SELECT_LAST_SEQ = "SELECT max(seq) FROM event"
SELECT_OF_SUBJECT = """
SELECT number, saga_id, status FROM saga
WHERE subject IN (SELECT number FROM subject_key WHERE name = ?) ORDER BY number
"""

SELECT_LAST_MS = "SELECT at_ms FROM event ORDER BY seq DESC LIMIT 1"
