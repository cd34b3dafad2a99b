CREATE TABLE IF NOT EXISTS tickets (
  order_id      text PRIMARY KEY,
  restaurant_id text NOT NULL,
  status        text NOT NULL CHECK (status IN ('OPEN', 'WITHDRAWN')),
  reason        text
);
