"""The generator's tools, for many contracts: each does what it does for one, and none does the same work twice.

buf and the message compiler are functions of what they are given, and most tests give them what another test has given
them before. They are more than half of what a run over all tests would take. What is emitted is the same:
tests/golden compares, and whatever starts `sagagen` as a process has the tools started as a user has.
"""

import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

from sagagen.cache import Cache
from sagagen.contract import buf
from sagagen.emit import compiler_process
from sagagen.emit.layout import environment, write_settings

REQUEST, RESPONSE, SAID = "request", "response", "said"
_OWN_RUN, _OWN_COMPILER = buf.Workspace.run, compiler_process.Compiler


@contextmanager
def shared_tools(folder: Path) -> Generator[None]:
    """For all that is checked and generated meanwhile in this process. `folder` may be shared with other processes."""
    memory = Cache(folder, "")
    server = CompilerServer(memory)

    def run(workspace: buf.Workspace, *arguments: str) -> "buf.Work | RememberedWork":
        return run_once(memory, workspace, *arguments)

    try:
        with (
            patch.object(compiler_process, "Compiler", partial(ForkedCompiler, server)),
            patch.object(buf.Workspace, "run", run),
        ):
            yield
    finally:
        server.close()


@contextmanager
def own_tools() -> Generator[None]:
    """Started for each contract, as a user has them."""
    with (
        patch.object(compiler_process, "Compiler", _OWN_COMPILER),
        patch.object(buf.Workspace, "run", _OWN_RUN),
    ):
        yield


@dataclass(frozen=True)
class Answer:
    """What buf said and wrote."""

    code: int
    output: str
    errors: str
    image: bytes | None


@dataclass
class RememberedWork:
    """What `buf.Work` is, for what may be known."""

    memory: Cache
    key: str
    image: Path | None
    known: Answer | None
    started: buf.Work | None = None

    def findings(self) -> list[buf.Finding]:
        if self.known is None:
            self.known = self._made()
        elif self.image and self.known.image is not None:
            self.image.write_bytes(self.known.image)
        return buf.findings_of(self.known.code, self.known.output, self.known.errors)

    def _made(self) -> Answer:
        assert self.started
        output, errors = self.started.process.communicate()
        image = self.image.read_bytes() if self.image and self.image.exists() else None
        answer = Answer(self.started.process.returncode, output, errors, image)
        if answer.code in {0, buf.FINDINGS}:  # what fails otherwise names folders
            self.memory.put(self.key, pickle.dumps(answer))
        return answer

    def stop(self) -> None:
        if self.started:
            self.started.stop()


def run_once(memory: Cache, workspace: buf.Workspace, *arguments: str) -> "buf.Work | RememberedWork":
    """As `Workspace.run`, where buf has not been asked this before."""
    buf.buf_command()  # raises where there is none
    if not workspace.environment.get("BUF_CACHE_DIR", "").startswith(str(workspace.folder)):
        return _OWN_RUN(workspace, *arguments)  # it may ask the registry
    image = next((Path(to) for option, to in pairwise(arguments) if option == "-o"), None)
    try:
        key = memory.key("buf", *_all_that_buf_reads(workspace.folder, arguments, image))
    except OSError:  # a link to nowhere, say: that is buf's to find
        return _OWN_RUN(workspace, *arguments)
    found = memory.get(key)
    known: Answer | None = pickle.loads(found) if found else None
    return RememberedWork(memory, key, image, known, None if known else _OWN_RUN(workspace, *arguments))


def _all_that_buf_reads(
    folder: Path, arguments: tuple[str, ...], image: Path | None
) -> Generator[str | bytes]:
    for argument in arguments:
        if image and argument == str(image):
            continue
        # What is compared with is an image in a folder of its own.
        yield (
            Path(argument).read_bytes()
            if argument.endswith(".binpb") and Path(argument).is_file()
            else argument
        )
    for inside, _, names in sorted(os.walk(folder, followlinks=True)):
        for name in sorted(names):
            path = Path(inside, name)
            if path.suffix in {".proto", ".yaml", ".lock", ".work"}:
                yield str(path.relative_to(folder))
                yield path.read_bytes()


class CompilerServer:
    """A process that has imported the message compiler, which takes longer than what it does: a fork for each request.

    As a process of its own does (emit/compiler_process.py), each fork answers one request, in a folder of its own.
    """

    def __init__(self, memory: Cache) -> None:
        self._memory = memory
        self._one_at_a_time = threading.Lock()

    @cached_property
    def _process(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-P", __file__, str(compiler_process.COMPILER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )

    def answer(self, request: bytes) -> bytes:
        """An encoded CodeGeneratorResponse for an encoded CodeGeneratorRequest. Raises CompilerError."""
        key = self._memory.key("messages", request)
        known = self._memory.get(key)
        if known is None:
            with self._one_at_a_time:
                known = self._compiled(request)
            self._memory.put(key, known)
        return known

    def _compiled(self, request: bytes) -> bytes:
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
        if "_process" in self.__dict__:
            self._process.communicate()


@dataclass(frozen=True)
class ForkedCompiler:
    """In place of a process of its own: the server's next fork."""

    server: CompilerServer = field(repr=False)

    def answer(self, request: bytes) -> bytes:
        return self.server.answer(request)

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
