"""A service's barrier on PostgreSQL, encrypted at rest: by replicas with keys, with older ones, and with none."""

import hashlib
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import postgres_server
import pytest
from small_mesh import saga_call
from store_conformance import TABLES, Shop, effect, reason

from sagagen.cli.postgres_services import with_connection
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.postgres.connection import connect
from sagagen.runtime.postgres.server import PostgresError
from sagagen.runtime.service.postgres_store.keys import check_erasable, erase, rotate
from sagagen.runtime.service.postgres_store.preparing import PostgresScripts
from sagagen.runtime.service.postgres_store.store import PostgresStore
from sagagen.runtime.vault.keys import KeyIsAnother, KeysMissing, KeysUnset
from sagagen.runtime.vault.rotation import StillInUse
from sagagen.runtime.vault.vault import FileKeys

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")

OLD, NEW = ("k1", b"1" * 32), ("k2", b"2" * 32)
COLUMNS = "saga, direction, state, sealed, kek, octet_length(wrapped)"


@pytest.fixture
def url(tmp_path: Path) -> str:
    name = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]
    return postgres_server.shared_server().database(f"sealed_{name}")


def store(url: str, *keys: tuple[str, bytes]) -> AbstractAsyncContextManager[PostgresStore]:
    scripts = PostgresScripts(Path("lab.postgres.sql"), TABLES, {})
    return PostgresStore.open("lab", url, scripts, SystemClock(), keys=FileKeys([*keys]) if keys else None)


def rows(url: str, columns: str = COLUMNS) -> list[str]:
    server, database = postgres_server.shared_server(), url.rpartition("/")[2]
    query = f"SELECT {columns} FROM sagagen_lab.barrier WHERE state <> 'OWNER' ORDER BY saga, direction"
    return server.sql(query, database).splitlines()


async def test_what_is_recorded_is_sealed_and_read_by_each_replica_that_has_the_key(url: str):
    async with store(url) as clear:
        await Shop(clear).act("before")
        async with store(url, OLD) as one, store(url, OLD) as two:
            assert reason(await Shop(one).act("a")) == "OK"
            assert reason(await Shop(one).undo("empty")) == "OK"
            said = [reason(await Shop(two).act(name)) for name in ("a", "before", "empty")]
            assert said == ["REPLAY", "REPLAY", "STEP_COMPENSATED"]
            other = await Shop(two).write(saga_call(saga="a"), effect("twice"), b"another request")
            assert reason(other) == "PAYLOAD_MISMATCH"
            # A replica from before there were keys can't tell: another one has to be asked.
            assert reason(await Shop(clear).act("a", effect("twice"))) == "UNAVAILABLE"
            assert await Shop(clear).effects() == ["a", "before"]
    found = rows(url)
    assert found[0].startswith("a|action|DONE|t|k1|")
    assert found[1] == "before|action|DONE|f||"
    assert found[2] == "empty|action|EMPTY|||"
    assert found[3] == "empty|compensation|EMPTY|t||"


async def test_a_start_without_its_key_is_refused(url: str):
    async with store(url, OLD):
        pass
    for keys, refusal in (((), KeysUnset), ((NEW,), KeysMissing), ((("k1", b"x" * 32),), KeyIsAnother)):
        with pytest.raises(refusal, match="the database of service lab is encrypted"):
            async with store(url, *keys):
                pass


async def test_a_key_is_changed_beside_replicas_that_run(url: str):
    async with store(url, OLD) as before:
        await Shop(before).act("a")
        connection = await connect(url, "a command")
        with pytest.raises(StillInUse, match="start each replica again"):
            await rotate(connection, "lab", FileKeys([NEW, OLD]))
        async with store(url, NEW, OLD) as after:
            await Shop(after).act("b")
            assert reason(await Shop(before).act("b", effect("twice"))) == "UNAVAILABLE", "it lacks the key"
            done = await rotate(connection, "lab", FileKeys([NEW, OLD]))
            assert done is not None
            assert (done.rewrapped, done.dropped) == (2, ("k1",))
            assert reason(await Shop(after).act("a")) == "REPLAY"
        connection.terminate()
    async with store(url, NEW) as later:
        said = [reason(await Shop(later).act(name, effect("twice"))) for name in ("a", "b")]
        assert said == ["REPLAY", "REPLAY"]
        assert await Shop(later).effects() == ["a", "b"]


async def test_what_is_forgotten_has_no_key_and_no_second_effect(url: str):
    async with store(url) as clear:
        await Shop(clear).act("before")
    connection = await connect(url, "a command")
    with pytest.raises(PostgresError, match="service lab is not encrypted, and has rows of these sagas"):
        await check_erasable(connection, "lab", ["before"])
    async with store(url, OLD) as opened:
        shop = Shop(opened)
        for name in ("a", "kept"):
            await shop.act(name)
        await erase(connection, "lab", ["a", "before", "unknown"])
        await erase(connection, "lab", ["a"])
        said = [reason(await shop.act(name, effect("twice"))) for name in ("a", "before", "kept")]
        assert said == ["DATA_LOSS", "DATA_LOSS", "REPLAY"]
        assert await shop.effects() == ["a", "before", "kept"]
    connection.terminate()
    assert rows(url, "saga, wrapped, kek")[0] == "a|\\x00|"


def test_a_command_names_the_service_whose_database_is_away():
    with pytest.raises(Exception, match=r"the database of service lab: .* give the same command again"):
        with_connection(
            "lab", "postgresql://u:secret@127.0.0.1:1/lab", partial(erase, service="lab", saga_ids=[])
        )
