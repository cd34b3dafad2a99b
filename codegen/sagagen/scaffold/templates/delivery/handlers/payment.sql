CREATE TABLE IF NOT EXISTS payments (
  order_id     TEXT PRIMARY KEY,
  customer_id  TEXT NOT NULL,
  amount_minor INTEGER NOT NULL,
  status       TEXT NOT NULL CHECK (status IN ('AUTHORISED', 'VOIDED', 'CAPTURED'))
) STRICT;

CREATE TABLE IF NOT EXISTS suspects (
  customer_id TEXT PRIMARY KEY
) STRICT;

INSERT OR IGNORE INTO suspects (customer_id) VALUES ('mallory');
