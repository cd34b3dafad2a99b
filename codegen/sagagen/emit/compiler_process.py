"""betterproto2's compiler as a process, which takes half a second to start: so it may be started before it is needed.

Nothing is imported here that takes long to import, so that it can be started before everything else.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from sagagen.emit.layout import environment, write_settings

COMPILER = Path(__file__).with_name("message_compiler.py")
"""A program: importing it would take long, and nothing here needs it."""


class CompilerError(Exception):
    """betterproto2's compiler failed: a mistake in this program, or in it; not in the contract."""


class Compiler:
    """The compiler, started, which waits for its one request.

    In a process and a folder of its own: it reads ruff's settings and writes to the current folder, prints what it
    does, calls the ruff that it finds on PATH, and the order in which it iterates over sets decides what comes out.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        write_settings(Path(self._folder.name))
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(COMPILER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder.name,
            env=environment(),
        )

    def answer(self, request: bytes) -> bytes:
        """An encoded CodeGeneratorResponse for an encoded CodeGeneratorRequest. Raises CompilerError."""
        with self._folder:
            output, said = self._process.communicate(request)
        if self._process.returncode:
            raise CompilerError(said.decode(errors="replace"))
        return output

    def stop(self) -> None:
        with self._folder:
            self._process.kill()
            self._process.communicate()


_spare: list[Compiler] = []


def compiler() -> Compiler:
    """The one that was started before, or a new one."""
    return _spare.pop() if _spare else Compiler()


@contextmanager
def spare_compiler() -> Generator[Callable[[], None]]:
    """Call what it gives when messages may soon have to be compiled. What nobody needed is stopped at the end."""

    def prepare() -> None:
        if not _spare:
            _spare.append(Compiler())

    try:
        yield prepare
    finally:
        while _spare:
            _spare.pop().stop()
