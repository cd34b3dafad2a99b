CREATE TABLE IF NOT EXISTS payments (
  order_id     text PRIMARY KEY,
  payment_id   text NOT NULL,
  customer_id  text NOT NULL,
  amount_minor bigint NOT NULL,
  status       text NOT NULL CHECK (status IN ('CHARGED', 'REFUNDED'))
);
