CREATE TABLE IF NOT EXISTS exhibits (
    exhibit_id TEXT PRIMARY KEY,
    exhibit BLOB NOT NULL
);
