"""What keeps a service from starting on PostgreSQL: each with its reason and its way out, never with a password."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import cast

import postgres_server
import pytest
from postgres_replica import Sent
from postgres_server import PostgresServer
from store_conformance import TABLES, Shop, effect, reason

from sagagen.runtime.addresses import PostgresAddress
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.postgres.connection import PgConnection
from sagagen.runtime.postgres.server import check_server
from sagagen.runtime.service.call import Db
from sagagen.runtime.service.postgres_store.preparing import PostgresError, PostgresScripts
from sagagen.runtime.service.postgres_store.store import PostgresStore
from sagagen.runtime.startup import SettingsError

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")

SECRET = "hunter2hunter2"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """With a user who has to show a password, one who may do little, and a database that forgets."""
    with PostgresServer() as server:
        access = server.data / "pg_hba.conf"
        access.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + access.read_text())
        server.sql("SELECT pg_reload_conf()")
        for text in (
            "CREATE ROLE guarded LOGIN PASSWORD 'right'",
            "CREATE ROLE poor LOGIN",
            "CREATE ROLE tableless LOGIN",
            "CREATE DATABASE lab",
            "CREATE DATABASE lazy",
            "ALTER DATABASE lazy SET synchronous_commit = off",
            "GRANT CREATE ON DATABASE lab TO tableless",
        ):
            server.sql(text)
        server.sql("REVOKE ALL ON SCHEMA public FROM PUBLIC", "lab")
        yield server


def store(url: str, *changes: Path) -> AbstractAsyncContextManager[PostgresStore]:
    scripts = PostgresScripts(Path("handlers/lab.postgres.sql"), TABLES, dict(enumerate(changes, 1)))
    return PostgresStore.open("lab", url, scripts, SystemClock())


CASES = {
    "no password": ("guarded@HERE/lab", "password authentication failed .* SAGAGEN_LAB_DATABASE_URL_FILE"),
    "another password": (
        f"guarded:{SECRET}@HERE/lab",
        "password authentication failed .* SAGAGEN_LAB_DATABASE_URL_FILE",
    ),
    "no such user": ("nobody@HERE/lab", 'role "nobody" does not exist; user and password are those of'),
    "no such database": ("postgres@HERE/missing", '"missing" does not exist; make the database'),
    "nobody listens": (
        f"postgres:{SECRET}@127.0.0.1:1/lab",
        "is its address the one in SAGAGEN_LAB_DATABASE_URL",
    ),
    "no such host": (f"postgres:{SECRET}@nowhere.invalid:5432/lab", "is its address the one in"),
    "no URL": (f"postgres:{SECRET}@127.0.0.1:port/lab", "SAGAGEN_LAB_DATABASE_URL is not well formed"),
    "no right to make a schema": ("poor@HERE/lab", "GRANT CREATE ON DATABASE"),
    "no right to make tables": (
        "tableless@HERE/lab",
        r"lab\.postgres\.sql: .* nothing of it was applied: .*CREATE ON SCHEMA",
    ),
    "commits that are not waited for": ("postgres@HERE/lazy", "`synchronous_commit` is off"),
}


@pytest.mark.parametrize("case", CASES)
async def test_what_keeps_a_service_from_starting_is_named_without_its_password(
    case: str, server: PostgresServer
):
    url, said = CASES[case]
    with pytest.raises(PostgresError, match=said) as refused:
        async with store(f"postgresql://{url.replace('HERE', f'127.0.0.1:{server.port}')}"):
            pass
    assert SECRET not in str(refused.value)


async def test_the_right_password_starts_it(server: PostgresServer):
    server.sql("CREATE DATABASE guarded OWNER guarded")
    async with store(f"postgresql://guarded:right@127.0.0.1:{server.port}/guarded") as opened:
        assert await opened.check() == ""


class OldServer:
    async def fetchval(self, query: str) -> str:
        return "130014"


async def test_a_server_of_an_old_version_is_refused():
    with pytest.raises(PostgresError, match="service lab: PostgreSQL 13 is too old; 14 or later will do"):
        await check_server(cast(PgConnection, OldServer()), "service lab")


@pytest.mark.parametrize("url", ["mysql://u:{}@h/d", "h:5432", "postgres+asyncpg://u:{}@h/d"])
def test_another_scheme_is_refused(url: str):
    with pytest.raises(
        SettingsError, match="SAGAGEN_LAB_DATABASE_URL is no URL of PostgreSQL; write postgresql://"
    ) as e:
        PostgresAddress.read({"SAGAGEN_LAB_DATABASE_URL": url.format(SECRET)}, "lab")
    assert SECRET not in str(e.value)


# a change of the tables, while replicas of before and after it run


async def test_old_and_new_replicas_serve_side_by_side_while_tables_change(tmp_path: Path):
    """The old one goes on, the new ones apply the change once, and nobody of before starts any more."""
    url = postgres_server.shared_server().database(f"rolling_{abs(hash(str(tmp_path))):x}")
    change = tmp_path / "lab.postgres.001.sql"
    change.write_text(
        "ALTER TABLE effects ADD COLUMN note text DEFAULT '-'; INSERT INTO effects (name) VALUES ('changed');"
    )

    async def all_of_it(db: Db) -> None:
        """A statement that is prepared, and whose columns change."""
        await db.fetch("SELECT * FROM effects")

    async with AsyncExitStack() as stack:
        old = Shop(await stack.enter_async_context(store(url)))
        assert reason(await old.act("a", effect("a"))) == "OK"
        assert reason(await old.act("before", all_of_it)) == "OK"
        one, two, written = await asyncio.gather(
            stack.enter_async_context(store(url, change)),
            stack.enter_async_context(store(url, change)),
            _writing(old, 20),
        )
        assert reason(await old.act("after", all_of_it)) == "OK"
        for name, shop in {"b": Shop(one), "c": old, "d": Shop(two)}.items():
            assert reason(await shop.act(name, effect(name))) == "OK"
        for shop in (old, Shop(one), Shop(two)):
            assert reason(await shop.act("b", effect("twice"))) == "REPLAY"
        with pytest.raises(
            PostgresError,
            match=r"change 1 of its tables is applied, and this release has changes up to 0: start the",
        ):
            async with store(url):
                pass
        assert await old.effects() == sorted(["a", "b", "c", "changed", "d", *written])


async def _writing(shop: Shop, count: int) -> list[str]:
    calls = [Sent(f"w{number}", "put", "run-1", Direction.ACTION) for number in range(count)]
    assert {await call.until_settled(shop) for call in calls} <= {"OK", "REPLAY"}
    return [call.effect for call in calls]
