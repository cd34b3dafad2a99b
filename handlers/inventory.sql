CREATE TABLE IF NOT EXISTS stock (
  product_id TEXT PRIMARY KEY,
  available  INTEGER NOT NULL CHECK (available >= 0),
  reserved   INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0)
) STRICT;

CREATE TABLE IF NOT EXISTS reservations (
  order_id   TEXT NOT NULL,
  product_id TEXT NOT NULL REFERENCES stock,
  quantity   INTEGER NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (order_id, product_id)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO stock (product_id, available)
VALUES ('prod_1', 1000), ('prod_2', 1000), ('prod_3', 1000), ('prod_4', 1000), ('prod_5', 1000);
