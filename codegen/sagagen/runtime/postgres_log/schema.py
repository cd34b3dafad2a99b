"""The log's tables in PostgreSQL, and the one statement that writes to them.

A `life` is a gateway process from its start to its end, as long as its lease runs. Sagas lie in `shard`s, and a shard
is owned by one life. Whoever accepts a saga puts it into a shard of their own; from then on it is driven by whoever
owns that. A shard leaves a life only when that is over: given up, or taken for dead and marked so.

This row is the fence. Every write first updates the row of its gateway's life, unless that life is over. The update
waits for whoever marks the life as over, and then finds nothing; so a gateway that was taken for dead writes nothing
more. The same row counts the writes. A gateway whose connection is lost during one bars that number, so that a write
that is on its way still can't be done after all, and learns from the count whether it was done before.

Rows of a saga are kept as `saga/codec.py` writes them, a batch for each append. What is looked for stands beside them.
Where the log is encrypted, a batch is in three parts (`sealing`).
"""

VERSION = 3
SCHEMA = "sagagen_engine"
LOCK = f"hashtextextended('{SCHEMA}', 0)"
CHANNEL = SCHEMA
"""On which gateways tell each other that there is something to look at."""

TABLES = """
CREATE SCHEMA IF NOT EXISTS sagagen_engine;
CREATE TABLE IF NOT EXISTS sagagen_engine.meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS sagagen_engine.life (
  life bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,                     -- host and process, for people
  until timestamptz NOT NULL,             -- by the server's clock; then others may take what it owns
  writes bigint NOT NULL DEFAULT 0,       -- number of its last write
  barred bigint NOT NULL DEFAULT 0,       -- no write up to this number is done any more
  last_ms bigint NOT NULL DEFAULT 0,      -- time of the last row that it wrote
  is_over boolean NOT NULL DEFAULT false
) WITH (fillfactor = 20);
CREATE TABLE IF NOT EXISTS sagagen_engine.shard (
  shard bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  life bigint                             -- NULL: nobody owns it
);
CREATE TABLE IF NOT EXISTS sagagen_engine.saga (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  saga_id text COLLATE "C" NOT NULL UNIQUE,
  shard bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  digest text NOT NULL,
  run text NOT NULL,
  caller text COLLATE "C" NOT NULL,
  fingerprint bytea NOT NULL,
  trace_id text NOT NULL,
  started_ms bigint NOT NULL,
  updated_ms bigint NOT NULL,
  status text COLLATE "C" NOT NULL,
  wake_ms bigint,                         -- when it has something to do again; 0: it goes on, though a step is stuck
  at_steps text NOT NULL DEFAULT '',      -- where it waits, or is stuck
  found_by jsonb                          -- the values by which it can be found
) WITH (fillfactor = 80);
CREATE TABLE IF NOT EXISTS sagagen_engine.batch (
  saga bigint NOT NULL,
  seq bigint GENERATED ALWAYS AS IDENTITY,
  answers boolean NOT NULL,               -- one of the rows has the saga's result
  rows bytea NOT NULL,
  PRIMARY KEY (saga, seq)
);
CREATE INDEX IF NOT EXISTS saga_to_do ON sagagen_engine.saga (shard, number)
  WHERE (status IN ('RUNNING', 'COMPENSATING') AND wake_ms IS NULL) OR wake_ms = 0;
CREATE INDEX IF NOT EXISTS saga_waiting ON sagagen_engine.saga (shard, wake_ms, number) WHERE wake_ms > 0;
CREATE INDEX IF NOT EXISTS saga_open ON sagagen_engine.saga (number)
  WHERE status IN ('RUNNING', 'COMPENSATING', 'STUCK');
CREATE INDEX IF NOT EXISTS saga_ended ON sagagen_engine.saga (name, updated_ms)
  WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED');
CREATE INDEX IF NOT EXISTS saga_of_caller ON sagagen_engine.saga (caller, number) WHERE caller <> 'anonymous';
CREATE INDEX IF NOT EXISTS saga_found_by ON sagagen_engine.saga USING gin (found_by jsonb_path_ops)
  WHERE found_by IS NOT NULL;
CREATE TABLE IF NOT EXISTS sagagen_engine.audit (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text NOT NULL UNIQUE,
  at_ms bigint NOT NULL,
  by text NOT NULL,
  did text NOT NULL,
  result text NOT NULL,
  saga_id text COLLATE "C" NOT NULL,
  order_id text NOT NULL,
  reason text NOT NULL,
  scheme text NOT NULL,
  trace_id text NOT NULL,
  address text NOT NULL,
  count integer NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_at ON sagagen_engine.audit (at_ms);
CREATE INDEX IF NOT EXISTS audit_of_saga ON sagagen_engine.audit (saga_id, at_ms) WHERE saga_id <> '';
-- Orders that wait for a second person; `members` is what was sent, as JSON.
CREATE TABLE IF NOT EXISTS sagagen_engine.pending_order (
  id text PRIMARY KEY,
  saga_id text NOT NULL,
  did text NOT NULL,
  members text NOT NULL,
  by text NOT NULL,
  at_ms bigint NOT NULL,
  expires_ms bigint NOT NULL
);
-- What comes for a saga at a gateway that does not drive it. Whoever asked removes it, or whoever finds it too old.
CREATE TABLE IF NOT EXISTS sagagen_engine.mail (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  shard bigint NOT NULL,
  body bytea NOT NULL,
  until timestamptz NOT NULL,
  taken_by bigint,
  reply bytea
);
CREATE INDEX IF NOT EXISTS mail_to_do ON sagagen_engine.mail (shard) WHERE reply IS NULL;
"""
SINCE_2 = """
CREATE TABLE IF NOT EXISTS sagagen_engine.store_key (kek text PRIMARY KEY, wrapped bytea NOT NULL);
CREATE TABLE IF NOT EXISTS sagagen_engine.own_key ( -- of the log itself, for what outlives a saga's data
  number integer PRIMARY KEY, kek text NOT NULL REFERENCES sagagen_engine.store_key, wrapped bytea NOT NULL
);
-- A person whose sagas can be forgotten: all of their keys are wrapped by this one.
CREATE TABLE IF NOT EXISTS sagagen_engine.subject_key (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name bytea NOT NULL,                    -- a digest by the log's own key
  kek text REFERENCES sagagen_engine.store_key, -- NULL: it was destroyed
  wrapped bytea NOT NULL,
  forgotten_ms bigint
);
CREATE UNIQUE INDEX IF NOT EXISTS subject_key_name ON sagagen_engine.subject_key (name) WHERE kek IS NOT NULL;
CREATE INDEX IF NOT EXISTS subject_key_all ON sagagen_engine.subject_key (name);
-- What the gateway encrypts by. Whoever drops that key has to wait for the end of its life.
ALTER TABLE sagagen_engine.life ADD COLUMN IF NOT EXISTS kek text REFERENCES sagagen_engine.store_key;
-- The key of a saga's rows; its kek is NULL where the subject's key wraps it. `kek` has no foreign key: each new saga
-- would lock the one row of its store key.
ALTER TABLE sagagen_engine.saga ADD COLUMN IF NOT EXISTS kek text;
ALTER TABLE sagagen_engine.saga ADD COLUMN IF NOT EXISTS wrapped bytea;
ALTER TABLE sagagen_engine.saga ADD COLUMN IF NOT EXISTS subject bigint REFERENCES sagagen_engine.subject_key;
ALTER TABLE sagagen_engine.saga ADD COLUMN IF NOT EXISTS is_sealed boolean; -- so is its fingerprint
CREATE INDEX IF NOT EXISTS saga_subject ON sagagen_engine.saga (subject) WHERE subject IS NOT NULL;
-- Secrets and digests of the rows, encrypted; `part` is which of the saga's batches it is.
ALTER TABLE sagagen_engine.batch ADD COLUMN IF NOT EXISTS part integer;
ALTER TABLE sagagen_engine.batch ADD COLUMN IF NOT EXISTS sealed bytea;
ALTER TABLE sagagen_engine.batch ADD COLUMN IF NOT EXISTS digests bytea;
"""
"""What the second version of the tables has besides."""
SINCE_3 = """
-- The one saga that was tried when this gateway died; empty: none was.
ALTER TABLE sagagen_engine.life ADD COLUMN IF NOT EXISTS on_trial text NOT NULL DEFAULT '';
-- How many gateways in a row have died with the saga under way; and how many rows it had then.
ALTER TABLE sagagen_engine.saga ADD COLUMN IF NOT EXISTS deaths integer;
ALTER TABLE sagagen_engine.saga ADD COLUMN IF NOT EXISTS deaths_rows integer;
"""
"""What the third version has besides."""

