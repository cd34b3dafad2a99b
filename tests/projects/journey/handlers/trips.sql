CREATE TABLE IF NOT EXISTS trips (
  trip_id TEXT PRIMARY KEY,
  number  TEXT NOT NULL,
  status  TEXT NOT NULL CHECK (status IN ('OPEN', 'CONFIRMED', 'CLOSED')),
  guest   TEXT,
  reason  TEXT
) STRICT;
