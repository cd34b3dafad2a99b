"""betterproto2's compiler as a process. Starting it takes half a second, so it may be started before it is needed.

This module has no slow imports, so that the compiler can start before everything else.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from sagagen.emit.layout import environment, write_settings

COMPILER = Path(__file__).with_name("message_compiler.py")
"""A program: importing it would be slow, and nothing here needs it."""


class CompilerError(Exception):
    """betterproto2's compiler failed: a mistake in this program or in the compiler, not in the contract."""


class Compiler:
    """The compiler, started and waiting for its one request.

    It has a process and a folder of its own: it reads ruff's settings and writes to the current folder, prints what it
    does, calls the ruff that it finds on PATH, and its output depends on the order of sets.
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
    """The compiler that was started before, or a new one."""
    return _spare.pop() if _spare else Compiler()


@contextmanager
def spare_compiler() -> Generator[Callable[[], None]]:
    """Yields a function to call when messages may soon need compiling. An unused compiler is stopped at the end."""

    def prepare() -> None:
        if not _spare:
            _spare.append(Compiler())

    try:
        yield prepare
    finally:
        while _spare:
            _spare.pop().stop()