WRITE = """
WITH fence AS (
  UPDATE sagagen_engine.life SET writes = $2, last_ms = greatest(last_ms, $3),
         until = clock_timestamp() + make_interval(secs => $4)
   WHERE life = $1 AND NOT is_over AND barred < $2 RETURNING life
), living AS (
  SELECT number FROM sagagen_engine.subject_key WHERE number = ANY ($21::bigint[]) AND kek IS NOT NULL FOR SHARE
), added AS (
  INSERT INTO sagagen_engine.saga
    (saga_id, shard, name, version, digest, run, caller, fingerprint, trace_id, started_ms, updated_ms, status,
     found_by, is_sealed, kek, wrapped, subject)
  SELECT u.saga_id, $5, u.name, u.version, u.digest, u.run, u.caller, u.fingerprint, u.trace_id, u.started_ms,
         u.started_ms, 'RUNNING', u.found_by::jsonb, u.sealed IS NOT NULL, u.kek, u.wrapped, u.subject
    FROM unnest($6::text[], $7::text[], $8::int[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::text[],
                $14::bigint[], $15::text[], $17::bytea[], $19::text[], $20::bytea[], $21::bigint[])
         AS u (saga_id, name, version, digest, run, caller, fingerprint, trace_id, started_ms, found_by, sealed, kek,
               wrapped, subject), fence
   WHERE u.subject IS NULL OR u.subject IN (SELECT number FROM living)
  ON CONFLICT (saga_id) DO NOTHING
  RETURNING number, saga_id
), appended AS (
  INSERT INTO sagagen_engine.batch (saga, answers, rows, part, sealed, digests)
  SELECT b.saga, b.answers, b.rows, b.part, b.sealed, b.digests FROM (
    SELECT added.number AS saga, 0::bigint AS ord, false AS answers, u.rows,
           CASE WHEN u.sealed IS NOT NULL THEN 1 END AS part, u.sealed, u.digests
      FROM unnest($6::text[], $16::bytea[], $17::bytea[], $18::bytea[]) AS u (saga_id, rows, sealed, digests)
      JOIN added USING (saga_id)
    UNION ALL
    SELECT u.saga, u.ord, u.answers, u.rows, u.part, u.sealed, u.digests
      FROM unnest($22::bigint[], $23::boolean[], $24::bytea[], $25::int[], $26::bytea[], $27::bytea[]) WITH ORDINALITY
           AS u (saga, answers, rows, part, sealed, digests, ord), fence
  ) AS b ORDER BY b.ord
), changed AS (
  UPDATE sagagen_engine.saga SET
         status = coalesce(u.status, saga.status), updated_ms = coalesce(u.updated_ms, saga.updated_ms),
         wake_ms = CASE WHEN u.sets_wake THEN u.wake_ms ELSE saga.wake_ms END,
         at_steps = coalesce(u.at_steps, saga.at_steps),
         kek = CASE WHEN saga.wrapped IS NULL THEN u.kek ELSE saga.kek END,
         wrapped = coalesce(saga.wrapped, u.wrapped)
    FROM unnest($28::bigint[], $29::text[], $30::bigint[], $31::boolean[], $32::bigint[], $33::text[], $34::text[],
                $35::bytea[])
         AS u (number, status, updated_ms, sets_wake, wake_ms, at_steps, kek, wrapped), fence
   WHERE saga.number = u.number
), audited AS (
  INSERT INTO sagagen_engine.audit
    (id, at_ms, by, did, result, saga_id, order_id, reason, scheme, trace_id, address, count)
  SELECT u.* FROM jsonb_to_recordset($36::text::jsonb) AS u (
      id text, at_ms bigint, by text, did text, result text, saga_id text, order_id text, reason text, scheme text,
      trace_id text, address text, count integer), fence
  ON CONFLICT DO NOTHING
), settled AS (
  DELETE FROM sagagen_engine.pending_order USING fence WHERE id = ANY ($37::text[])
)
SELECT (SELECT count(*) FROM fence) AS writers,
       (SELECT array_agg(saga_id) FROM added) AS ids, (SELECT array_agg(number) FROM added) AS numbers
"""
"""One write: all or nothing. Where the life is over `fence` is empty, and so is everything after it.

`living` locks the keys of new sagas' subjects: whoever forgets one waits for these sagas, or they are not added.
"""

