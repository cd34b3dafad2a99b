CREATE TABLE IF NOT EXISTS accounts (
  customer_id text PRIMARY KEY,
  points      bigint NOT NULL
);
