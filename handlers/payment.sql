CREATE TABLE IF NOT EXISTS payments (
  order_id     TEXT PRIMARY KEY,
  payment_id   TEXT NOT NULL,
  customer_id  TEXT NOT NULL,
  amount_minor INTEGER NOT NULL,
  status       TEXT NOT NULL CHECK (status IN ('CHARGED', 'REFUNDED'))
) STRICT;
