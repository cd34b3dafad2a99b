"""A process that has imported everything but the project's code, and forks when it is told to.

Importing takes most of a start, and nearly all of it is the same each time. `sagagen up --watch` keeps such a process,
and starts each version of the project as a child of it; a child has the same lifeline as one of a local mesh, on which
it also says that the project's code can be used (`Lifeline.tell_prepared`).

It runs nothing of its own beside: a process with threads could not be forked safely.
"""

import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from sagagen.runtime.process.supervisor import Lifeline

WARM = "SAGAGEN_WARM_FD"
"""Environment variable that tells such a process the number of its end of the socket pair."""
FIRST, AGAIN = "first", "again"
"""What a child is told, as `Lifeline.word`: the first one says what can be tried."""
STOP_S = 3.0
"""The grace period of a child, in seconds. Two of them are for files to close: requests under way have one."""
_MODULES = (
    "sagagen.runtime.process.embedded",
    "sagagen.runtime.process.starting",
    "sagagen.runtime.edge.http.protocol",
    "sagagen.runtime.sqlite.queued",
    "uvicorn.lifespan.off",
    # What generated code and handlers import.
    "sagagen.runtime.wire",
    "sagagen.runtime.expression",
    "sagagen.runtime.scope",
    "sagagen.runtime.model.compatibility",
    "sagagen.runtime.messages.exact_times",
    "sagagen.runtime.messages.wire_types",
    "dateutil.parser",
    "zoneinfo",
)
_COMMAND_BYTES = 64
"""Of each command, filled up with spaces."""
_IS_WARM = b"W"


def as_warm(*also: str) -> Lifeline | None:
    """Become such a process, if this one was started as one; `also` are modules that a child needs besides.

    Returns in its children only, each with its lifeline. None in any other process.
    """
    text = os.environ.pop(WARM, "")
    if not text:
        return None
    commands = socket.socket(fileno=int(text))
    os.set_inheritable(commands.fileno(), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's alone
    for module in (*_MODULES, *also):
        importlib.import_module(module)
    gc.freeze()  # what is shared with children is not written to by their collectors
    return _Forks(commands).serve()


class _Forks:
    """The side of the process that forks."""

    def __init__(self, commands: socket.socket) -> None:
        self._commands = commands
        self._children: set[int] = set()

    def serve(self) -> Lifeline:
        """Carry out commands until there are no more; then the process ends. Returns in children."""
        self._commands.send(_IS_WARM)
        while True:
            command, files, _, _ = socket.recv_fds(
                self._commands, _COMMAND_BYTES, 1, flags=socket.MSG_WAITALL
            )
            if not command:
                self._end()
            self._reap()
            match command.decode().split():
                case ["fork", word]:
                    pid = os.fork()
                    if pid == 0:
                        self._commands.close()
                        # Python knows bytecode by the second and the length of its source: of two saves within a
                        # second the next child would run the first.
                        sys.dont_write_bytecode = True
                        return Lifeline(files[0], is_prepared_first=True, word=word)
                    os.close(files[0])
                    self._children.add(pid)
                    self._commands.send(b"%d" % pid)
                case ["signal", pid, number] if int(pid) in self._children:
                    os.kill(int(pid), int(number))  # not reaped yet, so it is still the same process
                case _:
                    pass

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._children.discard(pid)

    def _end(self) -> NoReturn:
        os._exit(0)  # nothing is open; children see that their lifelines end


class Warm:
    """The other side: who tells it what to do. Made by `start`."""

    def __init__(self, commands: socket.socket, process: "subprocess.Popen[bytes]") -> None:
        self._commands = commands
        self._process = process

    @classmethod
    def start(cls, command: Sequence[str]) -> "Warm":
        """Start it by the command line that makes it one."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                command,
                env={**os.environ, WARM: str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C reaches the parent alone
            )
        return cls(ours, process)

    def wait(self) -> bool:
        """Block until everything is imported; false if the process ends before. Call it once, before `fork`."""
        return self._commands.recv(1) == _IS_WARM

    def fork(self, word: str) -> tuple[int, socket.socket]:
        """A child's process id, and this side of its lifeline. `word`: what its Lifeline has as that.

        Raises OSError if the process is gone.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._commands, [_command("fork", word)], [theirs.fileno()])
            answer = self._commands.recv(_COMMAND_BYTES)
        if not answer:
            raise ConnectionError("the process that starts the mesh has ended")
        return int(answer), ours

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a child, if it still runs."""
        with suppress(OSError):
            self._commands.send(_command("signal", str(pid), str(int(number))))

    def close(self) -> None:
        """It ends; its children end as they see fit."""
        self._commands.close()
        self._process.wait()


def _command(*words: str) -> bytes:
    return " ".join(words).encode().ljust(_COMMAND_BYTES)
