"""The barrier's tables and functions in a PostgreSQL database, as SQL. `%(schema)s` is the service's, quoted.

`enter` takes the saga's lock and then reads, in one call. Each statement of a volatile function sees what is committed
when it begins (READ COMMITTED), so what `enter` reads is newer than the lock. Under the other isolations a transaction
sees the state of its first statement, and what is read may be older than the lock: then `had_to_wait` says so, and the
call begins anew. The keys of the table are what holds in any case (`record`): no two transactions commit the same call,
no action is committed beside an empty compensation of it, and no two runs leave rows.

The table is in one piece: of 16 partitions every plan has to lock and to begin each, which took 0.3 ms a call (decision
234). A plan is made once for a connection, and while the table is empty, or has one page, that would be to read all of
it; so functions are planned without such scans, for the day when the table has grown and nobody has counted it yet.

`enter_new` is the quick way for a call that comes for the first time: it says whether there is anything to know.

Handlers' connections have no rights on these tables. They reach them through these functions, which run with the rights
of their owner, and with no search path that a caller could choose.
"""

VERSION = 1

TABLES = """
CREATE SCHEMA IF NOT EXISTS %(schema)s;
CREATE TABLE IF NOT EXISTS %(schema)s.meta (name text PRIMARY KEY, value bigint NOT NULL);
CREATE TABLE IF NOT EXISTS %(schema)s.changes (
  number integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS %(schema)s.store_key (kek text PRIMARY KEY, wrapped bytea NOT NULL);
CREATE TABLE IF NOT EXISTS %(schema)s.own_key ( -- of the database itself, for what outlives a saga's data
  number integer PRIMARY KEY, kek text NOT NULL REFERENCES %(schema)s.store_key, wrapped bytea NOT NULL
);
CREATE TABLE IF NOT EXISTS %(schema)s.barrier (
  saga         text NOT NULL,
  step         text NOT NULL,              -- empty in the row that says which run a saga has here
  direction    text NOT NULL CHECK (direction IN ('action', 'compensation')),
  run          text NOT NULL,              -- empty for calls that no saga makes
  started_ms   bigint NOT NULL,            -- the engine's stamp; rows are purged by it, whole sagas at a time
  not_after_ms bigint NOT NULL,
  digest       bytea NOT NULL,             -- SHA-256 of method and request
  state        text NOT NULL CHECK (state IN ('DONE', 'REFUSED', 'EMPTY', 'PENDING', 'OWNER')),
  outcome      bytea NOT NULL,
  incarnation  text NOT NULL DEFAULT '',   -- of the process that runs a PENDING call
  trace_id     text NOT NULL,
  sealed       boolean,                    -- true: digest and outcome are encrypted
  kek          text REFERENCES %(schema)s.store_key,
  wrapped      bytea,                      -- the key of the outcome; one zero once it is destroyed
  PRIMARY KEY (saga, step, direction)
) WITH (                                   -- what is purged is spread over pages; a fifth of them is late
  autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.05
);
INSERT INTO %(schema)s.meta (name, value) VALUES
  ('barrier_version', 1), ('purged_through_ms', 0), ('epoch', 0),
  ('database_id', (random() * 9007199254740991)::bigint)
  ON CONFLICT DO NOTHING;
"""
TURN = "CREATE TABLE IF NOT EXISTS %(schema)s.turn_%(number)s ();"
"""Nothing but a name to lock (`repeating`)."""
TURN_RIGHTS = "GRANT UPDATE ON %(schema)s.turn_%(number)s TO %(role)s;"
INDEX = "CREATE INDEX IF NOT EXISTS barrier_started ON %(schema)s.barrier (started_ms);"

