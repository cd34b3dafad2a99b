CREATE TABLE IF NOT EXISTS bookings (
  booking_id TEXT PRIMARY KEY,
  guest      TEXT NOT NULL,
  status     TEXT NOT NULL CHECK (status IN ('HELD', 'CONFIRMED'))
) STRICT;
