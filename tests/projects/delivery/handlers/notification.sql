CREATE TABLE IF NOT EXISTS mails (
  order_id    TEXT NOT NULL,
  customer_id TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS journal (
  at_ns    INTEGER NOT NULL,
  order_id TEXT NOT NULL,
  what     TEXT NOT NULL
) STRICT;
