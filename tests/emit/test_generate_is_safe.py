"""`sagagen generate` as a process: killed at any moment, beside hand edits, and watching for hours."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import pytest
from project_copy import run_generate
from stack import heed_interrupts
from thorough import GENERATE_KILLS
from type_checker import type_errors
from waiting import LIMIT_S, eventually

from sagagen.workspace.tree import TEMPORARY

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "sagagen", "generate"]
PROTO = Path("contracts/tiny/v1/counter.proto")
MESSAGE = Path("generated/pb/tiny/v1/__init__.py")
HANDLER = Path("handlers/counter.py")
RPC = "  rpc Add(AddRequest) returns (AddResponse);\n"
MORE = "  rpc Take(TakeRequest) returns (TakeResponse);\n"
MESSAGES = "\nmessage TakeRequest {}\n\nmessage TakeResponse {}\n"


def everything(root: Path) -> dict[str, bytes]:
    files = (path for folder in ("generated", "handlers", "gateway") for path in (root / folder).rglob("*"))
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }


def add_an_rpc(root: Path) -> None:
    text = (root / PROTO).read_text()
    assert RPC in text
    (root / PROTO).write_text(text.replace(RPC, RPC + MORE) + MESSAGES)


def test_a_run_that_is_killed_at_any_moment_costs_nothing(tiny: Path) -> None:
    before = everything(tiny)
    contract = (tiny / PROTO).read_text()
    add_an_rpc(tiny)
    began = time.monotonic()
    assert run_generate(tiny).exit_code == 0
    took_s, after = time.monotonic() - began, everything(tiny)
    moments = random.Random(7)
    for _ in range(GENERATE_KILLS):
        (tiny / PROTO).write_text(contract)
        (tiny / HANDLER).write_bytes(before[HANDLER.as_posix()])
        assert run_generate(tiny).exit_code == 0
        add_an_rpc(tiny)
        process = subprocess.Popen(
            [*COMMAND, "--project", str(tiny)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.5, 1.5) * took_s)  # it is a process that has to start, too
        process.kill()
        process.wait()
        for name, content in everything(tiny).items():
            if not name.endswith(TEMPORARY):
                assert content in (before.get(name), after.get(name)), f"{name} is neither old nor new"
        assert run_generate(tiny).exit_code == 0
        assert everything(tiny) == after


def test_a_hand_edit_is_named_and_kept_until_it_is_forced(tiny: Path) -> None:
    edited = (tiny / MESSAGE).read_text() + "\n# mine\n"
    (tiny / MESSAGE).write_text(edited)
    add_an_rpc(tiny)
    for options in ((), ("--check",)):
        refused = run_generate(tiny, *options)
        assert refused.exit_code == 1
        assert f"edited   {MESSAGE.as_posix()}\n" in refused.output
    assert "--force" in refused.output
    assert (tiny / MESSAGE).read_text() == edited
    assert "take" not in (tiny / HANDLER).read_text(), "nothing else was written either"
    assert run_generate(tiny, "--force").exit_code == 0
    assert "# mine" not in (tiny / MESSAGE).read_text()
    assert run_generate(tiny, "--check").exit_code == 0


class Watching:
    """A run of `--watch`, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def until(self, said: str) -> str:
        """All lines up to the first with this text."""
        lines = ""
        while said not in lines:
            try:
                lines += self._lines.get(timeout=LIMIT_S)
            except Empty:
                raise AssertionError(f"{said!r} is not said, but: {lines}") from None
        return lines


@contextmanager
def watching(root: Path) -> Generator[Watching]:
    with subprocess.Popen(
        [*COMMAND, "--watch", "--project", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heed_interrupts,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield Watching(process)
        finally:
            process.kill()


def test_a_watch_follows_changes_and_lives_through_broken_contracts(tiny: Path) -> None:
    contract = (tiny / PROTO).read_text()
    with watching(tiny) as watch:
        watch.until("Ctrl-C stops")
        add_an_rpc(tiny)
        said = watch.until("Ctrl-C stops")
        assert " changed\n" in said
        assert "added    handlers/counter.py: take" in said
        assert "class TakeRequest" in (tiny / MESSAGE).read_text()
        (tiny / PROTO).write_text(contract.replace("message ", "mesage ", 1))
        assert "error[SG001]" in watch.until("Ctrl-C stops")
        assert "class TakeRequest" in (tiny / MESSAGE).read_text(), "a broken contract changes nothing"
        (tiny / PROTO).write_text(contract)
        watch.until("Ctrl-C stops")
        message = (tiny / MESSAGE).read_text
        eventually("the message to go", message, lambda text: "class TakeRequest" not in text)
        assert "def take" in (tiny / HANDLER).read_text(), "what is yours stays"
        watch.process.send_signal(signal.SIGINT)
        watch.until("stopped watching")
        assert watch.process.wait(LIMIT_S) == 0


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_a_watch_survives_what_fails_in_the_generator_itself(tiny: Path) -> None:
    """Here its message compiler is killed, as a machine without memory does."""
    with watching(tiny) as watch:
        watch.until("Ctrl-C stops")
        (compiler,) = eventually("a compiler in waiting", lambda: children(watch.process))
        os.kill(compiler, signal.SIGKILL)
        add_an_rpc(tiny)
        said = watch.until("Ctrl-C stops")
        assert "CompilerError" in said
        assert "this is a fault of sagagen, not of the contract" in said
        assert "class TakeRequest" not in (tiny / MESSAGE).read_text()
        (tiny / PROTO).write_text((tiny / PROTO).read_text() + "\nmessage Another {}\n")
        watch.until("Ctrl-C stops")
        assert "class TakeRequest" in (tiny / MESSAGE).read_text()
        assert watch.process.poll() is None


def test_a_watch_goes_on_after_a_service_without_an_rpc(tiny: Path) -> None:
    """What `sagagen add service` leaves, until its first rpc is added: that one becomes a method."""
    with watching(tiny) as watch:
        watch.until("Ctrl-C stops")
        added = [sys.executable, "-m", "sagagen", "add", "service", "shipping", "--project", str(tiny)]
        assert subprocess.run(added, check=False, capture_output=True).returncode == 0
        handler = tiny / "handlers" / "shipping.py"
        eventually("the handler", handler.is_file)
        rpc = [*added[:-4], "rpc", "shipping/CreateShipment", "--project", str(tiny)]
        assert subprocess.run(rpc, check=False, capture_output=True).returncode == 0
        eventually("its first method", handler.read_text, lambda text: "async def create_shipment" in text)
    assert type_errors(tiny) == []