FUNCTIONS = """
-- 1: the saga has left nothing here; 2: its run has, and nothing for this step; 0: `enter` is to be asked.
-- It waits for nobody, so it takes the lock or leaves it. No rows and the watermark are of one statement.
CREATE OR REPLACE FUNCTION %(schema)s.enter_new(p_saga text, p_step text, p_run text, p_purged_through_ms bigint)
RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  owner text;
  is_known boolean;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended(%(literal)s || p_saga, 0)) THEN
    RETURN 0;
  END IF;
  SELECT (SELECT b.run FROM %(schema)s.barrier b WHERE b.saga = p_saga LIMIT 1),
         m.value <> p_purged_through_ms
           OR EXISTS (SELECT FROM %(schema)s.barrier b WHERE b.saga = p_saga AND b.step = p_step)
    INTO owner, is_known
    FROM %(schema)s.meta m WHERE m.name = 'purged_through_ms';
  RETURN CASE WHEN is_known OR owner <> p_run THEN 0 WHEN owner IS NULL THEN 1 ELSE 2 END;
END $$;

CREATE OR REPLACE FUNCTION %(schema)s.enter(p_saga text, p_step text, p_direction text)
RETURNS TABLE (
  direction text, run text, digest bytea, state text, outcome bytea, not_after_ms bigint,
  purged_through_ms bigint, had_to_wait boolean, sealed boolean, kek text, wrapped bytea
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  key bigint := hashtextextended(%(literal)s || p_saga, 0);
  waited boolean := false;
BEGIN
  IF NOT pg_try_advisory_xact_lock(key) THEN
    waited := true;
    PERFORM pg_advisory_xact_lock(key);
  END IF;
  -- Rows and watermark in one statement: a purge between the two would make a call that was done look new.
  RETURN QUERY
  SELECT b.direction, b.run, b.digest, b.state,
         CASE WHEN b.direction = p_direction THEN b.outcome ELSE ''::bytea END, b.not_after_ms, m.value, waited,
         b.sealed, b.kek, b.wrapped
    FROM %(schema)s.meta m JOIN %(schema)s.barrier b ON b.saga = p_saga AND b.step = p_step
   WHERE m.name = 'purged_through_ms'
  UNION ALL
  SELECT '', (SELECT b.run FROM %(schema)s.barrier b WHERE b.saga = p_saga LIMIT 1),
         ''::bytea, '', ''::bytea, 0::bigint, m.value, waited, false, NULL, NULL
    FROM %(schema)s.meta m WHERE m.name = 'purged_through_ms';
END $$;

CREATE OR REPLACE FUNCTION %(schema)s.record(
  p_saga text, p_step text, p_direction text, p_run text, p_started_ms bigint, p_not_after_ms bigint, p_digest bytea,
  p_state text, p_outcome bytea, p_incarnation text, p_trace_id text, p_shuts_action_out boolean, p_is_first boolean,
  p_sealed boolean, p_kek text, p_wrapped bytea
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  written integer;
BEGIN
  INSERT INTO %(schema)s.barrier AS b (saga, step, direction, run, started_ms, not_after_ms,
                                       digest, state, outcome, incarnation, trace_id, sealed, kek, wrapped)
  VALUES (p_saga, p_step, p_direction, p_run, p_started_ms, p_not_after_ms,
          p_digest, p_state, p_outcome, p_incarnation, p_trace_id, p_sealed, p_kek, p_wrapped)
  ON CONFLICT (saga, step, direction) DO UPDATE
    SET not_after_ms = excluded.not_after_ms, state = excluded.state, outcome = excluded.outcome,
        incarnation = excluded.incarnation, trace_id = excluded.trace_id, digest = excluded.digest,
        sealed = excluded.sealed, kek = excluded.kek, wrapped = excluded.wrapped
    WHERE b.state = 'PENDING';
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written <> 1 THEN
    RAISE unique_violation USING MESSAGE = 'the call has another outcome already';
  END IF;
  IF p_direction = 'compensation' THEN
    -- An action that was PENDING in this transaction's state may be settled by now, or settle after it: one of the two
    -- transactions then fails, and looks again.
    UPDATE %(schema)s.barrier SET not_after_ms = not_after_ms
     WHERE saga = p_saga AND step = p_step AND direction = 'action' AND state = 'PENDING';
  END IF;
  IF p_shuts_action_out THEN
    INSERT INTO %(schema)s.barrier (saga, step, direction, run, started_ms, not_after_ms,
                                    digest, state, outcome, trace_id)
    VALUES (p_saga, p_step, 'action', p_run, p_started_ms, p_not_after_ms,
            CASE WHEN p_sealed THEN ''::bytea ELSE p_digest END, 'EMPTY', '', p_trace_id);
  END IF;
  IF p_is_first THEN
    INSERT INTO %(schema)s.barrier (saga, step, direction, run, started_ms, not_after_ms,
                                    digest, state, outcome, trace_id)
    VALUES (p_saga, '', 'action', p_run, p_started_ms, 0, '', 'OWNER', '', p_trace_id);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION %(schema)s.purge(p_old_ms bigint, p_rows integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  through_ms bigint;
BEGIN
  SELECT max(old.started_ms) INTO through_ms
    FROM (SELECT started_ms FROM %(schema)s.barrier WHERE started_ms < p_old_ms ORDER BY started_ms LIMIT p_rows) old;
  IF through_ms IS NULL THEN
    RETURN NULL;
  END IF;
  DELETE FROM %(schema)s.barrier WHERE started_ms <= through_ms;
  UPDATE %(schema)s.meta SET value = greatest(value, through_ms) WHERE name = 'purged_through_ms';
  RETURN through_ms;
END $$;

CREATE OR REPLACE FUNCTION %(schema)s.newest_ms() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ SELECT max(started_ms) FROM %(schema)s.barrier $$;
"""
RIGHTS = """
REVOKE ALL ON SCHEMA %(schema)s FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %(schema)s FROM PUBLIC;
GRANT USAGE ON SCHEMA %(schema)s TO %(role)s;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %(schema)s TO %(role)s;
"""
HANDLERS_RIGHTS = """
GRANT USAGE ON SCHEMA %(tables)s TO %(role)s;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %(tables)s TO %(role)s;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %(tables)s TO %(role)s;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %(tables)s TO %(role)s;
"""
