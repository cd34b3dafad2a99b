CREATE TABLE IF NOT EXISTS orders (
  order_id      TEXT PRIMARY KEY,
  customer_id   TEXT NOT NULL,
  status        INTEGER NOT NULL,  -- shop.order.v1.Order.Status
  total_minor   INTEGER NOT NULL,
  cancel_reason TEXT,
  create_time   TEXT NOT NULL,     -- ISO 8601, UTC
  update_time   TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS order_items (
  order_id         TEXT NOT NULL REFERENCES orders,
  line             INTEGER NOT NULL,
  product_id       TEXT NOT NULL,
  quantity         INTEGER NOT NULL,
  unit_price_minor INTEGER NOT NULL,
  PRIMARY KEY (order_id, line)
) STRICT, WITHOUT ROWID;
