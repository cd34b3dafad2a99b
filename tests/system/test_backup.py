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
from pathlib import Path

import pytest
from placing_orders import place
from shop_invariants import assert_shop_is_consistent
from stack import REPOSITORY, Stack, place_order, post_order
from waiting import LIMIT_S, eventually

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
