"""What handlers' SQL may rely on, on every store: the same statements, the same rows, the same errors."""

import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from store_conformance import STORES, Shop, StoreFactory, opened, reason

from sagagen.runtime import Db, IntegrityError
from sagagen.runtime.rpc.errors import Declined


@pytest.fixture(params=STORES.values(), ids=list(STORES))
def make(request: pytest.FixtureRequest) -> StoreFactory:
    return request.param


@pytest.fixture
async def shop(make: StoreFactory, tmp_path: Path) -> AsyncGenerator[Shop]:
    async with opened(make, tmp_path) as store:
        yield Shop(store)


async def test_placeholders_by_place_number_and_name(shop: Shop):
    async def body(db: Db) -> None:
        insert = "INSERT INTO effects VALUES "
        assert await db.execute(insert + "(?)", ("a",)) == 1
        assert await db.execute(insert + "(?1), (?1), (?2)", ("b", "c")) == 3
        assert await db.execute(insert + "($1)", ("d",)) == 1
        assert await db.execute(insert + "(:name)", {"name": "e"}) == 1
        assert await db.execute(insert + "('?$1:x')") == 1
        assert await db.executemany("DELETE FROM effects WHERE name = ?", [("b",), ("d",), ("none",)]) == 3
        rows = await db.fetch("SELECT name, ? AS n FROM effects WHERE name <> $2 ORDER BY 1", (None, "zz"))
        assert [(row["name"], row[1], len(row), list(row.keys())) for row in rows] == [
            (name, None, 2, ["name", "n"]) for name in ("?$1:x", "a", "c", "e")
        ]
        assert [row[0] for row in await db.fetch("UPDATE effects SET name = 'f' RETURNING name")] == ["f"] * 4

    assert reason(await shop.act("a", body)) == "OK"


async def test_integers_of_64_bits_and_nothing(shop: Shop):
    async def body(db: Db) -> None:
        assert (
            await db.execute("INSERT INTO numbers VALUES (?, ?), (?, ?)", (2**63 - 1, None, -(2**63), "x"))
            == 2
        )
        rows = await db.fetch("SELECT number, text FROM numbers ORDER BY number DESC")
        assert [(row["number"], row["text"]) for row in rows] == [(2**63 - 1, None), (-(2**63), "x")]

    assert reason(await shop.act("a", body)) == "OK"


async def test_a_broken_constraint_is_an_integrity_error(shop: Shop):
    async def twice(db: Db) -> None:
        await db.execute("INSERT INTO owners VALUES (1)")
        with pytest.raises(IntegrityError) as caught:
            await db.execute("INSERT INTO owners VALUES (1)")
        assert isinstance(caught.value, sqlite3.IntegrityError), "what handlers for SQLite catch"
        raise Declined("TWICE")

    result = await shop.act("a", twice)
    assert result.error is not None
    assert result.error.reason == "TWICE"
    assert result.error.is_refusal


async def test_an_attempt_that_fails_is_undone_by_itself(shop: Shop):
    async def body(db: Db) -> None:
        await db.execute("INSERT INTO owners VALUES (1)")
        for number in (2, 1, 3, 1):
            try:
                async with db.attempt():
                    await db.execute("INSERT INTO effects VALUES (?)", (f"tried {number}",))
                    async with db.attempt():
                        await db.execute("INSERT INTO owners VALUES (?)", (number,))
            except IntegrityError:
                await db.execute("INSERT INTO effects VALUES (?)", (f"failed {number}",))

    assert reason(await shop.act("a", body)) == "OK"
    assert await shop.effects() == ["failed 1", "failed 1", "tried 2", "tried 3"]


async def test_an_attempt_that_is_left_by_a_refusal_keeps_nothing(shop: Shop):
    async def body(db: Db) -> None:
        async with db.attempt():
            await db.execute("INSERT INTO effects VALUES ('a')")
            raise Declined("NO")

    assert reason(await shop.act("a", body)) == "NO"
    assert await shop.effects() == []
