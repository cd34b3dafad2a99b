"""The generator's tools, for many contracts: each does what it does for one, and none starts more often than it must.

That is half of what a run over the corpus would take. What is emitted is the same: tests/emit, and `sagagen generate
--check` on the shop, have the tools started as a user has.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

from sagagen.contract import loading, resolving
from sagagen.contract.built import Built, Digests
from sagagen.contract.compiling import Known
from sagagen.contract.loading import Loading
from sagagen.emit import compiler_process
from sagagen.emit.layout import environment, write_settings

REQUEST, RESPONSE, SAID = "request", "response", "said"


@contextmanager
def shared_tools() -> Generator[None]:
    """For all that is checked and generated meanwhile."""
    server = CompilerServer()
    compiler, buf = partial(ForkedCompiler, server), BufOnce()
    try:
        with (
            patch.object(compiler_process, "Compiler", compiler),
            patch.object(loading, "loading", buf.loading),  # where generate finds it
            patch.object(resolving, "loading", buf.loading),  # where check does
        ):
            yield
    finally:
        server.close()


class BufOnce:
    """buf compiles and lints what `check` reads; `generate`, right after it, knows what came of that.

    As it does where an earlier run has left it in `.sagagen_cache`.
    """

    def __init__(self) -> None:
        self._loading = loading.loading
        self._built: dict[str, Built] = {}

    @contextmanager
    def loading(
        self, root: Path, before: Built | None = None, now: Digests | None = None
    ) -> Generator[Loading]:
        contract = _digest(root)
        if contract in self._built:
            yield Loading(root, Known(self._built[contract]))
            return
        with self._loading(root, before, now) as started:
            yield started
            if built := started.built({}):
                self._built[contract] = built


def _digest(root: Path) -> str:
    """Of all that buf reads."""
    found = hashlib.sha256(str(root).encode())
    for path in sorted([root / "buf.yaml", *(root / "contracts").rglob("*")]):
        if path.is_file():
            found.update(f"{path}\0".encode() + path.read_bytes())
    return found.hexdigest()


class CompilerServer:
    """A process that has imported the message compiler, which takes longer than what it does: a fork for each request.

    As a process of its own does (emit/compiler_process.py), each fork answers one request, in a folder of its own.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(compiler_process.COMPILER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )

    def answer(self, request: bytes) -> bytes:
        """An encoded CodeGeneratorResponse for an encoded CodeGeneratorRequest. Raises CompilerError."""
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_settings(folder)
            (folder / REQUEST).write_bytes(request)
            self._process.stdin.write(f"{folder}\n")
            self._process.stdin.flush()
            if self._process.stdout.readline() != "0\n":
                raise compiler_process.CompilerError((folder / SAID).read_text("utf-8", errors="replace"))
            return (folder / RESPONSE).read_bytes()

    def close(self) -> None:
        self._process.communicate()


class ForkedCompiler:
    """In place of a process of its own: the server's next fork."""

    def __init__(self, server: CompilerServer) -> None:
        self.answer = server.answer

    def stop(self) -> None:
        """Nothing runs before it is asked."""


def serve(program: str) -> None:
    """In the server's process, until its input ends."""
    spec = importlib.util.spec_from_file_location("message_compiler", program)
    assert spec
    assert spec.loader
    compiler = importlib.util.module_from_spec(spec)
    sys.modules["message_compiler"] = compiler  # dataclasses look their module up there
    spec.loader.exec_module(compiler)
    compiler.mend()
    for line in sys.stdin:
        process = os.fork()
        if not process:
            _answer_one(Path(line.rstrip("\n")), compiler.main)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _answer_one(folder: Path, main: Callable[[], None]) -> None:
    """In the fork, which ends here."""
    code = 1
    try:
        os.chdir(folder)
        for descriptor, name in enumerate((REQUEST, RESPONSE, SAID)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), descriptor)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        main()
        sys.stdout.flush()
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
