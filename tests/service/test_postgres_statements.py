"""How a handler's SQL becomes PostgreSQL's, and which statements are not a handler's."""

import pytest

from sagagen.runtime.service.call import StatementNotAllowed
from sagagen.runtime.service.postgres_store.statements import statement_of


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("SELECT ?, ?", "SELECT $1, $2"),
        ("SELECT ?1, ?2, ?1", "SELECT $1, $2, $1"),
        ("SELECT $1, $2", "SELECT $1, $2"),
        ("SELECT ?, ?, ?6, ?6, ?", "SELECT $1, $2, $6, $6, $7"),
        ("SELECT '?', \"a?\", ? -- ?\n, ?", "SELECT '?', \"a?\", $1  \n, $2"),
        ("SELECT /* ? /* ? */ ? */ ?", "SELECT   $1"),
        ("SELECT $$ ? $$, $tag$ $1 ? $$ $tag$, ?", "SELECT $$ ? $$, $tag$ $1 ? $$ $tag$, $1"),
        (r"SELECT E'it\'s ?', ?", r"SELECT E'it\'s ?', $1"),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', $1"),
        ("SELECT a::text, ?::bigint", "SELECT a::text, $1::bigint"),
        ("SELECT data ?? 'key', ?", "SELECT data ? 'key', $1"),
        ("  -- why\n  SELECT 1 ; -- done\n", "   \n  SELECT 1   \n"),
        ("WITH x AS (SELECT ?) SELECT * FROM x", "WITH x AS (SELECT $1) SELECT * FROM x"),
    ],
)
def test_placeholders(written: str, sent: str):
    assert statement_of(written).sql == sent


def test_names_are_numbered_in_the_order_of_their_first_use():
    statement = statement_of("UPDATE t SET a = :a, b = :b WHERE a = :a AND c::text = ':b'")
    assert statement.sql == "UPDATE t SET a = $1, b = $2 WHERE a = $1 AND c::text = ':b'"
    assert list(statement.arguments({"b": 2, "a": 1})) == [1, 2]


@pytest.mark.parametrize(
    "sql",
    [
        *("BEGIN", "commit", "/* x */ ROLLBACK", "SAVEPOINT s", "SET search_path = x", "RESET ALL", "LOCK t"),
        *("COPY t FROM stdin", "CREATE TABLE t (a int)", "DROP TABLE t", "DO $$ BEGIN END $$", "CALL p()"),
        *("SELECT 1; SELECT 2", "SELECT 1; COMMIT", "SELECT 1;;"),
        *("SELECT * FROM sagagen_order.barrier", 'DELETE FROM "sagagen_order".barrier'),
        r"""SELECT * FROM U&"sagagen\005Forder".barrier""",
        *("SELECT set_config('role', 'postgres', false)", "SELECT pg_advisory_lock(1)"),
    ],
)
def test_what_is_not_a_handlers(sql: str):
    with pytest.raises(StatementNotAllowed, match=r"."):
        statement_of(sql)


@pytest.mark.parametrize("opened", ["'", '"', "$$", "E'", "$tag$"])
def test_what_has_no_end_is_sent_as_it_is_for_the_server_to_refuse(opened: str):
    text = f"SELECT {opened}" + "a" * 5000
    assert statement_of(text).sql == text
