CREATE TABLE IF NOT EXISTS larder (
  dish_id   TEXT PRIMARY KEY,
  available INTEGER NOT NULL CHECK (available >= 0),
  reserved  INTEGER NOT NULL CHECK (reserved >= 0)
) STRICT;

CREATE TABLE IF NOT EXISTS reservations (
  order_id TEXT NOT NULL,
  dish_id  TEXT NOT NULL,
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (order_id, dish_id)
) STRICT;

INSERT OR IGNORE INTO larder (dish_id, available, reserved) VALUES
  ('margherita', 100000, 0), ('lasagne', 100000, 0), ('tiramisu', 100000, 0), ('truffle', 0, 0);
