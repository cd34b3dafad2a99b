"""A PostgreSQL of the measurement's own: its own data folder, its own port, and what its processes cost."""

import os
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from processes import DidNotStart, free_ports

from sagagen.runtime.process.postgres_programs import Programs, user_for_server

USER = "postgres"
"""The name of the database's superuser."""
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",  # no checkpoint in the middle of a round
}
START_WITHIN_S = 20.0


@cache
def _programs() -> Programs:
    return Programs.find()


def binary(name: str) -> str:
    """Of the programs that the product finds. Raises NoPostgres."""
    return _programs().path(name)


def make_server(folder: Path, port: int) -> "PostgresServer":
    """Its data are made in a folder that is made too; whoever asks for it starts its command."""
    folder.mkdir()
    if user := user_for_server():
        os.chown(folder, user.pw_uid, user.pw_gid)
        folder.parent.chmod(0o711)  # a temporary folder, which others may pass on the way to what is theirs
    return PostgresServer(folder, port)


class PostgresServer:
    """Made by `running`, which starts it, or by `make_server`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._data = folder / "data"
        words = ("-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        self._run("initdb", "-D", str(self._data), *words)
        self.pid = 0

    @property
    def command(self) -> list[str]:
        options = [word for name, value in OPTIONS.items() for word in ("-c", f"{name}={value}")]
        place = ("-D", str(self._data), "-p", str(self.port), "-k", str(self._folder))
        return [*_as_user(), binary("postgres"), *place, *options]

    @classmethod
    @contextmanager
    def running(cls, under: Path | None) -> Generator["PostgresServer"]:
        """A server with its data below a folder, by default the system's for temporary files, until the block ends."""
        with tempfile.TemporaryDirectory(prefix="bench-postgres-", dir=under) as name:
            server = make_server(Path(name) / "server", free_ports(1)[0])
            log = Path(name) / "log"
            with log.open("ab") as output:
                process = subprocess.Popen(server.command, stdout=output, stderr=output, cwd=server._folder)
            server.pid = process.pid
            try:
                server.await_answer()
                yield server
            finally:
                server._run("pg_ctl", "stop", "-D", str(server._data), "-m", "immediate", "-w")
                process.wait()

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def sql(self, text: str, database: str = "postgres") -> str:
        """What psql prints, without headings; each line of `text` that ends with a semicolon is a transaction."""
        return run_sql(self.url(database), text)

    def make_database(self, name: str) -> str:
        """Its URL."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def cpu_s(self) -> tuple[float, float]:
        """Seconds of CPU so far: of the processes that serve connections, and of the others. To the nanosecond.

        What a process did that has ended is not in it.
        """
        main = self.pid
        served = others = 0.0
        for pid in Path(f"/proc/{main}/task/{main}/children").read_text().split():
            title = _read(f"/proc/{pid}/cmdline").replace("\0", " ")
            spent = int((_read(f"/proc/{pid}/schedstat").split() or ["0"])[0]) / 1e9
            if "127.0.0.1(" in title:  # "postgres: user database 127.0.0.1(port) state"
                served += spent
            else:
                others += spent
        return served, others

    def await_answer(self) -> None:
        """Raises DidNotStart."""
        give_up_at = time.monotonic() + START_WITHIN_S
        command = [binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while time.monotonic() < give_up_at:
            if subprocess.run(command, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise DidNotStart(f"PostgreSQL does not answer on port {self.port}")

    def _run(self, program: str, *arguments: str) -> None:
        _output([*_as_user(), binary(program), *arguments], cwd=self._folder)


def run_sql(url: str, text: str) -> str:
    """As `PostgresServer.sql`."""
    words = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url)
    return _output([binary("psql"), *words], given=text)


def _output(command: Sequence[str], *, given: str = "", cwd: Path | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode:
        raise DidNotStart(f"{command} failed: {done.stderr or done.stdout}")
    return done.stdout.strip()


def _as_user() -> list[str]:
    """PostgreSQL does not run as root."""
    user = user_for_server()
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
