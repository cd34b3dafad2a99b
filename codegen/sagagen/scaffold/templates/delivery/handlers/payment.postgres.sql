CREATE TABLE IF NOT EXISTS payments (
  order_id     text PRIMARY KEY,
  customer_id  text NOT NULL,
  amount_minor bigint NOT NULL,
  status       text NOT NULL CHECK (status IN ('AUTHORISED', 'VOIDED', 'CAPTURED'))
);

CREATE TABLE IF NOT EXISTS suspects (
  customer_id text PRIMARY KEY
);

INSERT INTO suspects (customer_id) VALUES ('mallory')
ON CONFLICT DO NOTHING;
