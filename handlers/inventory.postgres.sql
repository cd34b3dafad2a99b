CREATE TABLE IF NOT EXISTS stock (
  product_id text PRIMARY KEY,
  available  bigint NOT NULL CHECK (available >= 0),
  reserved   bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0)
);

CREATE TABLE IF NOT EXISTS reservations (
  order_id   text NOT NULL,
  product_id text NOT NULL REFERENCES stock,
  quantity   bigint NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (order_id, product_id)
);

INSERT INTO stock (product_id, available)
VALUES ('prod_1', 1000), ('prod_2', 1000), ('prod_3', 1000), ('prod_4', 1000), ('prod_5', 1000)
ON CONFLICT DO NOTHING;
