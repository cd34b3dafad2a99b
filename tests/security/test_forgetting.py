"""A subject's data are gone once they are forgotten: from the log, from services' databases, and from every file."""

import asyncio
import base64
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from encrypted_log import (
    CANARY,
    DIGEST,
    ENDED,
    K1,
    KEYS,
    ROWS,
    SECRET,
    accepted,
    begin,
    change,
    files_with,
    run,
    values,
)
from grpclib.const import Status as Code
from small_mesh import saga_call

from sagagen.cli.forget import forget as command
from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.log.erasing import NotEncrypted, StillOpen, forget_subject, sagas_of, vault_of
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.result import Hidden
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled
from sagagen.runtime.service.barrier.rules import State
from sagagen.runtime.service.sqlite_store.erasing import ServiceNotEncrypted, erase
from sagagen.runtime.service.sqlite_store.sql_files import Scripts
from sagagen.runtime.service.sqlite_store.store import SqliteStore
from sagagen.runtime.service.store import Turn
from sagagen.runtime.startup import StartupError
from sagagen.runtime.vault import erasing
from sagagen.runtime.vault.keys import KeysUnset, KeyWrapper
from sagagen.runtime.vault.vault import FileKeys

NOW_MS = 1_800_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "saga-log.db"


def forget(path: Path, subject: str, keys: KeyWrapper | None = KEYS) -> list[str]:
    """As the command does it; ids of the subject's sagas."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        vault = vault_of(connection, path, keys)
        ids = [each.saga_id for each in sagas_of(connection, vault, subject)]
    forget_subject(path, vault, subject, AuditEntry(NOW_MS, "eve", "forget", Result.DONE))
    return ids


async def test_what_is_forgotten_can_not_be_read_and_what_is_of_others_can(path: Path) -> None:
    async with SagaLog.open(path, KEYS) as log:
        await run(log, "saga-1", "ann@example.org")
        await run(log, "saga-2", "ann@example.org")
        await run(log, "saga-3", "bob@example.org")
        await run(log, "saga-4")
        assert files_with(path.parent, b"ann@example.org", SECRET) == set(), "the tables name nobody"
        [ann, _] = values(path, "SELECT wrapped FROM subject_key ORDER BY number")
        assert files_with(path.parent, ann), "so that the next line can fail"
        # Beside the process that runs on it.
        assert forget(path, "ann@example.org") == ["saga-1", "saga-2"]
        assert files_with(path.parent, ann) == set()
        for saga_id in ("saga-1", "saga-2"):
            found, head = await log.find(saga_id), await log.head(saga_id)
            assert found
            assert found.hidden == "its data were erased by `sagagen forget`"
            assert (found.accepted.input, found.accepted.claims) == (b"", "")
            assert CANARY not in repr(found).replace(repr(DIGEST), "")
            assert head
            assert head.result == Hidden()
            assert head.fingerprint == accepted(saga_id).fingerprint, "a request that comes again is known"
        for saga_id in ("saga-3", "saga-4"):
            found = await log.find(saga_id)
            assert found
            assert found.rows == (accepted(saga_id), *ROWS, ENDED)
        # Whoever comes back gets another key.
        await run(log, "saga-5", "ann@example.org")
        found = await log.find("saga-5")
        assert found
        assert found.rows == (accepted("saga-5"), *ROWS, ENDED)
        assert forget(path, "ann@example.org") == ["saga-1", "saga-2", "saga-5"]
        assert forget(path, "ann@example.org") == ["saga-1", "saga-2", "saga-5"]
        assert forget(path, "carol@example.org") == []
        assert values(path, "SELECT DISTINCT by || ' ' || did FROM audit") == ["eve forget"]


async def test_values_that_sagas_are_found_by_go_too(path: Path) -> None:
    async with SagaLog.open(path, KEYS) as log:
        ref = await log.accept(accepted("saga-1"), [("mail", CANARY)], "ann")
        assert ref
        await log.append(ref, [ENDED], SagaStatus.COMPLETED)
        assert files_with(path.parent, SECRET), "they are in the clear: they are searched for"
        forget(path, "ann")
        assert files_with(path.parent, SECRET) == set()


async def test_nothing_is_erased_while_a_saga_is_open(path: Path) -> None:
    async with SagaLog.open(path, KEYS) as log:
        await run(log, "saga-1", "ann")
        ref = await begin(log, "saga-2", "ann")
        with pytest.raises(StillOpen, match="1 of its sagas is open, and nothing was erased: saga-2"):
            forget(path, "ann")
        found = await log.find("saga-1")
        assert found
        assert not found.hidden
        await log.append(ref, [ENDED], SagaStatus.COMPLETED)
        assert forget(path, "ann") == ["saga-1", "saga-2"]


async def test_what_is_not_encrypted_can_not_be_forgotten(path: Path) -> None:
    async with SagaLog.open(path) as log:
        await run(log, "saga-1", "ann")
    with pytest.raises(NotEncrypted, match=r"Set SAGAGEN_ENCRYPTION_KEYS_FILE .* `subject:` on its sagas"):
        forget(path, "ann")
    async with SagaLog.open(path, KEYS):
        pass
    with pytest.raises(KeysUnset):
        forget(path, "ann", None)
    assert forget(path, "ann") == []


async def test_forgetting_that_is_killed_before_the_write_ahead_log_is_emptied_is_done_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SagaLog.open(path, KEYS) as log:
        await run(log, "saga-1", "ann")
        [ann] = values(path, "SELECT wrapped FROM subject_key")
        with monkeypatch.context() as patch:
            patch.setattr(erasing, "empty_log", interrupted)
            with pytest.raises(KeyboardInterrupt):
                forget(path, "ann")
        assert files_with(path.parent, ann) == {"saga-log.db-wal"}
        forget(path, "ann")
        assert files_with(path.parent, ann) == set()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


async def test_a_copy_that_sqlite_has_left_in_the_file_goes_too(path: Path) -> None:
    """As where rows have moved between pages: here a page that is free has it."""
    async with SagaLog.open(path, KEYS) as log:
        await run(log, "saga-1", "ann")
    [ann] = values(path, "SELECT wrapped FROM subject_key")
    change(
        path,
        f"INSERT INTO saga_index VALUES (1, 'copy', x'{ann.hex()}')",
        "DELETE FROM saga_index WHERE saga = 1",
    )
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE was (copy BLOB)")
        connection.execute("INSERT INTO was VALUES (?)", (ann + bytes(20_000),))
        connection.execute("DROP TABLE was")
    forget(path, "ann")
    assert files_with(path.parent, ann) == set()


async def test_a_saga_that_is_purged_takes_its_subject_along(path: Path) -> None:
    async with SagaLog.open(path, KEYS) as log:
        await run(log, "saga-1", "ann")
        await run(log, "saga-2", "ann")
        await log.purge("place", NOW_MS, at_most=1)
        assert len(values(path, "SELECT number FROM subject_key")) == 1
        await log.purge("place", NOW_MS)
        assert values(path, "SELECT number FROM subject_key") == []


# -- a service's database ------------------------------------------------------------------------------------------

SCRIPTS = Scripts(Path("lab.sql"), "CREATE TABLE IF NOT EXISTS effects (name TEXT NOT NULL)", {}, {})


@asynccontextmanager
async def lab(folder: Path, keys: KeyWrapper | None = KEYS) -> AsyncGenerator[SqliteStore]:
    async with SqliteStore.open(folder / "lab.db", SCRIPTS, SystemClock(), keys=keys) as store:
        yield store


async def call(store: SqliteStore, saga: str, digest: bytes = b"digest-" + SECRET) -> CallResult:
    """An action with a canary in its response; repeated, it is answered from the barrier's row."""
    barred = BarredCall(saga_call(saga=saga), digest, None, "/lab")

    async def handle(turn: Turn) -> Handled:
        await turn.db.execute("INSERT INTO effects VALUES (?)", (saga,))
        response = SECRET + saga.encode()
        return Handled(CallResult(response), barred.record(State.DONE, response), keeps_effects=True)

    return await store.write(barred, handle)


