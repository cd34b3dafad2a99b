CREATE TABLE IF NOT EXISTS orders (
  order_id      TEXT PRIMARY KEY,
  customer_id   TEXT NOT NULL,
  status        INTEGER NOT NULL,  -- shop.order.v1.Order.Status
  items         TEXT NOT NULL,     -- JSON: a list of [product_id, quantity, unit_price_minor]
  total_minor   INTEGER NOT NULL,
  cancel_reason TEXT,
  create_time   TEXT NOT NULL,     -- ISO 8601, UTC
  update_time   TEXT NOT NULL
) STRICT;
