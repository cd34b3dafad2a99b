CREATE TABLE IF NOT EXISTS orders (
  order_id      text PRIMARY KEY,
  customer_id   text NOT NULL,
  status        integer NOT NULL,  -- shop.order.v1.Order.Status
  items         text NOT NULL,     -- JSON: a list of [product_id, quantity, unit_price_minor]
  total_minor   bigint NOT NULL,
  cancel_reason text,
  create_time   text NOT NULL,     -- ISO 8601, UTC
  update_time   text NOT NULL
);
