"""A saga log in PostgreSQL that is encrypted: what is found in its database, who reads it, and how it forgets."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import postgres_server
import pytest
from click.testing import CliRunner
from encrypted_log import CANARY, DIGEST, ENDED, K1, K2, KEYS, ROWS, accepted, begin, run

from sagagen.cli import main
from sagagen.runtime.audit.entry import AuditEntry, AuditQuery, Result
from sagagen.runtime.engine.letters import answer
from sagagen.runtime.engine.port import Delivered
from sagagen.runtime.postgres.connection import PgConnection, connect
from sagagen.runtime.postgres_log import keys as log_keys
from sagagen.runtime.postgres_log.errors import SagaUnreadable
from sagagen.runtime.postgres_log.log import PostgresLog
from sagagen.runtime.saga.events import Resumed, SagaStatus
from sagagen.runtime.saga.search import SagaQuery, UnreadableSaga
from sagagen.runtime.saga.subjects import StillOpen
from sagagen.runtime.vault.keys import KeyIsAnother, KeysMissing, KeysUnset
from sagagen.runtime.vault.rotation import StillInUse
from sagagen.runtime.vault.vault import FileKeys

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")

ALL = SagaQuery(statuses=tuple(SagaStatus))
NO_KEYS_FILE = "this process was started without keys"


@pytest.fixture
def url(tmp_path: Path) -> str:
    name = sha256(str(tmp_path).encode()).hexdigest()[:16]
    return postgres_server.shared_server().database(f"sealed_log_{name}")


@pytest.fixture
async def connection(url: str) -> AsyncIterator[PgConnection]:
    made = await connect(url, "a test")
    yield made
    made.terminate()


@asynccontextmanager
async def opened(url: str, *keys: tuple[str, bytes], lease_s: float = 60.0) -> AsyncGenerator[PostgresLog]:
    given = FileKeys([*keys]) if keys else None
    async with PostgresLog.open(url, "test", keys=given, lease_s=lease_s) as log:
        yield log


def forgetting() -> AuditEntry:
    return AuditEntry(7, "ann", "forget", Result.DONE)


def holds(url: str, *found: bytes) -> set[str]:
    """Tables of the log's schema in whose files, and parts of the write-ahead log in which, any of these bytes are."""
    server, database = postgres_server.shared_server(), url.rpartition("/")[2]
    server.sql("CHECKPOINT", database)
    query = (
        "SELECT relname || ' ' || pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't') AND "
        "relfilenode <> 0 AND (relnamespace = 'sagagen_engine'::regnamespace OR relkind = 't')"
    )
    files = dict(line.split() for line in server.sql(query, database).splitlines())
    paths = {name: server.data / path for name, path in files.items()}
    paths |= {path.name: path for path in (server.data / "pg_wal").iterdir() if path.is_file()}
    return {name for name, path in paths.items() if any(each in path.read_bytes() for each in found)}


async def test_no_table_has_what_a_customer_said(url: str, connection: PgConnection) -> None:
    mark = sha256(url.encode()).hexdigest()[:12]  # this test's own: the write-ahead log is all tests'
    canary = f"{CANARY}{mark}".encode()
    row = replace(accepted("saga-1"), input=canary, fingerprint=canary)
    letter = answer(Delivered(True, "t", 1, 1, canary))
    async with opened(url, K1) as log:
        ref = await log.accept(row, (), "cust_1")
        assert ref
        await log.append(ref, [*ROWS, replace(ROWS[0], response=canary)], SagaStatus.COMPENSATING)
        number = await log.post("saga-1", letter, 60.0)
        assert [each.body for each in await log.letters()] == [letter]
        assert number is not None
        await log.reply(number, letter)
        assert await log.replies([number]) == {number: letter}
        assert holds(url, canary, letter, K1[1]) == set()
        found, head = await log.find("saga-1"), await log.head("saga-1")
    assert found
    assert found.rows == (row, *ROWS, replace(ROWS[0], response=canary))
    assert head
    assert head.fingerprint == canary
    assert head.result == getattr(ROWS[0], "result", None)
    # The same without keys: this test can fail.
    clear = postgres_server.shared_server().database(f"clear_log_{mark}")
    async with opened(clear) as log:
        await log.accept(row, (), "cust_1")
        await log.post("saga-1", letter, 60.0)
        tables = {name for name in holds(clear, canary, letter) if not name.startswith("0")}
    assert tables == {"saga", "batch", "mail"}


