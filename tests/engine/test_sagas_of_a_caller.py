"""A caller's list looks at a bounded part of the log, however many sagas there are."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from sagagen.runtime.identity import ANONYMOUS
from sagagen.runtime.log.schema import MIGRATIONS
from sagagen.runtime.log.search import LOOKED_AT, SELECT_OF_CALLER, find_of_caller
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.search import CallerQuery

COUNT = 2 * LOOKED_AT + 10
INSERT = """
INSERT INTO saga (saga_id, name, version, digest, run, caller, idempotency_key, fingerprint, trace_id, trace_flags,
                  trace_state, started_ms, updated_ms, status)
VALUES (?, 's', 1, '', '', ?, '', x'', '', 0, '', 0, 0, ?)
"""
STUCK = CallerQuery("ann", frozenset({SagaStatus.STUCK}))


@pytest.fixture
def log() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        for script in MIGRATIONS.values():
            connection.executescript(script)
        connection.executemany(
            INSERT, ((f"ann-{n}", "ann", "COMPLETED" if n else "STUCK") for n in range(COUNT))
        )
        connection.executemany(INSERT, ((f"-{n}", ANONYMOUS, "STUCK") for n in range(10)))
        yield connection


def test_what_is_rare_comes_on_a_later_page(log: sqlite3.Connection) -> None:
    pages = [find_of_caller(log, STUCK)]
    while pages[-1].last:
        pages.append(find_of_caller(log, CallerQuery("ann", STUCK.statuses, after=pages[-1].last)))
    assert [[saga.saga_id for saga in page.sagas] for page in pages] == [[], [], ["ann-0"]]


def test_all_are_found_once(log: sqlite3.Connection) -> None:
    found, after = list[str](), ""
    while page := find_of_caller(log, CallerQuery("ann", after=after, limit=100)):
        found += [saga.saga_id for saga in page.sagas]
        if not (after := page.last):
            break
    assert found == [f"ann-{n}" for n in reversed(range(COUNT))]


def test_it_is_found_by_the_index(log: sqlite3.Connection) -> None:
    plan = log.execute(f"EXPLAIN QUERY PLAN {SELECT_OF_CALLER}", ("ann", COUNT, 10)).fetchall()
    assert [row["detail"] for row in plan] == [
        "SEARCH saga USING INDEX saga_of_caller (caller=? AND number<?)"
    ]


def test_of_whom_nobody_knows_none_is_listed(log: sqlite3.Connection) -> None:
    assert find_of_caller(log, CallerQuery(ANONYMOUS)).sagas == []
