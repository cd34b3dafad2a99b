-- All that is odd, in one file.
PRAGMA foreign_keys = ON;
CREATE TABLE kv (k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS "order" (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- given by SQLite
  "user" TEXT NOT NULL COLLATE NOCASE,
  `group` TEXT DEFAULT 'x',
  [select] BLOB DEFAULT x'00ff',
  price REAL CHECK (typeof(price) IN ('real', 'null')),
  name VARCHAR(20) CHECK (name GLOB '[a-z]*'),
  at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  d TEXT DEFAULT (datetime('now')), c DATETIME DEFAULT CURRENT_TIMESTAMP,
  ms INTEGER DEFAULT (unixepoch() * 1000),
  ok BOOLEAN NOT NULL DEFAULT TRUE, doc TEXT CHECK (doc IS NULL OR json_valid(doc)),
  gen INTEGER GENERATED ALWAYS AS (id * 2) STORED,
  h TEXT AS (json_extract(doc, '$.a')) VIRTUAL,
  n NUMERIC, any ANY, "camelCase" TEXT, flag INTEGER CHECK (flag),
  parent INTEGER REFERENCES "order" (id) ON DELETE SET NULL,
  kv TEXT CONSTRAINT known REFERENCES kv (k) DEFERRABLE INITIALLY DEFERRED,
  later TEXT REFERENCES later (id),
  UNIQUE ("user" COLLATE NOCASE, name) ON CONFLICT REPLACE,
  CONSTRAINT total CHECK (n >= 0 OR n IS NULL)
);
CREATE TABLE later (id TEXT PRIMARY KEY, end TEXT, user TEXT, offset INTEGER);
CREATE UNIQUE INDEX IF NOT EXISTS o1 ON "order" (lower("user")) WHERE price > 0;
CREATE INDEX o2 ON "order" (name COLLATE NOCASE DESC, id % 10);
ALTER TABLE "order" ADD COLUMN extra INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "order" RENAME COLUMN extra TO more;
INSERT OR IGNORE INTO "order" (id, "user", name) VALUES (7, 'a', "quoted");
INSERT OR REPLACE INTO kv (k, v) VALUES ('a', 1), ('b;', 2);
REPLACE INTO kv VALUES ('a', 3);
INSERT INTO kv (k, v) VALUES ('a', 1) ON CONFLICT DO UPDATE SET v = v + excluded.v WHERE v > 0;
CREATE VIEW IF NOT EXISTS v AS
  SELECT ifnull(name, '') AS n, group_concat(name, ',') AS g, instr(name, 'x') AS i, substr(name, 1, 2) AS s,
         iif(id > 1, 1, 2) AS w, total(price) AS t, id % 2 == 0 AS even, round(price, 2) AS r, "camelCase"
  FROM "order" GROUP BY id, name;
CREATE VIEW rows AS SELECT rowid AS r FROM "order";
CREATE TRIGGER t AFTER INSERT ON kv BEGIN UPDATE kv SET v = CASE WHEN v > 1 THEN 1 ELSE 2 END; END;
DROP TABLE IF EXISTS old;
CREATE TABLE twin AS SELECT * FROM kv;
CREATE VIRTUAL TABLE texts USING fts5(body);
CREATE TEMP TABLE tt (a INT);
INSERT INTO later (id, user) VALUES ('1', 'me');
UPDATE later SET user = upper(user) WHERE user LIKE 'M%';
DELETE FROM kv WHERE julianday('now') - v < -1e9;
