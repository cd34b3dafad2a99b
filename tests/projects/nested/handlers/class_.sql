CREATE TABLE IF NOT EXISTS crates (
    exhibit_id TEXT NOT NULL,
    crate TEXT NOT NULL,
    origin TEXT NOT NULL
);
