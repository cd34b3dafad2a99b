"""A PostgreSQL of this project's own: its data among the project's, its port on loopback, never one that runs already.

A shell stands between this process and the server. Its standard input is a pipe that this process holds: when the pipe
is closed, because this process stops the server or because it ended in whatever way, the shell lets the server shut
down. A file lock that the server inherits says whether one still runs on the data, also where no process number can be
trusted. After a crash PostgreSQL recovers by itself at the next start.
"""

import asyncio
import fcntl
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import asyncpg
import structlog

from sagagen.runtime.postgres.connection import CannotConnect, connect
from sagagen.runtime.process.postgres_programs import NoPostgres, Programs, user_for_server
from sagagen.runtime.startup import StartupError

OWNER = "sagagen"
"""The server's superuser, and the owner of all databases."""
STOP_S = 30.0
"""How long the server is waited for when it stops; it goes on stopping by itself, in seconds."""
_APPLICATION = "sagagen up"
_AGAIN_S = 0.05
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
"""Before a server that ended by itself is started again; doubled each time."""
_PORTS_TRIED = 3
_LOG_LINES = 12
_WRAPPED = """
exec 3<&0 </dev/null
"$@" 3<&- & server=$!
{ read -r _ <&3; kill -INT "$server"; } 2>/dev/null & reader=$!
exec 3<&-
wait "$server"; status=$?
kill "$reader" 2>/dev/null
exit "$status"
"""
"""SIGINT is PostgreSQL's "fast" shutdown: who is connected is cut off, and what was committed is written."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class PrivatePostgres:
    """A server that is kept running within `running`."""

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self.folder = folder
        self._options = options
        self._data = folder / "data"
        self._user = user_for_server()
        self._process: subprocess.Popen[Any] | None = None
        self._pipe: int | None = None
        """Our end."""
        self._changing = threading.Lock()
        """Whether it runs."""
        self._is_stopping = False
        self._held: IO[str]
        self._programs: Programs
        self._password = ""
        self._port = 0

    @classmethod
    @contextmanager
    def running(cls, folder: Path, databases: Iterable[str], *options: str) -> Generator["PrivatePostgres"]:
        """A server on the data in `folder`, which are made at the first start, with these databases.

        `options`: the server's own, as on its command line. Raises StartupError.
        """
        server = cls(folder, options)
        with server._alone():
            server._initialise()
            try:
                server._start()
                asyncio.run(server._make(databases))
                threading.Thread(target=server._keep, daemon=True).start()
                yield server
            finally:
                server._stop()

    @property
    def version(self) -> int:
        """The major one: 17."""
        return self._programs.version

    @property
    def address_file(self) -> Path:
        """It has the URL up to the name of a database."""
        return self.folder / "url"

    def url(self, database: str) -> str:
        """With the password."""
        return f"postgresql://{OWNER}:{self._password}@127.0.0.1:{self._port}/{database}"

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Nobody else works on the folder; what an earlier process has left running ends."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self._user:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        with (self.folder / "owner.lock").open("w") as owner, (self.folder / "server.lock").open("w") as held:
            if not _locked(owner):
                raise StartupError(
                    f"another process keeps the PostgreSQL in {self.folder}: stop that one first"
                )
            self._held = held
            self._wait_for_the_one_before()
            yield

    def _wait_for_the_one_before(self) -> None:
        """It stops, since its owner is gone; where its shell was killed, it has to be told."""
        if _locked(self._held):
            (self._data / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
            return
        _logger.info("the PostgreSQL of an earlier start is still there: it is stopped first")
        programs = Programs.find(self._version_of_data())
        self._run(programs.path("pg_ctl"), "stop", "-m", "fast", "-W", folder=self._data)
        began_s = time.monotonic()
        while not _locked(self._held):
            if time.monotonic() - began_s > STOP_S:
                raise StartupError(
                    f"the PostgreSQL of an earlier start does not stop: look at {self.folder / 'log'}, and at the "
                    f"process whose number is in {self._data / 'postmaster.pid'}"
                )
            time.sleep(_AGAIN_S)

    def _version_of_data(self) -> int | None:
        with suppress(OSError):
            return int((self._data / "PG_VERSION").read_text())
        return None

    def _initialise(self) -> None:
        """Make the data, whole or not at all."""
        version = self._version_of_data()
        try:
            self._programs = Programs.find(version)
        except NoPostgres as error:
            if version is None:
                raise
            raise NoPostgres(f"{error}; or remove {self.folder}, and with it what is stored there") from None
        password = self.folder / "password"
        if version is not None:
            self._password = password.read_text().strip()
            return
        self._password = secrets.token_hex(16)
        password.write_text(f"{self._password}\n")
        new = self.folder / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self._user:
            for path in (password, new):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        done = self._run(
            *(self._programs.path("initdb"), "-U", OWNER, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale"),
            folder=new,
            pwfile="password",
        )
        if done.returncode:
            raise StartupError(
                f"initdb failed in {self.folder}: {done.stderr.strip() or done.stdout.strip()}"
            )
        new.rename(self._data)

    def _start(self) -> None:
        """Returns once it answers."""
        for _ in range(_PORTS_TRIED):
            self._port = _free_port()  # somebody may take it before the server does
            self._spawn()
            if asyncio.run(self._answers()):
                break
            self._hang_up()
        else:
            raise StartupError(f"PostgreSQL does not start in {self.folder}:\n{self._last_lines()}")
        self.address_file.write_text(f"{self.url('')[:-1]}\n")

    def _spawn(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "max_connections": "300",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        theirs, self._pipe = os.pipe()
        with (self.folder / "log").open("wb") as log, _Reached(self._data, self._user) as data:
            server = [self._programs.path("postgres"), "-D", data.path, *settings, *self._options]
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WRAPPED, "sagagen-postgres", *server],
                stdin=theirs,
                stdout=log,
                stderr=log,
                cwd="/",
                pass_fds=(self._held.fileno(), *data.descriptors),
                start_new_session=True,  # Ctrl-C is for this process alone, which stops the mesh first
                **self._as_user(),
            )
        os.close(theirs)

    async def _answers(self) -> bool:
        """Wait until it does, however long it recovers; false if it ends instead."""
        assert self._process, "a server is asked that was started"
        while self._process.poll() is None:
            try:
                connection = await connect(self.url("postgres"), _APPLICATION)
            except CannotConnect as error:
                if isinstance(error.__cause__, asyncpg.InvalidPasswordError):
                    raise StartupError(
                        f"the PostgreSQL in {self.folder} does not take the password in {self.folder / 'password'}: "
                        "put the right one there, or remove the folder, and with it what is stored there"
                    ) from None
                await asyncio.sleep(_AGAIN_S)
            else:
                await connection.close()
                return True
        return False

    async def _make(self, databases: Iterable[str]) -> None:
        connection = await connect(self.url("postgres"), _APPLICATION)
        try:
            there = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
            for name in sorted(set(databases) - there):
                await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()

    def _keep(self) -> None:
        """In a thread: a server that ends by itself starts again, on the same port."""
        pause_s = _FIRST_PAUSE_S
        while True:
            assert self._process, "a server is kept that was started"
            began_s = time.monotonic()
            self._process.wait()
            if self._is_stopping:
                return
            if time.monotonic() - began_s > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            _logger.warning("PostgreSQL ended by itself: it starts again", log=str(self.folder / "log"))
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            with self._changing:
                if self._is_stopping:
                    return
                self._hang_up()
                self._spawn()

    def _stop(self) -> None:
        with self._changing:
            self._is_stopping = True
            self._hang_up()
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)

    def _hang_up(self) -> None:
        """What tells the shell to stop the server."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def _last_lines(self) -> str:
        lines = (self.folder / "log").read_text("utf-8", "replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])

    def _run(self, *command: str, folder: Path, pwfile: str = "") -> "subprocess.CompletedProcess[str]":
        """A program on data; `pwfile` is beside them."""
        with _Reached(folder, self._user) as data:
            return subprocess.run(
                [*command, "-D", data.path, *([f"--pwfile={data.path}/../{pwfile}"] if pwfile else [])],
                cwd="/",
                pass_fds=data.descriptors,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                **self._as_user(),
            )

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


class _Reached:
    """A folder as the server's user can name it: not by its path where that user may not pass what is above it."""

    def __init__(self, folder: Path, user: pwd.struct_passwd | None) -> None:
        self.path = str(folder.absolute())
        self.descriptors: tuple[int, ...] = ()
        if user and sys.platform == "linux":
            self.descriptors = (os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC),)
            self.path = f"/proc/self/fd/{self.descriptors[0]}"

    def __enter__(self) -> "_Reached":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