async def test_a_service_repeats_what_it_answered_and_no_file_has_it(tmp_path: Path) -> None:
    async with lab(tmp_path) as store:
        assert (await call(store, "saga-1")).response == SECRET + b"saga-1"
        assert files_with(tmp_path, SECRET) == set()
    async with lab(tmp_path) as store:
        again = await call(store, "saga-1")
        assert (again.response, again.is_replay) == (SECRET + b"saga-1", True)
    assert values(tmp_path / "lab.db", "SELECT name FROM effects") == ["saga-1"]
    with pytest.raises(KeysUnset):
        async with lab(tmp_path, None):
            pass


MOVED = {
    "another saga's outcome": "outcome = (SELECT outcome FROM sagagen_barrier WHERE saga = 'saga-2')",
    "another saga's outcome with its key": "(outcome, wrapped) = (SELECT outcome, wrapped FROM sagagen_barrier"
    " WHERE saga = 'saga-2')",
    "another saga's digest": "digest = (SELECT digest FROM sagagen_barrier WHERE saga = 'saga-2')",
    "another state": "state = 'REFUSED'",
    "a bit": "outcome = CAST(substr(outcome, 1, 20) || x'00' || substr(outcome, 22) AS BLOB)",
}


@pytest.mark.parametrize("what", MOVED.values(), ids=list(MOVED))
async def test_a_services_row_that_was_altered_is_data_loss_and_others_are_answered(
    tmp_path: Path, what: str
) -> None:
    async with lab(tmp_path) as store:
        await call(store, "saga-1")
        await call(store, "saga-2")
    change(tmp_path / "lab.db", f"UPDATE sagagen_barrier SET {what} WHERE saga = 'saga-1'")
    async with lab(tmp_path) as store:
        lost, other = await call(store, "saga-1"), await call(store, "saga-2")
    assert lost.error
    assert lost.error.code is Code.DATA_LOSS
    assert SECRET not in lost.error.message.encode()
    assert other.response == SECRET + b"saga-2"


