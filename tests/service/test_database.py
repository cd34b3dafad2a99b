"""The SQLite file behind one thread, and its owner lock."""

import asyncio
import inspect
import os
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import aiosqlite.core
import pytest

from sagagen.runtime import plain
from sagagen.runtime.sqlite.database import (
    Database,
    DatabaseDamaged,
    DatabaseStuck,
    DatabaseTooNew,
    user_version,
)
from sagagen.runtime.sqlite.lock import ALLOW_NETWORK, LogLocked, OwnerLock, file_system_of

LONG_S = 60.0


@pytest.fixture(params=["quick", "plain"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """To aiosqlite's thread: by its queue, or by what aiosqlite documents."""
    with plain.using({"aiosqlite"} if request.param == "plain" else set()):
        yield request.param


class Latch:
    """Work that stays in the thread until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, _connection: sqlite3.Connection) -> None:
        self.entered.set()
        assert self.let_go.wait(LONG_S)


async def test_each_way_is_the_one_that_was_asked_for(tmp_path: Path, way: str):
    async with Database(tmp_path / "x.db") as db:
        opened = type(await db.in_thread(lambda connection: connection))
    assert (opened is sqlite3.Connection) == (way == "quick")


async def test_work_returns_or_raises_what_it_does(tmp_path: Path):
    async with Database(tmp_path / "x.db") as db:
        assert await db.in_thread(lambda c: c.execute("SELECT ?", (b"a",)).fetchone()[0]) == b"a"
        with pytest.raises(ZeroDivisionError):
            await db.in_thread(lambda c: 1 // 0)
        assert await db.in_thread(lambda c: None) is None
        assert db.is_idle


async def test_what_is_handed_over_is_done_in_its_order_and_told(tmp_path: Path):
    done: list[int | str | None] = []
    told = asyncio.Event()
    async with Database(tmp_path / "x.db") as db:
        for number in range(3):
            db.hand_over(lambda c, n=number: done.append(n), lambda error: None)
        assert not db.is_idle
        await db.in_thread(lambda c: done.append("in thread"))
        db.hand_over(
            lambda c: c.execute("no SQL"), lambda error: (done.append(type(error).__name__), told.set())
        )
        await asyncio.wait_for(told.wait(), LONG_S)
        assert done == [0, 1, 2, "in thread", "OperationalError"]
        assert db.is_idle


async def test_leaving_waits_for_what_was_handed_over(tmp_path: Path):
    async with Database(tmp_path / "x.db") as db:
        await db.run_script("CREATE TABLE t (a)")
        db.hand_over(lambda c: c.execute("INSERT INTO t VALUES (1)"), lambda error: None)
    async with Database(tmp_path / "x.db") as db:
        assert await db.in_thread(lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0]) == 1


async def test_a_closed_database_says_so(tmp_path: Path):
    async with Database(tmp_path / "x.db") as db:
        pass
    for use in (lambda: db.in_place(user_version), lambda: db.hand_over(user_version, print)):
        with pytest.raises(ValueError, match="is not open"):
            use()
    with pytest.raises(ValueError, match="is not open"):
        await db.in_thread(user_version)
    await db.close()


async def test_what_is_no_database_is_named_and_left_as_it_is(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DatabaseDamaged, match=r"x\.db"):
        async with Database(tmp_path / "x.db"):
            pass
    assert (tmp_path / "x.db").read_bytes().startswith(b"no database")


async def test_leaving_a_thread_that_hangs_ends_and_keeps_the_lock(tmp_path: Path):
    latch, path = Latch(), tmp_path / "x.db"
    lock = OwnerLock(path)

    async def hang() -> None:
        with lock:
            async with Database(path, close_s=0.05) as db:
                db.hand_over(latch, lambda error: None)
                assert await asyncio.to_thread(latch.entered.wait, LONG_S)

    with pytest.raises(DatabaseStuck, match=r"x\.db could not be closed within 0\.05 s"):
        await hang()
    with pytest.raises(
        LogLocked
    ):  # what hangs may still write: nobody else may own the file in this process's life
        OwnerLock(path).acquire()
    latch.let_go.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=LONG_S)


async def test_leaving_waits_for_a_commit_though_it_is_cancelled(tmp_path: Path):
    latch, opened, done = Latch(), asyncio.Event(), list[str]()

    async def use() -> None:
        async with Database(tmp_path / "x.db") as db:
            db.hand_over(latch, lambda error: None)
            opened.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    task.add_done_callback(lambda _: done.append("left"))
    await opened.wait()
    assert await asyncio.to_thread(latch.entered.wait, LONG_S)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert done == []
    latch.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_aiosqlites_queue_is_what_the_quick_way_takes_it_for():
    """Fails when `_tx` changes: then `sqlite/queued.py` and the cap in pyproject.toml have to be looked at."""
    connection = aiosqlite.Connection(lambda: sqlite3.connect(":memory:"), 64)
    assert isinstance(connection._tx, queue.SimpleQueue)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType] - the name that is tried
    source = inspect.getsource(aiosqlite.core)
    assert "future, function = tx.get()" in source
    assert source.count("if future:\n                future.get_loop().call_soon_threadsafe(") == 2


async def test_a_database_is_in_wal_mode_with_full_synchronization(tmp_path: Path):
    async with Database(tmp_path / "a b#?.db") as db:

        def read(connection: sqlite3.Connection, name: str) -> Any:
            return connection.execute(f"PRAGMA {name}").fetchone()[0]

        assert await db.in_thread(lambda c: read(c, "journal_mode")) == "wal"
        assert await db.in_thread(lambda c: read(c, "synchronous")) == 2
        assert await db.in_thread(lambda c: read(c, "foreign_keys")) == 1
    assert (tmp_path / "a b#?.db").exists()


async def test_a_read_only_connection_cannot_write(tmp_path: Path):
    async with Database(tmp_path / "x.db") as db:
        await db.run_script("CREATE TABLE t (a)")
        async with Database(tmp_path / "x.db", is_read_only=True) as reader:
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await reader.in_thread(lambda c: c.execute("INSERT INTO t VALUES (1)"))


async def test_work_in_the_thread_ends_though_its_waiter_is_cancelled(tmp_path: Path):
    async with Database(tmp_path / "x.db") as db:
        await db.run_script("CREATE TABLE t (a)")
        waiter = asyncio.create_task(db.in_thread(lambda c: c.execute("INSERT INTO t VALUES (1)")))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert await db.in_thread(lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0]) == 1


async def test_migrations_run_once_in_order_and_a_failing_one_leaves_no_trace(tmp_path: Path):
    scripts = {1: "CREATE TABLE t (a)", 2: "INSERT INTO t VALUES (1) -- and a comment at the end"}
    async with Database(tmp_path / "x.db") as db:
        await db.migrate(scripts)
        await db.migrate(scripts)
        assert await db.in_thread(lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0]) == 1
        with pytest.raises(sqlite3.OperationalError):
            await db.migrate({**scripts, 3: "INSERT INTO t VALUES (2); INSERT INTO missing VALUES (1)"})
        assert await db.in_thread(user_version) == 2
        assert await db.in_thread(lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0]) == 1


async def test_a_database_of_a_later_version_is_not_opened(tmp_path: Path):
    async with Database(tmp_path / "x.db") as db:
        await db.migrate({7: "CREATE TABLE t (a)"})
        with pytest.raises(DatabaseTooNew, match="version 7"):
            await db.migrate({1: ""})


def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path):
    path = tmp_path / "log.db"
    with OwnerLock(path):
        with pytest.raises(LogLocked) as refused:
            OwnerLock(path).acquire()
        assert refused.value.pid == os.getpid()
        assert str(path) in str(refused.value)
    OwnerLock(path).release()
    with OwnerLock(path):
        pass


def test_a_child_process_does_not_inherit_the_lock(tmp_path: Path):
    with OwnerLock(tmp_path / "log.db"):
        child = subprocess.Popen(
            [sys.executable, "-c", "print('started', flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
        assert child.stdout is not None
        child.stdout.readline()  # closing on exec may still be under way when Popen returns
    try:
        with OwnerLock(tmp_path / "log.db"):
            pass
    finally:
        child.communicate(b"\n")


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path):
    (tmp_path / "share").mkdir()
    mounts = (
        "1 0 0:1 / / rw shared:1 - ext4 /dev/sda rw\n"
        f"2 1 0:2 / {tmp_path}/share rw - nfs4 server:/x rw\n"
        f"3 1 0:2 / {tmp_path}/sha rw - cifs server:/y rw\n"
    )
    assert file_system_of(tmp_path / "share", mounts) == "nfs4"
    assert file_system_of(tmp_path, mounts) == "ext4"
    assert file_system_of(tmp_path, "") == ""
    assert ALLOW_NETWORK == "SAGAGEN_ALLOW_NETWORK_FS"
