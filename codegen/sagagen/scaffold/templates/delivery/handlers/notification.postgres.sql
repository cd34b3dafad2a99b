CREATE TABLE IF NOT EXISTS mails (
  order_id    text PRIMARY KEY,
  customer_id text NOT NULL
);

CREATE TABLE IF NOT EXISTS bounces (
  customer_id text PRIMARY KEY
);

INSERT INTO bounces (customer_id) VALUES ('nomail')
ON CONFLICT DO NOTHING;
