CREATE TABLE IF NOT EXISTS tickets (
    ticket_id TEXT PRIMARY KEY,
    exhibit_id TEXT NOT NULL,
    total_minor INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS letters (text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS announcements (text TEXT NOT NULL);
