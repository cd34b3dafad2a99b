"""What a start says, and does, where the system does not let it: one line each, and a full disk is waited for."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from stack import free_ports
from thorough import chosen
from waiting import LIMIT_S, eventually

from sagagen.runtime.sqlite.disk_errors import CannotOpen, DiskFull, LockedByOthers, opening
from sagagen.runtime.startup import system_problem

FOLDER = Path(__file__).parent
NAMESPACE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def may_mount(folder: Path) -> bool:
    probe = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    is_there = shutil.which("unshare") is not None
    return is_there and subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", chosen(["mesh", "up"], first=1))
def test_a_start_on_a_full_disk_ends_what_is_under_way_and_waits_for_room(tmp_path: Path, mode: str) -> None:
    if not may_mount(tmp_path):
        pytest.skip("this system lets nobody mount a small disk")
    command = [*NAMESPACE, sys.executable, str(FOLDER / "full_disk_start.py"), mode, str(tmp_path)]
    paths = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    life = subprocess.run(
        command, env=paths, capture_output=True, text=True, check=False, timeout=4 * LIMIT_S
    )
    assert life.stdout.endswith("fine\n"), life.stdout + life.stderr


def refused_start(data_dir: Path, *command: str) -> str:
    """The output of a start that ends."""
    http, admin = free_ports(2)
    environment = {
        **os.environ,
        "SAGAGEN_DATA_DIR": str(data_dir),
        "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
        "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
    }
    run = subprocess.run(
        [*command, sys.executable, "-m", "sagagen", "up"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        cwd=FOLDER.parents[1],
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.mark.slow
def test_too_few_open_files_is_one_line(tmp_path: Path) -> None:
    said = refused_start(tmp_path, "sh", "-c", 'ulimit -n 32; exec "$@"', "sh")
    assert "this process may open 32 files at once, and needs 256: raise the limit (ulimit -n 4096)" in said
    assert len(said.strip().splitlines()) == 1, said


@pytest.mark.slow
def test_a_read_only_disk_is_one_line(tmp_path: Path) -> None:
    if not may_mount(tmp_path):
        pytest.skip("this system lets nobody mount a small disk")
    script = f'mount -t tmpfs tmpfs "{tmp_path}"; mkdir "{tmp_path}/var"; mount -o remount,ro "{tmp_path}"; exec "$@"'
    said = refused_start(tmp_path / "var", *NAMESPACE, "sh", "-c", script, "sh")
    assert str(tmp_path / "var") in said
    assert "read-only" in said.lower()
    assert len(said.strip().splitlines()) == 1, said


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.ENOSPC, DiskFull, "the disk is full; free some room in"),
        (errno.EDQUOT, DiskFull, "the disk is full"),
        (errno.EROFS, CannotOpen, "its file system is read-only"),
        (errno.EACCES, CannotOpen, "permission denied; let user"),
        (errno.EPERM, CannotOpen, "permission denied"),
        (errno.EMFILE, CannotOpen, "too many open files"),
        (errno.ENFILE, CannotOpen, "too many open files"),
        (errno.EIO, CannotOpen, "Input/output error; the system's log may say more"),
    ],
)
def test_whatever_the_system_says_names_the_file_and_the_cause(
    tmp_path: Path, code: int, kind: type[Exception], says: str
) -> None:
    path = tmp_path / "order.db"
    with pytest.raises(kind) as raised, opening(path):
        raise OSError(code, os.strerror(code))
    assert str(raised.value).startswith(f"{path} can't be opened: {says}")
    assert "\n" not in str(raised.value)
    assert system_problem(OSError(code, os.strerror(code))).startswith("it can't start: ")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, DiskFull),
        (sqlite3.SQLITE_IOERR, CannotOpen),
        (sqlite3.SQLITE_CANTOPEN, CannotOpen),
        (sqlite3.SQLITE_READONLY, CannotOpen),
        (sqlite3.SQLITE_BUSY, LockedByOthers),
        (sqlite3.SQLITE_ERROR, sqlite3.OperationalError),
    ],
)
def test_what_sqlite_says_of_the_system_is_told_from_mistakes_in_sql(
    tmp_path: Path, code: int, kind: type[Exception]
) -> None:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    with pytest.raises(kind) as raised, opening(tmp_path / "order.db"):
        raise error
    assert type(raised.value) is kind


@pytest.mark.slow
def test_whoever_waits_for_room_can_be_stopped(tmp_path: Path) -> None:
    if not may_mount(tmp_path):
        pytest.skip("this system lets nobody mount a small disk")
    script = f'mount -t tmpfs -o size=64k,mode=0700 tmpfs "{tmp_path}"; exec "$@"'
    command = [*NAMESPACE, "sh", "-c", script, "sh", sys.executable, "-m", "sagagen", "up"]
    output = tmp_path.with_name("output.txt")
    environment = {**os.environ, "SAGAGEN_DATA_DIR": str(tmp_path), "SAGAGEN_LOG_FORMAT": "json"}
    with output.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, cwd=FOLDER.parents[1])
    eventually("the line", output.read_text, lambda said: "it starts by itself when there is room" in said)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0
    assert "Traceback" not in output.read_text()
    assert output.read_text().count("when there is room") == 1


@pytest.mark.slow
def test_whoever_finds_a_database_locked_starts_when_it_is_released(tmp_path: Path) -> None:
    http, admin = free_ports(2)
    environment = {
        **os.environ,
        "SAGAGEN_DATA_DIR": str(tmp_path),
        "SAGAGEN_LOG_FORMAT": "json",
        "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
        "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
    }
    output = tmp_path.with_name("said.txt")
    with closing(sqlite3.connect(tmp_path / "order.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE of_another_program (number INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        with output.open("wb") as file:
            command = [sys.executable, "-m", "sagagen", "up"]
            process = subprocess.Popen(
                command, env=environment, stdout=file, stderr=file, cwd=FOLDER.parents[1]
            )
        eventually("the line", output.read_text, lambda said: "by itself when the lock is released" in said)
        assert "order.db can't be opened: another program has locked it" in output.read_text()
        other.execute("ROLLBACK")
    eventually("a start", output.read_text, lambda said: '"ready"' in said)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0
    assert "Traceback" not in output.read_text()