async def test_a_service_forgets_sagas_beside_the_process_that_runs(tmp_path: Path) -> None:
    # Those of rows from before stay in the clear.
    async with lab(tmp_path, None) as store:
        await call(store, "old", b"digest")
    async with lab(tmp_path) as store:
        assert (await call(store, "old", b"digest")).is_replay, "rows from before are read as they are"
        await call(store, "saga-1", b"digest")
        await call(store, "saga-2", b"digest")
        [key] = values(tmp_path / "lab.db", "SELECT wrapped FROM sagagen_barrier WHERE saga = 'saga-1'")
        assert files_with(tmp_path, key)
        assert files_with(tmp_path, SECRET), "of the row from before"
        erase(tmp_path / "lab.db", ["saga-1", "old", "unknown"])
        assert files_with(tmp_path, key, SECRET) == set()
        for saga in ("saga-1", "old"):
            error = (await call(store, saga, b"digest")).error
            assert error
            assert error.code is Code.DATA_LOSS
        assert (await call(store, "saga-2", b"digest")).response == SECRET + b"saga-2"
        erase(tmp_path / "lab.db", ["saga-1", "old", "unknown"])
    assert values(tmp_path / "lab.db", "SELECT name FROM effects ORDER BY 1") == ["old", "saga-1", "saga-2"]


async def test_a_service_without_keys_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    async with lab(tmp_path, None) as store:
        await call(store, "saga-1")
    with pytest.raises(ServiceNotEncrypted, match="nothing was erased"):
        erase(tmp_path / "lab.db", ["saga-1"])
    erase(tmp_path / "lab.db", ["saga-2"])
    async with lab(tmp_path, None) as store:
        assert (await call(store, "saga-1")).is_replay


async def test_earlier_versions_refuse_a_database_once_it_is_encrypted(tmp_path: Path) -> None:
    async with lab(tmp_path, None):
        pass
    version = "SELECT value FROM sagagen_meta WHERE name = 'barrier_version'"
    assert values(tmp_path / "lab.db", version) == [1]
    async with lab(tmp_path):
        pass
    assert values(tmp_path / "lab.db", version) == [2]
    with pytest.raises(StartupError, match="the key k1 is not given"):
        async with lab(tmp_path, FileKeys([("k9", b"9" * 32)])):
            pass


async def test_services_on_other_hosts_are_given_the_ids_of_the_sagas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text(f"k1:{base64.b64encode(K1[1]).decode()}\n")
    monkeypatch.setenv("SAGAGEN_ENCRYPTION_KEYS_FILE", str(tmp_path / "keys"))
    log, service = tmp_path / "gateway" / "saga-log.db", tmp_path / "service"
    async with SagaLog.open(log, KEYS) as opened:
        await run(opened, "saga-1", "ann")
    service.mkdir()
    async with lab(service) as store:
        await call(store, "saga-1")

    async def said(*arguments: str, stdin: str = "") -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, command, [*arguments], stdin)
        return done.exit_code, done.output

    code, text = await said("ann", "--log", str(log))
    assert (code, "first: print the sagas here with --list" in text) == (1, True), text
    assert await said("ann", "--log", str(log), "--list") == (0, "saga-1\n")
    monkeypatch.setenv("SAGAGEN_DATA_DIR", str(service))
    code, text = await said("--sagas", "-", stdin="saga-1\n")
    assert (code, text.startswith("erased: the data of 1 saga.")) == (0, True), text
    code, text = await said("ann", "--log", str(log), "--elsewhere")
    assert (code, text.startswith("erased: the data of 1 saga.")) == (0, True), text
    async with SagaLog.open(log, KEYS) as opened, lab(service) as store:
        found, repeated = await opened.find("saga-1"), await call(store, "saga-1")
    assert found
    assert found.hidden
    assert repeated.error
