CREATE TABLE IF NOT EXISTS couriers (
  courier_id text PRIMARY KEY,
  area       text NOT NULL,
  rides      bigint NOT NULL CHECK (rides >= 0)
);

CREATE INDEX IF NOT EXISTS couriers_by_area ON couriers (area, rides, courier_id);

CREATE TABLE IF NOT EXISTS rides (
  order_id   text PRIMARY KEY,
  courier_id text NOT NULL,
  address    text NOT NULL
);

INSERT INTO couriers (courier_id, area, rides) VALUES
  ('courier-1', 'Old Town', 0), ('courier-2', 'Old Town', 0), ('courier-3', 'Harbour', 0)
ON CONFLICT DO NOTHING;
