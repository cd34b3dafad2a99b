"""What the saga log keeps of customers can be read with its keys alone, and moved to no other place."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from encrypted_log import (
    CANARY,
    DIGEST,
    ENDED,
    K1,
    K2,
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

from sagagen.runtime.log.sealing import NO_KEYS, tables
from sagagen.runtime.log.store import LogCorrupted, LogUnavailable, SagaLog
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.result import Hidden
from sagagen.runtime.saga.search import SagaQuery, UnreadableSaga
from sagagen.runtime.startup import SettingsError
from sagagen.runtime.vault.given import given_keys
from sagagen.runtime.vault.keys import KeyIsAnother, KeysMissing, KeysUnset, read_keys
from sagagen.runtime.vault.rotation import StillInUse, rotate
from sagagen.runtime.vault.vault import FileKeys, Sealed

BAD_KEYS = {
    "": "has no key",
    "# nothing\n": "has no key",
    "k1": ":1: write id:base64",
    "k 1:AAAA": ":1: write id:base64",
    "k1:?": "the key k1 is no base64",
    "k1:AAAA": "the key k1 has 3 bytes; AES-256 needs 32",
    "\nk1:{key}\nk1:{key}": ":3: there is a key k1 above already",
}
KEY_TEXT = "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "saga-log.db"


@pytest.mark.parametrize(("text", "said"), BAD_KEYS.items())
def test_a_file_of_keys_that_is_of_no_use_is_refused_without_repeating_a_key(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(text.replace("{key}", KEY_TEXT))
    with pytest.raises(SettingsError) as refused:
        read_keys(file)
    assert said in str(refused.value)
    assert KEY_TEXT not in str(refused.value)


def test_keys_are_given_by_a_file_by_a_wrapper_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the new one\nk2:{KEY_TEXT}\n\nk1:{KEY_TEXT}\n")
    setting = {"SAGAGEN_ENCRYPTION_KEYS_FILE": str(file)}
    assert given_keys({}) is None
    found = given_keys(setting)
    assert found
    assert (found.first, set(found.ids)) == ("k2", {"k1", "k2"})
    own = {"SAGAGEN_ORDER_ENCRYPTION_KEYS_FILE": str(tmp_path / "not there")}
    with pytest.raises(SettingsError, match=r"SAGAGEN_ORDER_ENCRYPTION_KEYS_FILE: .*not there can't be read"):
        given_keys(setting | own, "order")
    assert given_keys(setting | own, "payment")
    wrapper = {"SAGAGEN_KEY_WRAPPER": "encrypted_log:KEYS"}
    assert given_keys(wrapper, root=Path(__file__).parent) is KEYS
    for wrong, why in {"encrypted_log:K1": "is no KeyWrapper", "nowhere:KEYS": "can't be used"}.items():
        with pytest.raises(SettingsError, match=why):
            given_keys({"SAGAGEN_KEY_WRAPPER": wrong})
    with pytest.raises(SettingsError, match="keep one"):
        given_keys(setting | wrapper)


async def test_no_file_has_what_a_customer_said(path: Path) -> None:
    async with SagaLog.open(path, KEYS) as log:
        await run(log, "saga-1")
        assert files_with(path.parent, SECRET, KEYS.first.encode() * 16) == set()
        found = await log.find("saga-1")
        head = await log.head("saga-1")
    assert files_with(path.parent, SECRET) == set()
    assert found
    assert found.rows == (accepted("saga-1"), *ROWS, ENDED)
    assert head
    assert head.fingerprint == DIGEST
    assert head.result == getattr(ROWS[0], "result", None)
    # The same without keys: this test can fail.
    clear = path.with_name("clear.db")
    async with SagaLog.open(clear) as log:
        await run(log, "saga-1")
    assert files_with(path.parent, SECRET) == {"clear.db"}


MOVED = {
    "to another saga": "UPDATE event SET payload = (SELECT payload FROM event AS e WHERE e.saga = 2 AND e.seq = 9)"
    " WHERE seq = 2",
    "to another row": "UPDATE event SET payload = (SELECT payload FROM event AS e WHERE e.seq = 3) WHERE seq = 2",
    "to another column": "UPDATE event SET payload = next_request WHERE seq = 2",
    "to a row of another kind": "UPDATE event SET kind = 'DONE_BY_HAND' WHERE seq = 3",
    "one bit": "UPDATE event SET payload = CAST(substr(payload, 1, 20) || x'00' || substr(payload, 22) AS BLOB)"
    " WHERE seq = 2",
    "cut off": "UPDATE event SET payload = substr(payload, 1, 5) WHERE seq = 2",
    "replaced by clear text": "UPDATE event SET payload = x'0a0178', sealed = NULL WHERE seq = 2",
    "a digest of another saga": "UPDATE saga SET fingerprint = (SELECT fingerprint FROM saga WHERE number = 2)"
    " WHERE number = 1",
    "claims of another saga": "UPDATE saga SET claims = (SELECT claims FROM saga WHERE number = 2) WHERE number = 1",
    "the key of another saga": "UPDATE saga SET wrapped = (SELECT wrapped FROM saga WHERE number = 2)"
    " WHERE number = 1",
    "no key": "UPDATE saga SET wrapped = NULL WHERE number = 1",
}


@pytest.mark.parametrize("statement", MOVED.values(), ids=list(MOVED))
async def test_what_was_altered_or_moved_is_not_read_and_other_sagas_are(path: Path, statement: str) -> None:
    async with SagaLog.open(path, KEYS) as log:
        await begin(log, "saga-1")
        await begin(log, "saga-2")
    change(path, statement)
    async with SagaLog.open(path, KEYS) as log:
        with pytest.raises(LogCorrupted, match=r"saga saga-1 can't be read from the log"):
            await log.find("saga-1")
        other = await log.find("saga-2")
        found = await log.search(SagaQuery(limit=10))
    assert other
    assert other.rows == (accepted("saga-2"), *ROWS)
    assert [isinstance(each, UnreadableSaga) for each in found] == [False, True]


async def test_a_log_is_opened_by_its_keys_alone(path: Path) -> None:
    async with SagaLog.open(path, KEYS) as log:
        await begin(log, "saga-1")
    with pytest.raises(
        KeysUnset, match="is encrypted by the key k1, and SAGAGEN_ENCRYPTION_KEYS_FILE is not set"
    ):
        async with SagaLog.open(path):
            pass
    with pytest.raises(KeysMissing, match="the key k1 is not given"):
        async with SagaLog.open(path, FileKeys([K2])):
            pass
    with pytest.raises(KeyIsAnother, match="a key k1 that has other bytes"):
        async with SagaLog.open(path, FileKeys([("k1", K2[1])])):
            pass


async def test_without_keys_a_log_shows_what_is_no_secret_and_takes_no_row(path: Path) -> None:
    async with SagaLog.open(path, KEYS) as log:
        await begin(log, "saga-1")
    async with SagaLog.open(path, hides=True) as log:
        found, head = await log.find("saga-1"), await log.head("saga-1")
        assert found
        assert (found.hidden, found.accepted.input, found.accepted.claims) == (NO_KEYS, b"", "")
        assert [row.at_ms for row in found.rows] == [5, *(row.at_ms for row in ROWS)]
        assert CANARY not in repr(found)
        assert head
        assert head.result == Hidden()
        with pytest.raises(LogUnavailable, match="set SAGAGEN_ENCRYPTION_KEYS_FILE"):
            await log.append(found.ref, [ENDED], SagaStatus.COMPLETED)


async def test_a_log_from_before_there_were_keys_is_read_and_what_is_new_is_encrypted(path: Path) -> None:
    async with SagaLog.open(path) as log:
        ref = await log.accept(accepted("old"))
    assert ref
    async with SagaLog.open(path, KEYS) as log:
        before = len(values(path, "SELECT seq FROM event WHERE sealed"))
        await log.append(ref, ROWS, SagaStatus.COMPENSATING)
        await begin(log, "new")
        for name in ("old", "new"):
            found = await log.find(name)
            assert found
            assert found.rows == (accepted(name), *ROWS)
    assert before == 0
    assert values(path, "SELECT seq FROM event WHERE sealed IS NULL") == [1]


async def test_rows_of_a_transaction_that_fails_leave_nothing_that_is_needed(path: Path) -> None:
    """A second acceptance of an id, and a row that SQLite refuses: the keys of other rows still fit."""
    async with SagaLog.open(path, KEYS) as log:
        await begin(log, "saga-1")
        assert await log.accept(accepted("saga-1")) is None
        with pytest.raises(UnicodeEncodeError):
            await log.accept(accepted("\ud800"))
        await begin(log, "saga-2")
        for name in ("saga-1", "saga-2"):
            found = await log.find(name)
            assert found
            assert found.rows == (accepted(name), *ROWS)


def rotated(path: Path, keys: FileKeys, *, is_at_rest: bool = True) -> int:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return rotate(connection, keys, tables(), "the log", is_at_rest=is_at_rest).rewrapped


async def test_after_a_rotation_the_old_key_is_needed_no_more(path: Path) -> None:
    both = FileKeys([K2, K1])
    async with SagaLog.open(path, KEYS) as log:
        await run(log, "saga-1", "ann")
        await run(log, "saga-2")
        with pytest.raises(StillInUse, match="was not started with the key k2"):
            rotated(path, both, is_at_rest=False)
    assert rotated(path, both) == 3, "of the log, of saga-2, and of ann"
    assert rotated(path, both) == 0
    async with SagaLog.open(path, FileKeys([K2])) as log:
        for name in ("saga-1", "saga-2"):
            found = await log.find(name)
            assert found
            assert found.rows == (accepted(name), *ROWS, ENDED)
    with pytest.raises(KeysMissing):
        async with SagaLog.open(path, KEYS):
            pass


async def test_a_running_process_is_rotated_beside_but_not_one_that_encrypts_by_the_old_key(
    path: Path,
) -> None:
    async with SagaLog.open(path, FileKeys([K2, K1])):
        pass
    async with SagaLog.open(path, FileKeys([K1, K2])) as log:
        await begin(log, "saga-1")
        assert rotated(path, FileKeys([K2, K1]), is_at_rest=False) == 1
        # The key that it encrypts by is gone: what it writes fails, and is not lost.
        with pytest.raises(sqlite3.IntegrityError):
            await log.accept(accepted("saga-2"))
        assert await log.find("saga-1")
    async with SagaLog.open(path, FileKeys([K2])) as log:
        found = await log.find("saga-1")
        assert found
        await log.append(found.ref, [ENDED], SagaStatus.COMPLETED)


ROTATES = """
import os, signal, sqlite3, sys
from sagagen.runtime.log.sealing import tables
from sagagen.runtime.vault import rotation
from sagagen.runtime.vault.vault import FileKeys
updates = []
def die_at_the_fifth(sql):
    updates.extend([sql] if sql.startswith("UPDATE saga ") else [])
    if len(updates) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
rotation.BATCH = 2
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.set_trace_callback(die_at_the_fifth)
keys = FileKeys([("k2", b"2" * 32), ("k1", b"1" * 32)])
rotation.rotate(connection, keys, tables(), "the log", is_at_rest=True)
"""


async def test_a_rotation_that_is_killed_goes_on_where_it_was(path: Path) -> None:
    async with SagaLog.open(path, KEYS) as log:
        for number in range(10):
            await log.accept(accepted(f"saga-{number}"))
    killed = subprocess.run([sys.executable, "-c", ROTATES, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert rotated(path, FileKeys([K2, K1])) == 6, "the log's own key and four sagas' were committed"
    async with SagaLog.open(path, FileKeys([K2])) as log:
        for number in range(10):
            assert await log.find(f"saga-{number}")


def test_a_wrapped_key_is_good_for_nothing_else() -> None:
    wrapped = KEYS.wrap(b"x" * 32, b"one")
    assert KEYS.unwrap("k1", wrapped, b"one") == b"x" * 32
    with pytest.raises(Sealed):
        KEYS.unwrap("k1", wrapped, b"another")
