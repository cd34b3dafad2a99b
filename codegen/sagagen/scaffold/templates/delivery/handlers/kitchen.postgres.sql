CREATE TABLE IF NOT EXISTS larder (
  dish_id   text PRIMARY KEY,
  available bigint NOT NULL CHECK (available >= 0),
  reserved  bigint NOT NULL CHECK (reserved >= 0)
);

CREATE TABLE IF NOT EXISTS reservations (
  order_id text NOT NULL,
  dish_id  text NOT NULL,
  quantity bigint NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (order_id, dish_id)
);

INSERT INTO larder (dish_id, available, reserved) VALUES
  ('margherita', 100000, 0), ('lasagne', 100000, 0), ('tiramisu', 100000, 0), ('truffle', 0, 0)
ON CONFLICT DO NOTHING;
