"""A PostgreSQL of the tests' own: its own data folder, its own port, never a server that runs already.

It is faster and barer than what `sagagen up --postgres` starts: in memory, without a password, and it can be stopped in
every way.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from waiting import eventually

from sagagen.runtime.process.postgres_programs import NoPostgres, Programs, user_for_server

USER = "postgres"
QUICK = ("-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "listen_addresses=127.0.0.1")


def binary(name: str) -> str:
    """Of the programs that the product finds. Raises NoPostgres."""
    return _programs().path(name)


@cache
def _programs() -> Programs:
    return Programs.find()


def missing() -> str:
    """Why no server can be started here; empty if one can."""
    try:
        _programs()
        user_for_server()
    except NoPostgres as why:
        return str(why)
    return ""


class PostgresServer:
    """A server process; starts at once. Used by `with`."""

    def __init__(self, *options: str, of: "PostgresServer | None" = None) -> None:
        """`of`: the primary whose standby it is, from a copy that is taken now."""
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=_in_memory()))
        self._user = user_for_server()
        if self._user:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self.data = self.folder / "data"
        self._options = options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        if of is None:
            self._run(
                "initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"
            )
        else:
            self._run(
                "pg_basebackup",
                *("-D", str(self.data), "-h", "127.0.0.1", "-p", str(of.port), "-U", USER, "-R", "-N"),
                *("-c", "fast", "-X", "stream"),
            )
        self.start()

    def url(self, database: str = "postgres", user: str = USER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = ("-p", str(self.port), "-k", str(self.folder), *QUICK, *self._options)
        self.process = subprocess.Popen(
            [binary("postgres"), "-D", str(self.data), *options],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
            cwd=self.folder,
            **self._as_user(),
        )
        eventually("PostgreSQL to answer", self._is_ready, bool)

    def sql(self, text: str, database: str = "postgres") -> str:
        """What psql prints, without headings."""
        return self._run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", text
        )

    def database(self, name: str) -> str:
        """The URL of a database of this name, which is made if it is not there."""
        if not self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def promote(self) -> None:
        """Of a standby: from now on it takes writes."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "-w")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is a crash: nothing is written that is not written."""
        if self.process.poll() is None:
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w")
            self.process.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):  # a connection that has ended since
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        main = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    def _is_ready(self) -> bool:
        asked = subprocess.run(
            [binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        )
        return asked.returncode == 0

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [binary(program), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
            **self._as_user(),
        )
        if done.returncode:
            raise AssertionError(f"{program} failed: {done.stderr or done.stdout}")
        return done.stdout.strip()

    def __enter__(self) -> "PostgresServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def shared_server() -> PostgresServer:
    """One for all tests of this process; it ends with it."""
    server = PostgresServer("-c", "fsync=on")
    atexit.register(server.__exit__)
    return server


def _in_memory() -> str:
    """Nothing here outlives the machine, so nothing waits for its disk. A path that is short enough for a socket."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
