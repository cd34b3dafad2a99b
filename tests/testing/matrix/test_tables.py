"""What changed in a service's tables, row by row."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from sagagen.testing.tables import Column, difference, named, tables_of, volatile_columns


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            "CREATE TABLE payments (order_id TEXT PRIMARY KEY, payment_id TEXT, amount INTEGER, status TEXT) STRICT;"
            "CREATE TABLE journal (what TEXT, at REAL);"
            "CREATE TABLE sagagen_barrier (saga TEXT);"
            "INSERT INTO payments VALUES ('o-1', 'p-1', 700, 'CHARGED');"
        )
        yield connection


def changes(db: sqlite3.Connection, script: str, *volatile: str) -> list[str]:
    before = tables_of(db)
    db.executescript(script)
    columns = frozenset(Column("pay", *column.split(".")) for column in volatile)
    return [str(change) for change in difference("pay", before, tables_of(db), columns)]


def test_a_row_is_found_by_its_key(db: sqlite3.Connection) -> None:
    assert changes(db, "UPDATE payments SET status = 'REFUNDED', amount = 0") == [
        "pay.payments ~ order_id=o-1: amount 700 -> 0, status CHARGED -> REFUNDED"
    ]


def test_rows_that_come_and_go(db: sqlite3.Connection) -> None:
    script = "DELETE FROM payments; INSERT INTO payments VALUES ('o-2', NULL, 5, 'a b')"
    assert changes(db, script) == [
        "pay.payments - order_id=o-1 payment_id=p-1 amount=700 status=CHARGED",
        "pay.payments + order_id=o-2 payment_id=NULL amount=5 status='a b'",
    ]


def test_a_table_without_a_key_may_hold_a_row_twice(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO journal VALUES ('charge', 1.5)")
    assert changes(db, "INSERT INTO journal VALUES ('charge', 1.5)") == ["pay.journal + what=charge at=1.5"]


def test_the_runtime_s_own_tables_do_not_count(db: sqlite3.Connection) -> None:
    assert changes(db, "INSERT INTO sagagen_barrier VALUES ('s')") == []


def test_what_differs_in_each_run_is_hidden(db: sqlite3.Connection) -> None:
    assert changes(db, "UPDATE payments SET payment_id = 'p-9'", "payments.payment_id") == []
    insert = "INSERT INTO payments VALUES ('o-2', 'p-7', 5, 'CHARGED')"
    assert changes(db, insert, "payments.payment_id") == [
        "pay.payments + order_id=o-2 payment_id=* amount=5 status=CHARGED"
    ]


def test_columns_that_differ_in_each_run_are_found(db: sqlite3.Connection) -> None:
    before = tables_of(db)
    found: list[object] = []
    for payment in ("p-3", "p-4"):
        db.execute("INSERT INTO payments VALUES ('o-2', ?, 5, 'CHARGED')", (payment,))
        found.append(difference("pay", before, tables_of(db)))
        db.execute("DELETE FROM payments WHERE order_id = 'o-2'")
    first, second = found
    assert volatile_columns(first, second) == {Column("pay", "payments", "payment_id")}  # type: ignore[arg-type]


def test_ids_of_sagas_get_names(db: sqlite3.Connection) -> None:
    before = tables_of(db)
    db.execute("INSERT INTO journal VALUES ('charged for 5c0e2f9e', 1.0)")
    (change,) = named(difference("pay", before, tables_of(db)), {"5c0e2f9e": "<saga>"})
    assert str(change) == "pay.journal + what='charged for <saga>' at=1.0"
    assert change.holds("<saga>")
