CREATE TABLE IF NOT EXISTS tickets (
  order_id      TEXT PRIMARY KEY,
  restaurant_id TEXT NOT NULL,
  status        TEXT NOT NULL CHECK (status IN ('OPEN', 'WITHDRAWN')),
  reason        TEXT
) STRICT;