FATE = "UPDATE sagagen_engine.life SET barred = greatest(barred, $2) WHERE life = $1 RETURNING writes"
"""What became of a write whose connection was lost. It waits for the write, should that be under way still."""
ADDED_BY_RUN = """
SELECT saga_id, number FROM sagagen_engine.saga
 WHERE (saga_id, run) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""

BEGIN_LIFE = """
INSERT INTO sagagen_engine.life (name, until, kek) VALUES ($1, clock_timestamp() + make_interval(secs => $2), $3)
RETURNING life, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
"""
RENEW = """
UPDATE sagagen_engine.life SET until = clock_timestamp() + make_interval(secs => $2)
 WHERE life = $1 AND NOT is_over RETURNING (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
"""
TAKE = """
WITH expired AS (
  SELECT life FROM sagagen_engine.life WHERE NOT is_over AND until < clock_timestamp() AND life <> $1
     FOR UPDATE SKIP LOCKED
), ended AS (
  UPDATE sagagen_engine.life SET is_over = true FROM expired WHERE life.life = expired.life RETURNING life.life
), free AS (
  SELECT shard, life AS left_by FROM sagagen_engine.shard
   WHERE life IS NULL OR life IN (SELECT life FROM ended)
      OR life IN (SELECT life FROM sagagen_engine.life WHERE is_over)
     FOR UPDATE SKIP LOCKED
)
UPDATE sagagen_engine.shard SET life = $1 FROM free
 WHERE shard.shard = free.shard AND EXISTS (SELECT FROM sagagen_engine.life WHERE life = $1 AND NOT is_over)
RETURNING shard.shard, free.left_by,
          coalesce((SELECT on_trial FROM sagagen_engine.life WHERE life = free.left_by), '') AS on_trial
"""
"""Take what nobody owns, and what those own whose lease has run out: they are over from then on.

`left_by` is whoever did not give the shard back: they died, or were taken for dead.
"""
ADD_SHARD = "INSERT INTO sagagen_engine.shard (life) VALUES ($1) RETURNING shard"
END_LIFE = """
WITH ended AS (UPDATE sagagen_engine.life SET is_over = true WHERE life = $1 RETURNING life)
UPDATE sagagen_engine.shard SET life = NULL FROM ended WHERE shard.life = ended.life
"""
REMOVE_LIVES = """
DELETE FROM sagagen_engine.life
 WHERE is_over AND until < clock_timestamp() - interval '1 day'
   AND last_ms < (SELECT max(last_ms) FROM sagagen_engine.life)
   AND NOT EXISTS (SELECT FROM sagagen_engine.shard WHERE shard.life = life.life)
"""
FIND_META = f"SELECT to_regclass('{SCHEMA}.meta')::text"
RING = f"SELECT pg_notify('{CHANNEL}', '')"
TRY_ALONE = "UPDATE sagagen_engine.life SET on_trial = $2 WHERE life = $1"
DEATHS = """
SELECT saga_id, deaths, deaths_rows FROM sagagen_engine.saga WHERE saga_id = ANY ($1::text[]) AND deaths IS NOT NULL
"""
COUNT_DEATHS = """
UPDATE sagagen_engine.saga SET deaths = u.deaths, deaths_rows = u.rows
  FROM unnest($1::text[], $2::int[], $3::int[]) AS u (saga_id, deaths, rows) WHERE saga.saga_id = u.saga_id
"""
LAST_MS = "SELECT coalesce(max(last_ms), 0) FROM sagagen_engine.life"

HEAD = """
SELECT s.*, a.rows, a.part, a.sealed, a.digests FROM sagagen_engine.saga s
  LEFT JOIN LATERAL (
    SELECT * FROM sagagen_engine.batch b WHERE b.saga = s.number AND b.answers ORDER BY b.seq LIMIT 1
  ) AS a ON true
 WHERE s.saga_id = $1
"""
"""With the batch that has the saga's result."""
SAGA = "SELECT * FROM sagagen_engine.saga WHERE saga_id = $1"
BATCHES = """
SELECT saga, rows, part, sealed, digests FROM sagagen_engine.batch WHERE saga = ANY ($1::bigint[]) ORDER BY saga, seq
"""
IDS = """
SELECT saga_id FROM sagagen_engine.saga WHERE saga_id >= $1 AND saga_id < $2 ORDER BY saga_id LIMIT $3
"""
ACTIVE = """
SELECT * FROM sagagen_engine.saga
 WHERE shard = ANY ($1::bigint[]) AND number > $2
   AND ((status IN ('RUNNING', 'COMPENSATING') AND wake_ms IS NULL) OR wake_ms = 0)
 ORDER BY number LIMIT $3
"""
UNCHANGED = """
SELECT saga_id, name, version, digest FROM sagagen_engine.saga
 WHERE status IN ('RUNNING', 'COMPENSATING') AND wake_ms IS NULL AND updated_ms < $1
   AND (shard = ANY ($3::bigint[]) OR shard NOT IN (
     SELECT shard.shard FROM sagagen_engine.shard JOIN sagagen_engine.life USING (life)
      WHERE NOT is_over AND until > clock_timestamp()))
 ORDER BY number LIMIT $2
"""
DUE = """
SELECT saga_id, wake_ms, number FROM sagagen_engine.saga
 WHERE shard = ANY ($1::bigint[]) AND wake_ms > 0 AND wake_ms <= $2 AND (wake_ms, number) > ($3, $4)
 ORDER BY wake_ms, number LIMIT $5
"""
WAITING = "SELECT count(*) FROM sagagen_engine.saga WHERE wake_ms > 0 AND shard = ANY ($1::bigint[])"
ACTIVE_BY_CALLER = """
SELECT caller, count(*) AS count FROM sagagen_engine.saga WHERE status IN ('RUNNING', 'COMPENSATING') GROUP BY caller
"""
ACTIVE_OF = """
SELECT count(*) FROM sagagen_engine.saga
 WHERE caller = $1 AND caller <> 'anonymous' AND status IN ('RUNNING', 'COMPENSATING')
"""
OPEN_COUNTS = """
SELECT name, version, digest, status,
       CASE WHEN status = 'STUCK' OR wake_ms > 0 THEN at_steps ELSE '' END AS at_steps,
       count(*) AS count, min(started_ms) AS oldest_ms
  FROM sagagen_engine.saga WHERE status IN ('RUNNING', 'COMPENSATING', 'STUCK') GROUP BY 1, 2, 3, 4, 5
"""
ENDED_COUNTS = """
SELECT name, status, count(*) AS count FROM sagagen_engine.saga
 WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED') GROUP BY name, status
"""
ENDED_NAMES = """
SELECT DISTINCT name FROM sagagen_engine.saga WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED')
"""
LAST_ENDS = """
SELECT name, max(updated_ms) AS ended_ms FROM sagagen_engine.saga
 WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED') GROUP BY name
"""
PURGE = """
WITH old AS (
  SELECT number FROM sagagen_engine.saga
   WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED') AND name = $1 AND updated_ms < $2
   ORDER BY updated_ms LIMIT $3 FOR UPDATE SKIP LOCKED
), batches AS (
  DELETE FROM sagagen_engine.batch USING old WHERE batch.saga = old.number
), sagas AS (
  DELETE FROM sagagen_engine.saga USING old WHERE saga.number = old.number RETURNING 1
)
SELECT count(*) FROM sagas
"""
OF_CALLER = """
SELECT number, saga_id, name, version, status, trace_id, started_ms, updated_ms FROM sagagen_engine.saga
 WHERE caller = $1 AND caller <> 'anonymous' AND number < $2 ORDER BY number DESC LIMIT $3
"""
NUMBER = "SELECT number FROM sagagen_engine.saga WHERE saga_id = $1 AND caller = $2"

POST = """
WITH posted AS (
  INSERT INTO sagagen_engine.mail (shard, body, until)
  SELECT shard, $2, clock_timestamp() + make_interval(secs => $3) FROM sagagen_engine.saga WHERE saga_id = $1
  RETURNING id
)
SELECT id, pg_notify('sagagen_engine', '') FROM posted
"""
FETCH_MAIL = """
UPDATE sagagen_engine.mail SET taken_by = $1 FROM (
  SELECT id, taken_by AS was_taken_by FROM sagagen_engine.mail
   WHERE reply IS NULL AND shard = ANY ($2::bigint[]) AND taken_by IS DISTINCT FROM $1
   ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
) AS found WHERE mail.id = found.id
RETURNING mail.id, mail.body, found.was_taken_by
"""
REPLY = "UPDATE sagagen_engine.mail SET reply = $2 WHERE id = $1"
REPLIES = "SELECT id, reply FROM sagagen_engine.mail WHERE id = ANY ($1::bigint[]) AND reply IS NOT NULL"
REMOVE_MAIL = "DELETE FROM sagagen_engine.mail WHERE id = $1"
REMOVE_OLD_MAIL = "DELETE FROM sagagen_engine.mail WHERE until < clock_timestamp() - interval '1 minute'"

SUBJECTS = "SELECT number, kek, wrapped FROM sagagen_engine.subject_key WHERE number = ANY ($1::bigint[])"
FIND_SUBJECT = (
    "SELECT number, kek, wrapped FROM sagagen_engine.subject_key WHERE name = $1 AND kek IS NOT NULL"
)
ADD_SUBJECT = """
INSERT INTO sagagen_engine.subject_key (name, kek, wrapped) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
OF_SUBJECT = """
SELECT number, saga_id, status FROM sagagen_engine.saga
 WHERE subject IN (SELECT number FROM sagagen_engine.subject_key WHERE name = $1) ORDER BY number
"""
LOCK_SUBJECT = "SELECT number FROM sagagen_engine.subject_key WHERE name = $1 FOR UPDATE"
FORGET_SUBJECT = """
UPDATE sagagen_engine.subject_key SET wrapped = '\\x00', kek = NULL, forgotten_ms = $2
 WHERE name = $1 AND kek IS NOT NULL
"""
FORGET_VALUES = """
UPDATE sagagen_engine.saga SET found_by = NULL WHERE number = ANY ($1::bigint[]) AND found_by IS NOT NULL
"""
REMOVE_SUBJECTS = """
DELETE FROM sagagen_engine.subject_key
 WHERE number IN (SELECT number FROM sagagen_engine.subject_key k
                   WHERE NOT EXISTS (SELECT FROM sagagen_engine.saga WHERE subject = k.number) LIMIT 500)
"""
"""Those that no saga is of any more. A saga that comes meanwhile holds its own, by its foreign key."""
