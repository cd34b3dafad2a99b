CREATE TABLE IF NOT EXISTS couriers (
  courier_id TEXT PRIMARY KEY,
  area       TEXT NOT NULL,
  rides      INTEGER NOT NULL CHECK (rides >= 0)
) STRICT;

CREATE INDEX IF NOT EXISTS couriers_by_area ON couriers (area, rides, courier_id);

CREATE TABLE IF NOT EXISTS rides (
  order_id   TEXT PRIMARY KEY,
  courier_id TEXT NOT NULL,
  address    TEXT NOT NULL
) STRICT;

INSERT OR IGNORE INTO couriers (courier_id, area, rides) VALUES
  ('courier-1', 'Old Town', 0), ('courier-2', 'Old Town', 0), ('courier-3', 'Harbour', 0);
