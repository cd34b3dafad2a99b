CREATE TABLE IF NOT EXISTS bookings (
  booking_id text PRIMARY KEY,
  guest      text NOT NULL,
  status     text NOT NULL CHECK (status IN ('HELD', 'CONFIRMED'))
);
