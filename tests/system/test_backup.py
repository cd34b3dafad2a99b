"""A backup of a mesh at work, and what comes of a restore: of the log alone, and of everything."""

import asyncio
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import postgres_server
import pytest
from moving_stack import MovingStack
from placing_orders import place
from postgres_server import PostgresServer
from shop_invariants import CONFIRMED, PENDING, assert_shop_is_consistent
from stack import REPOSITORY, Stack, place_order, post_order
from waiting import LIMIT_S, eventually

from sagagen.cli.backup_manifest import Copy, NoBackup, digest_of, manifest_of, problems, read
from sagagen.cli.backup_postgres import without_password
from sagagen.runtime.sqlite.copying import copy_database

DATABASES = ["saga-log.db", "order.db", "inventory.db", "payment.db"]
OPEN = "SELECT count(*) AS n FROM saga WHERE status IN ('RUNNING', 'COMPENSATING', 'STUCK')"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with closing(Stack(tmp_path / "var")) as shop:
        shop.log_path = tmp_path / "processes.log"
        yield shop


def backup(stack: Stack, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sagagen", "backup", str(folder), "--project", str(stack.root)]
    return subprocess.run(
        command, env=stack.environment("up"), capture_output=True, text=True, check=False, timeout=LIMIT_S
    )


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sagagen", "backup", "verify", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)


def restore(stack: Stack, folder: Path, *names: str) -> None:
    for name in names:
        for old in stack.data_dir.glob(f"{name}*"):
            old.unlink()
        shutil.copy(folder / name, stack.data_dir / name)


def await_none_open(stack: Stack) -> None:
    eventually("every saga to end", lambda: stack.rows("saga-log", OPEN)[0]["n"] == 0)


def unknown_to_the_log(stack: Stack, service: str) -> set[str]:
    """By the query of docs/backup.md."""
    (page,) = re.findall(r"```sql\n(.*?)```", (REPOSITORY / "docs" / "backup.md").read_text(), re.DOTALL)
    attach, query = (part.strip() for part in page.split(";")[:2])
    with closing(sqlite3.connect(stack.data_dir / f"{service}.db")) as connection:
        connection.execute(attach.split("\n")[-1].replace("saga-log.db", str(stack.data_dir / "saga-log.db")))
        return {row[0] for row in connection.execute(query)}


@pytest.mark.slow
def test_a_mesh_at_work_is_copied_and_goes_on_from_an_older_log_without_an_effect_twice(
    stack: Stack, tmp_path: Path
) -> None:
    stack.start("up")
    first = place_order(stack, "first")
    with stack.holding_writes("payment"):  # sagas are open in the copies
        placing = threading.Thread(target=lambda: asyncio.run(place(stack, 6, "during")))
        placing.start()
        eventually("open sagas", lambda: stack.rows("saga-log", OPEN)[0]["n"] >= 3)
        made = backup(stack, tmp_path / "backup")
    assert made.returncode == 0, made.stderr
    assert [line.split(":")[0] for line in made.stdout.splitlines()] == DATABASES, "the log first"
    placing.join()
    seen = verify(tmp_path / "backup")
    assert (seen.returncode, "saga-log.db: " in seen.stdout) == (0, True), seen.stderr
    after = place_order(stack, "after")
    await_none_open(stack)
    stack.terminate("up")

    restore(stack, tmp_path / "backup", "saga-log.db")
    assert stack.rows("saga-log", OPEN)[0]["n"] >= 3, "as it was"
    stack.start("up")
    await_none_open(stack)
    assert_shop_is_consistent(stack)
    assert post_order(stack, "first").json()["order_id"] == first
    unknown = post_order(stack, "after")
    assert (unknown.status_code, unknown.json()["reason"]) == (409, "SAGA_ELSEWHERE"), after
    assert after in unknown_to_the_log(stack, "order")
    stack.terminate("up")

    restore(stack, tmp_path / "backup", *DATABASES)
    stack.start("up")
    await_none_open(stack)
    assert_shop_is_consistent(stack)


@pytest.mark.slow
def test_what_cannot_be_copied_is_said_in_a_line(stack: Stack, tmp_path: Path) -> None:
    nothing = backup(stack, tmp_path / "backup")
    assert nothing.returncode == 1
    assert "has no database of this project; set SAGAGEN_DATA_DIR" in nothing.stderr
    assert not (tmp_path / "backup").exists()
    stack.data_dir.mkdir()
    (stack.data_dir / "order.db").write_bytes(b"no database" * 1000)
    broken = backup(stack, tmp_path / "backup")
    assert broken.returncode == 1
    assert "saga-log.db: not in" in broken.stderr
    assert "order.db can't be copied" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert not (tmp_path / "backup" / "order.db").exists()
    (tmp_path / "backup" / "mine").touch()
    assert backup(stack, tmp_path / "backup").returncode == 2


def test_a_backup_that_is_not_whole_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    with pytest.raises(NoBackup, match="has finished"):
        read(folder)
    with closing(sqlite3.connect(folder / "order.db")) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
    file = folder / "order.db"
    copy = Copy(
        "order", "order.db", "sqlite", file.stat().st_size, digest_of(file), 1, "2026-11-30T21:00:00+00:00"
    )
    gone = replace(copy, file="payment.db")
    manifest_of("shop", [copy, gone], []).write(folder)
    assert list(problems(folder, read(folder))) == ["payment.db is missing"]
    (folder / "order.db-wal").touch()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert list(problems(folder, read(folder))) == [
        "order.db is not as it was: its SHA-256 is another one",
        "payment.db is missing",
        "order.db-wal does not belong to the backup: a restore has to leave it out",
    ]


def test_a_password_is_not_on_the_command_line_of_pg_dump() -> None:
    place, password = without_password(
        "postgresql://me:p%40ss@db:5432/shop?sslmode=require&search_path=order"
    )
    assert (place, password) == ("postgresql://me@db:5432/shop?sslmode=require", "p@ss")


@pytest.mark.slow
@pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")
def test_databases_in_postgresql_are_dumped_after_the_log_and_go_on_after_a_restore(tmp_path: Path) -> None:
    with PostgresServer() as server, closing(MovingStack(tmp_path / "var", server)) as shop:
        shop.log_path = tmp_path / "processes.log"
        shop.start("up")
        placing = threading.Thread(target=lambda: asyncio.run(place(shop, 40, "during")))
        placing.start()
        eventually("orders under way", lambda: len(shop.rows("order", "SELECT * FROM orders")) > 3)
        made = backup(shop, tmp_path / "backup")
        assert made.returncode == 0, made.stderr
        assert [line.split(":")[0] for line in made.stdout.splitlines()] == [
            "saga-log.db",
            *(f"{service}.dump" for service in shop.services),
        ]
        placing.join()
        await_none_open(shop)
        shop.terminate("up")
        assert verify(tmp_path / "backup").returncode == 0

        restore(shop, tmp_path / "backup", "saga-log.db")
        for service in shop.services:
            server.sql(f'DROP DATABASE "shop_{service}"')
            url, dump = shop.database(service), tmp_path / "backup" / f"{service}.dump"
            command = [
                "pg_restore",
                "--no-owner",
                "--no-privileges",
                "--exit-on-error",
                f"--dbname={url}",
                str(dump),
            ]
            subprocess.run(command, check=True, timeout=LIMIT_S)
        known = {row["saga_id"] for row in shop.rows("saga-log", "SELECT saga_id FROM saga")}
        assert known
        shop.start("up")
        await_none_open(shop)
        orders = shop.rows("order", "SELECT order_id, status FROM orders")
        assert not {row["order_id"] for row in orders if row["status"] == PENDING} & known, "they have ended"
        paid = shop.rows("payment", "SELECT order_id FROM payments WHERE status = 'CHARGED'")
        charged = {row["order_id"] for row in paid} & known
        assert charged == {row["order_id"] for row in orders if row["status"] == CONFIRMED} & known


def test_a_copy_is_of_one_moment_and_belongs_to_its_user_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    with closing(sqlite3.connect(source, isolation_level=None)) as writing:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("CREATE TABLE t (n INTEGER)")
        writing.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(1000)])
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("DELETE FROM t")
        assert copy_database(source, target) == target.stat().st_size
        writing.execute("ROLLBACK")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "target" in path.name) == ["target.db"]
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT count(*) FROM t").fetchone() == (1000,)
    with pytest.raises(FileExistsError):
        copy_database(source, target)
