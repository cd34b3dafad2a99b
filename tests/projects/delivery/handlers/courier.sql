CREATE TABLE IF NOT EXISTS couriers (
  courier_id TEXT PRIMARY KEY,
  order_id   TEXT UNIQUE
) STRICT;

CREATE TABLE IF NOT EXISTS journal (
  at_ns    INTEGER NOT NULL,
  order_id TEXT NOT NULL,
  what     TEXT NOT NULL
) STRICT;