ALTERED = {
    "the rows of another saga": "UPDATE sagagen_engine.batch SET rows = b.rows, sealed = b.sealed, "
    "digests = b.digests FROM sagagen_engine.batch b WHERE batch.saga = 1 AND batch.part = 1 AND b.saga = 2 "
    "AND b.part = 1",
    "a batch in another's place": "UPDATE sagagen_engine.batch SET part = 3 - part WHERE saga = 1",
    "two batches that change places": "UPDATE sagagen_engine.batch a SET rows = b.rows, sealed = b.sealed, "
    "digests = b.digests, part = b.part FROM sagagen_engine.batch b WHERE a.saga = 1 AND b.saga = 1 "
    "AND a.part <> b.part",
    "what is in the clear": "UPDATE sagagen_engine.batch SET rows = overlay(rows placing convert_to('t', 'UTF8') "
    "from position(convert_to('two', 'UTF8') in rows) + 1) WHERE saga = 1 AND part = 2",
    "one bit": "UPDATE sagagen_engine.batch SET sealed = set_bit(sealed, 200, 1 - get_bit(sealed, 200)) WHERE saga = 1",
    "cut off": "UPDATE sagagen_engine.batch SET sealed = substr(sealed, 1, 5) WHERE saga = 1",
    "no secrets": "UPDATE sagagen_engine.batch SET sealed = NULL WHERE saga = 1",
    "the key of another saga": "UPDATE sagagen_engine.saga SET wrapped = s.wrapped FROM sagagen_engine.saga s "
    "WHERE saga.number = 1 AND s.number = 2",
    "no key": "UPDATE sagagen_engine.saga SET wrapped = NULL WHERE number = 1",
}


async def test_what_was_altered_or_moved_is_not_read_and_other_sagas_are(
    url: str, connection: PgConnection
) -> None:
    async with opened(url, K1) as log:
        for saga_id in ("saga-1", "saga-2"):
            await begin(log, saga_id)
        for what, statement in ALTERED.items():
            await connection.execute("CREATE TABLE kept AS SELECT * FROM sagagen_engine.batch")
            await connection.execute("CREATE TABLE kept_saga AS SELECT * FROM sagagen_engine.saga")
            assert await connection.execute(statement) != "UPDATE 0", what
            with pytest.raises(SagaUnreadable, match="saga-1"):
                await log.find("saga-1")
            shown = {
                type(each).__name__ for each in await log.search(ALL) if isinstance(each, UnreadableSaga)
            }
            assert shown == {"UnreadableSaga"}, what
            assert await log.find("saga-2"), what
            await connection.execute("DELETE FROM sagagen_engine.batch")
            await connection.execute(
                "INSERT INTO sagagen_engine.batch OVERRIDING SYSTEM VALUE SELECT * FROM kept"
            )
            await connection.execute(
                "UPDATE sagagen_engine.saga SET wrapped = k.wrapped FROM kept_saga k WHERE k.number = saga.number"
            )
            await connection.execute("DROP TABLE kept, kept_saga")
        assert await log.find("saga-1")
        changed = "UPDATE sagagen_engine.saga SET fingerprint = s.fingerprint FROM sagagen_engine.saga s "
        await connection.execute(changed + "WHERE saga.number = 1 AND s.number = 2")
        with pytest.raises(SagaUnreadable, match="saga-1"):
            await log.head("saga-1")


