"""The SQLite file behind one thread, and its owner lock."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sagagen.runtime.sqlite.database import Database, DatabaseTooNew, user_version
from sagagen.runtime.sqlite.lock import ALLOW_NETWORK, LogLocked, OwnerLock, file_system_of


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
