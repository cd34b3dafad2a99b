CREATE TABLE IF NOT EXISTS tickets (
  order_id TEXT PRIMARY KEY,
  status   TEXT NOT NULL CHECK (status IN ('OPEN', 'WITHDRAWN')),
  reason   TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS journal (
  at_ns    INTEGER NOT NULL,
  order_id TEXT NOT NULL,
  what     TEXT NOT NULL
) STRICT;