async def test_a_log_is_opened_by_its_keys_alone_and_shown_beside_without_them(url: str) -> None:
    async with opened(url, K1) as log:
        await run(log, "saga-1")
        async with PostgresLog.beside(url) as hidden, PostgresLog.beside(url, KEYS) as shown:
            found = await hidden.find("saga-1")
            assert found
            assert found.hidden.startswith("it is encrypted")
            assert CANARY not in repr(found.rows)
            assert [type(row) for row in found.rows] == [type(row) for row in (accepted("x"), *ROWS, ENDED)]
            head = await hidden.head("saga-1")
            assert head
            assert (head.fingerprint, head.result) == (b"", None)
            with pytest.raises(KeysUnset, match="encrypted by the key k1"):
                await hidden.post("saga-1", b"{}", 1.0)
            whole = await shown.find("saga-1")
            assert whole
            assert (whole.rows, whole.hidden) == ((accepted("saga-1"), *ROWS, ENDED), "")
    for keys, refusal in (((), KeysUnset), ((K2,), KeysMissing), ((("k1", b"x" * 32),), KeyIsAnother)):
        with pytest.raises(refusal, match="the saga log"):
            async with opened(url, *keys):
                pass


async def test_sagas_from_before_there_were_keys_are_read_and_go_on_encrypted(
    url: str, connection: PgConnection
) -> None:
    async with opened(url) as clear:
        await begin(clear, "before")
        async with opened(url, K1) as log:
            found = await log.find("before")
            assert found
            assert found.rows == (accepted("before"), *ROWS)
            await begin(log, "new")
            with pytest.raises(SagaUnreadable, match=NO_KEYS_FILE):
                await clear.find("new")
    async with opened(url, K1) as log:
        found = await log.find("before")
        assert found
        await log.append_later(found.ref, [Resumed(at_ms=11, span_id="0" * 16)])
        await log.append(found.ref, [ROWS[0]], SagaStatus.COMPENSATING)
        again = await log.find("before")
        assert again
        assert again.rows == (accepted("before"), *ROWS, Resumed(at_ms=11, span_id="0" * 16), ROWS[0])
        await log.append(again.ref, [ENDED], SagaStatus.COMPLETED)
        ended = await log.find("before")
        assert ended
        assert ended.rows[-1] == ENDED
    sealed = "SELECT count(*) FROM sagagen_engine.batch WHERE sealed IS NOT NULL AND saga = 1"
    assert await connection.fetchval(sealed) == 3


async def test_a_key_is_changed_beside_gateways_that_run(url: str, connection: PgConnection) -> None:
    new_first = FileKeys([K2, K1])
    assert await log_keys.rotate(connection, new_first) is None
    async with opened(url, K1) as before:
        await begin(before, "one")
        await begin(before, "of a subject", "cust_1")
        with pytest.raises(StillInUse, match="was not started with the key k2 as the first one"):
            await log_keys.rotate(connection, new_first)
        async with opened(url, K2, K1) as after:
            await begin(after, "two")
            with pytest.raises(SagaUnreadable, match="k2"):
                await before.find("two")
            with pytest.raises(StillInUse):
                await log_keys.rotate(connection, new_first)
            with pytest.raises(StillInUse, match="still encrypts by k1"):
                await log_keys._drop(connection, "k2", ["k1"])  # pyright: ignore[reportPrivateUsage]
    async with opened(url, K2, K1) as after:
        done = await log_keys.rotate(connection, new_first)
        assert done
        assert (done.rewrapped, done.dropped) == (3, ("k1",))
        for saga_id in ("one", "two", "of a subject"):
            found = await after.find(saga_id)
            assert found
            assert found.rows == (accepted(saga_id), *ROWS)
    async with opened(url, K2) as later:
        assert await later.find("one")
        assert (await log_keys.rotate(connection, FileKeys([K2]))) == log_keys.Rotated(0, ())


