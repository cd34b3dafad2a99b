CREATE TABLE IF NOT EXISTS payments (
  order_id     TEXT PRIMARY KEY,
  customer_id  TEXT NOT NULL,
  amount_minor INTEGER NOT NULL,
  status       TEXT NOT NULL CHECK (status IN ('AUTHORISED', 'VOIDED', 'CAPTURED'))
) STRICT;

CREATE TABLE IF NOT EXISTS journal (
  at_ns    INTEGER NOT NULL,
  order_id TEXT NOT NULL,
  what     TEXT NOT NULL
) STRICT;
