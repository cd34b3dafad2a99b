CREATE TABLE IF NOT EXISTS mails (
  order_id    TEXT PRIMARY KEY,
  customer_id TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS bounces (
  customer_id TEXT PRIMARY KEY
) STRICT;

INSERT OR IGNORE INTO bounces (customer_id) VALUES ('nomail');
