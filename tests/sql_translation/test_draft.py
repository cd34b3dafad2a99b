"""`sagagen add store`: what SQL of SQLite becomes, and that PostgreSQL takes it for the same."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import postgres_server
import pytest
from click.testing import CliRunner
from stack import REPOSITORY

from sagagen.cli import main
from sagagen.sql_translation.catalog import Catalog
from sagagen.sql_translation.draft import NotSqlite, draft, marks_of
from sagagen.sql_translation.statements_of_handlers import warnings_of

on_a_server = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")
DELIVERY = REPOSITORY / "codegen" / "sagagen" / "scaffold" / "templates" / "delivery" / "handlers"
NASTY = (Path(__file__).parent / "nasty.sql").read_text()
_numbers = itertools.count()

T = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, n INTEGER, doc TEXT);"
"""What the statements below are about."""
COUNTER = ";\nSELECT setval('t_id_seq', (SELECT max(id) FROM t)) FROM t_id_seq\nWHERE last_value < (SELECT max(id) FROM t);"
STATEMENTS = {
    "CREATE TABLE a (b INT, c VARCHAR(9), d FLOAT, e BLOB, f BOOLEAN, g DATETIME, h DECIMAL(9,2))": "",
    "INSERT OR IGNORE INTO t (name) VALUES ('x')": "INSERT INTO t (name) VALUES ('x') ON CONFLICT DO NOTHING",
    "INSERT OR REPLACE INTO t (id, n) VALUES (1, 2)": "INSERT INTO t (id, n) VALUES (1, 2) ON CONFLICT (id) DO UPDATE "
    "SET name = DEFAULT, n = excluded.n, doc = DEFAULT" + COUNTER,
    "INSERT INTO t (id, n) VALUES (1, 2) ON CONFLICT DO UPDATE SET n = n + excluded.n": "INSERT INTO t (id, n) VALUES "
    "(1, 2) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n" + COUNTER,
    "UPDATE t SET name = ifnull(name, \"text\") WHERE name GLOB 'a*[0-9]?'": "UPDATE t SET name = coalesce(name, 'text') "
    "WHERE name ~ '^a.*[0-9].$'",
    "UPDATE t SET n = iif(n == 1, max(n, 2), instr(name, 'x')) WHERE name LIKE 'A%'": "UPDATE t SET n = CASE WHEN n = 1 "
    "THEN greatest(n, 2) ELSE strpos(name, 'x') END WHERE name ILIKE 'A%'",
    "UPDATE t SET n = CAST(name AS INTEGER) WHERE n IS NOT 3 AND name IS NOT NULL": "UPDATE t SET n = CAST(name AS BIGINT)"
    " WHERE n IS DISTINCT FROM 3 AND name IS NOT NULL",
    "UPDATE t SET name = strftime('%Y-%m', 'now', '+1 day'), n = unixepoch()": "UPDATE t SET name = to_char((now() + "
    "INTERVAL '+1 day') AT TIME ZONE 'UTC', 'YYYY-MM'), n = CAST(floor(extract(epoch FROM now())) AS BIGINT)",
    "DELETE FROM t WHERE json_extract(doc, '$.a.b') = 'x'": "DELETE FROM t WHERE (CAST(doc AS jsonb) #>> '{a,b}') = 'x'",
    "CREATE VIEW IF NOT EXISTS v AS SELECT [name], group_concat(name, '-') AS \"all\" FROM main.t GROUP BY 1": "CREATE OR "
    'REPLACE VIEW v AS SELECT "name", string_agg(CAST(name AS TEXT), \'-\') AS "all" FROM t GROUP BY 1',
    "CREATE UNIQUE INDEX i ON t (name COLLATE NOCASE, n DESC) WHERE n > 1": "CREATE UNIQUE INDEX i ON t (lower(name), "
    "n DESC) WHERE n > 1",
    "CREATE INDEX j ON t (n % 7, lower(name))": "CREATE INDEX j ON t ((n % 7), (lower(name)))",
    "ALTER TABLE t ADD COLUMN seen DATETIME DEFAULT TRUE": "ALTER TABLE t ADD COLUMN seen TEXT DEFAULT 1",
}
STATEMENTS[next(iter(STATEMENTS))] = (
    "CREATE TABLE a (b BIGINT, c TEXT, d DOUBLE PRECISION, e BYTEA, f BIGINT, g TEXT, h NUMERIC)"
)


def drafted(sql: str, before: str = "") -> str:
    with closing(Catalog()) as catalog:
        draft(before, catalog)
        return draft(sql, catalog)


@pytest.fixture
def url() -> str:
    return postgres_server.shared_server().database(f"drafts_{next(_numbers)}")


def columns(database: str) -> str:
    """What the tables are, as far as information_schema tells; a column of numbers is wide or narrow."""
    return postgres_server.shared_server().sql(
        """
        SELECT table_name, column_name, ordinal_position, replace(data_type, 'integer', 'bigint'), is_nullable,
               column_default, is_identity FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL
        SELECT conrelid::regclass::text, pg_get_constraintdef(oid), 0, contype::text, '', '', ''
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
        """,
        database,
    )


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: " ".join(statement.split()[:4]))
def test_a_statement_says_the_same_in_the_words_of_postgresql(statement: str) -> None:
    assert drafted(statement, T) == STATEMENTS[statement]


@pytest.mark.slow
@on_a_server
def test_what_is_drafted_is_what_postgresql_takes(url: str) -> None:
    server, database = postgres_server.shared_server(), url.rpartition("/")[2]
    server.sql(drafted(T), database)
    with closing(Catalog()) as catalog:
        draft(T, catalog)
        for statement in STATEMENTS:
            server.sql(draft(statement, catalog), database)


@pytest.mark.slow
@on_a_server
def test_the_drafts_of_the_shop_make_the_tables_that_its_author_wrote(url: str) -> None:
    server, database = postgres_server.shared_server(), url.rpartition("/")[2]
    other = server.database(f"{database}_hand").rpartition("/")[2]
    for service in ("order", "inventory", "payment"):
        file = REPOSITORY / "handlers" / f"{service}.sql"
        server.sql(drafted(file.read_text()), database)
        server.sql(file.with_suffix(".postgres.sql").read_text(), other)
    assert columns(database) == columns(other) != ""
    assert server.sql("SELECT * FROM stock", database) == server.sql("SELECT * FROM stock", other)


@pytest.mark.slow
@on_a_server
def test_the_drafts_of_the_delivery_project_need_no_hand_and_run_at_each_start(url: str) -> None:
    server, database = postgres_server.shared_server(), url.rpartition("/")[2]
    for number, file in enumerate(sorted(DELIVERY.glob("*.sql"))):
        if file.stem.endswith(".postgres"):
            continue
        text = drafted(file.read_text())
        assert not marks_of(text), file
        server.sql(f"CREATE SCHEMA s{number}", database)
        for _ in range(2):
            server.sql(f"SET search_path TO s{number}; {text}", database)
        with closing(Catalog()) as catalog:
            draft(file.read_text(), catalog)
            assert not warnings_of(file.with_suffix(".py").read_text(), catalog), file


@pytest.mark.slow
@on_a_server
def test_a_file_with_all_that_is_odd_is_taken_but_for_what_is_marked(url: str) -> None:
    server, database = postgres_server.shared_server(), url.rpartition("/")[2]
    text = drafted(NASTY)
    server.sql(text, database)
    with closing(sqlite3.connect(":memory:")) as origin:
        origin.executescript(NASTY)
        wanted = origin.execute('SELECT id, "user", `group`, hex([select]), ok, gen FROM "order"').fetchall()
    said = server.sql(
        'SELECT id, "user", "group", upper(encode("select", \'hex\')), ok, gen FROM "order"', database
    )
    assert said == "\n".join("|".join(map(str, row)) for row in wanted)
    server.sql('INSERT INTO "order" ("user") VALUES (\'next\')', database)
    assert server.sql('SELECT max(id) FROM "order"', database) == "8", (
        "behind the highest number that was given"
    )
    assert "T" in server.sql('SELECT at FROM "order" WHERE id = 8', database)
    assert {mark.text.split(":")[0] for mark in marks_of(text)} == {
        "COLLATE NOCASE",
        "ON CONFLICT REPLACE",
        "a trigger",
        "a virtual table",
        "any takes values of any type",
        "julianday() as it is used here",
        "later is made later",
        "rowid",
        "what is temporary is seen by one connection there; a service has several",
    }


def test_comments_and_layout_stay_and_marks_stand_above_what_they_are_about() -> None:
    sql = "-- of people\nCREATE TABLE p (\n  id TEXT, -- ours\n  name TEXT COLLATE NOCASE /* theirs */\n) STRICT;\n"
    assert drafted(sql) == (
        "-- of people\nCREATE TABLE p (\n  id TEXT, -- ours\n"
        "  -- sagagen: COLLATE NOCASE: compare lower(...) on both sides\n"
        "  name TEXT /* COLLATE NOCASE */ /* theirs */\n);\n"
    )


def test_sqlite_has_to_take_the_file_first() -> None:
    with pytest.raises(NotSqlite, match="near") as caught:
        drafted("CREATE TABLE a (b TEXT);\n\nCREATE TABEL c (d TEXT);")
    assert caught.value.line == 3


WARNED = {
    "INSERT OR IGNORE INTO t VALUES (?)": "ON CONFLICT DO NOTHING works on both",
    "REPLACE INTO t VALUES (?)": "ON CONFLICT (key) DO UPDATE",
    "INSERT INTO t (id, n) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET n = n + 1": "write t.n or excluded.n",
    "SELECT strftime('%s', 'now') FROM t": "pass it as a parameter",
    "SELECT rowid FROM t": "PostgreSQL has none",
    "SELECT id AS theId FROM t": 'AS "theId" keeps it',
    'SELECT id FROM t WHERE name = "x"': "'x' works on both",
    "SELECT id FROM t WHERE name LIKE ?": "lower(x) LIKE lower(?)",
    "SELECT id FROM t LIMIT 1, 2": "LIMIT b OFFSET a",
    "SELECT id FROM t WHERE name IS ?": "IS [NOT] DISTINCT FROM",
}


@pytest.mark.parametrize("statement", WARNED)
def test_a_handlers_statement_that_the_stores_take_differently_is_told(statement: str) -> None:
    with closing(Catalog()) as catalog:
        draft(T, catalog)
        (warned,) = warnings_of(f"async def f(db):\n    await db.fetch(\n        {statement!r})\n", catalog)
    assert WARNED[statement] in warned.text
    assert warned.line == 3


def test_the_command_never_writes_over_a_file_unasked_and_fails_while_something_is_left(
    tmp_path: Path,
) -> None:
    project = tmp_path / "shop"
    project.mkdir()
    for name in ("contracts", "generated", "handlers"):
        (project / name).symlink_to(REPOSITORY / name)
    (project / "handlers").unlink()
    (project / "handlers").mkdir()
    base = project / "handlers" / "order.sql"
    base.write_text("CREATE TABLE IF NOT EXISTS o (id TEXT COLLATE NOCASE);\n")
    base.with_name("order.001.sql").write_text("ALTER TABLE o ADD COLUMN n INTEGER;\n")
    base.with_name("order.py").write_text('SQL = "SELECT ifnull(n, 0) FROM o"\n')

    def run(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(
            main, ["add", "store", "order", "postgres", "--project", str(project), *options]
        )
        return done.exit_code, done.output

    code, said = run("--check")
    assert (code, "handlers/order.postgres.sql: is missing" in said) == (1, True)
    assert not base.with_name("order.postgres.sql").exists()
    code, said = run()
    assert code == 1
    assert "handlers/order.postgres.001.sql: new, from handlers/order.001.sql" in said
    assert "handlers/order.postgres.sql:2: COLLATE NOCASE" in said
    assert "handlers/order.py:1: warning: ifnull()" in said
    mine = "CREATE TABLE IF NOT EXISTS o (id text);\n"
    base.with_name("order.postgres.sql").write_text(mine)
    code, said = run()
    assert (code, "stays as it is" in said) == (0, True)
    assert base.with_name("order.postgres.sql").read_text() == mine
    code, said = run("--overwrite")
    assert (code, "written over" in said) == (1, True)
    assert run("--check", "--overwrite")[0] == 2
    code, said = CliRunner().invoke(main, ["add", "store", "ordr", "postgres", "--project", str(project)]), ""
    assert (code.exit_code, 'did you mean "order"?' in code.output) == (2, True)