async def test_what_is_forgotten_can_not_be_read_and_what_is_of_others_can(
    url: str, connection: PgConnection
) -> None:
    async with opened(url, K1) as log:
        ref = await log.accept(accepted("a"), [("mail", "ann@example")], "cust_1")
        assert ref
        with pytest.raises(StillOpen, match="1 of its sagas is open, and nothing was erased: a"):
            await log_keys.forget_subject(connection, "cust_1", KEYS, forgetting())
        await log.append(ref, [*ROWS, ENDED], SagaStatus.COMPLETED)
        await run(log, "b", "cust_2")
        (ofs,) = await log_keys.sagas_of(connection, "cust_1", KEYS)
        assert ofs.saga_id == "a"
        keys = "SELECT encode(wrapped, 'hex') FROM sagagen_engine.subject_key ORDER BY number LIMIT 1"
        wrapped = bytes.fromhex(await connection.fetchval(keys))
        assert "subject_key" in holds(url, wrapped)
        for _ in range(2):
            await log_keys.forget_subject(connection, "cust_1", KEYS, forgetting())
        assert {name for name in holds(url, wrapped, b"ann@example") if not name.startswith("0")} == set()
        gone, kept, head = await log.find("a"), await log.find("b"), await log.head("a")
        assert gone
        assert gone.hidden.startswith("its data were erased")
        assert CANARY not in repr(gone.rows)
        assert len(gone.rows) == len(ROWS) + 2
        assert kept
        assert kept.rows == (accepted("b"), *ROWS, ENDED)
        assert head
        assert (head.fingerprint, head.result, head.status) == (DIGEST, None, SagaStatus.COMPLETED)
        assert await log.accept(accepted("a"), (), "cust_1") is None, "the request is known"
        # The person comes back. What this gateway remembers of their key is out of date.
        await run(log, "c", "cust_1")
        back = await log.find("c")
        assert back
        assert back.rows == (accepted("c"), *ROWS, ENDED)
        assert sorted(each.saga_id for each in await log_keys.sagas_of(connection, "cust_1", KEYS)) == [
            "a",
            "c",
        ]
        assert [entry.did for entry in await log.audit.search(AuditQuery())] == ["forget", "forget"]
        while await log.purge("place", 10**15):
            pass
        await log.tidy()
        assert await connection.fetchval("SELECT count(*) FROM sagagen_engine.subject_key") == 0


def test_operators_forget_and_rotate_by_the_urls_of_the_environment(tmp_path: Path, url: str) -> None:
    async def one_that_has_ended(*keys: tuple[str, bytes]) -> None:
        async with opened(url, *keys) as log:
            await run(log, f"of-{len(keys)}", "cust_1")

    file = tmp_path / "keys"
    environment = {
        "SAGAGEN_ENGINE_URL": url,
        "SAGAGEN_DATA_DIR": str(tmp_path / "none"),
        "SAGAGEN_ENCRYPTION_KEYS_FILE": str(file),
    }

    def given(*keys: tuple[str, bytes]) -> None:
        file.write_text("".join(f"{name}:{b64encode(key).decode()}\n" for name, key in keys))

    def told(*words: str, expect: int = 0) -> str:
        done = CliRunner().invoke(main, words, env=environment)
        assert done.exit_code == expect, done.output
        return done.output

    given(K1)
    asyncio.run(one_that_has_ended())
    assert "is not encrypted" in told("forget", "cust_1", "--list", expect=1)
    assert "there is nothing to rotate" in told("keys", "rotate", expect=1)
    asyncio.run(one_that_has_ended(K1))
    assert told("forget", "cust_1", "--list") == "of-1\n"
    given(K2, K1)
    assert "the saga log on PostgreSQL: 2 keys are wrapped by k2 now\nk1 may go" in told("keys", "rotate")
    given(K2)
    assert "erased: the data of 1 saga." in told("forget", "cust_1", "--elsewhere")
    assert "has been erased" not in told("forget", "nobody", "--elsewhere")
