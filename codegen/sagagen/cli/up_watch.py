"""`sagagen up --watch`: generate and start again whenever the contract or the project's code is saved.

Theory of operation. This process watches and generates; it runs nothing of the mesh. A process of its own has imported
the runtime (`runtime/process/warm.py`) and forks a child for each version of the project:

1. the child imports the project's code, and says whether it can be used. If not, the version before goes on;
2. the child before stops: no new requests, those under way have DRAIN_S, and sagas are in the log;
3. the child opens databases and ports, and is ready.

Whatever is saved meanwhile begins this anew: the child that does not serve yet is dropped.
"""

import asyncio
import importlib.util
import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import structlog

from sagagen.cli.generate_watch import generate_again, surviving
from sagagen.cli.watching import changes
from sagagen.contract.buf import CONTRACTS
from sagagen.emit.compiler_process import spare_compiler
from sagagen.emit.paths import GATEWAY, GENERATED, HANDLERS
from sagagen.runtime.process.warm import AGAIN, FIRST, STOP_S, Warm
from sagagen.workspace.no_change import unchanged
from sagagen.workspace.snapshot import Snapshot, open_cache, snapshot
from sagagen.workspace.writing import Changes

BURST_MS = 300
"""How long saves that go on without a pause count as one, in milliseconds."""
KILLED_AFTER_S = 1.0
"""How long after its grace period a child is killed, in seconds. One at a breakpoint has no grace period."""
_WATCHED = (CONTRACTS, HANDLERS, GATEWAY)
_SHOWN = 3
_logger = structlog.stdlib.get_logger("sagagen.watch")


def watch_and_run(root: Path, arguments: Sequence[str], *, is_debugging: bool) -> None:
    """Returns on Ctrl-C. `arguments`: what makes `sagagen up` the warm process."""
    with spare_compiler() as prepare, suppress(KeyboardInterrupt):
        warm = Warm.start([sys.executable, "-m", "sagagen", "up", *arguments])
        try:
            asyncio.run(_Watch(root, warm, prepare, is_debugging=is_debugging).run())
        finally:
            warm.close()


class _Child:
    """One version of the project, as a process."""

    def __init__(self, warm: Warm, word: str) -> None:
        self._warm = warm
        self._pid, self._line = warm.fork(word)
        self._line.setblocking(False)

    async def is_told(self) -> bool:
        """Wait until the child says that it is prepared, and later that it is ready; false if it ends instead."""
        try:
            return bool(await asyncio.get_running_loop().sock_recv(self._line, 1))
        except ConnectionError:
            return False

    def open(self) -> None:
        """Let it open databases and ports."""
        with suppress(OSError):
            self._line.send(b"G")

    async def stop(self, within_s: float) -> None:
        """Let it end; kill it if it takes longer. May be called again."""
        self._warm.signal(self._pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                await self._ended()
        except TimeoutError:
            self.kill()
            await self._ended()
        self._line.close()

    def kill(self) -> None:
        self._warm.signal(self._pid, signal.SIGKILL)

    async def _ended(self) -> None:
        while await self.is_told():
            pass


class _Watch:
    def __init__(self, root: Path, warm: Warm, prepare: Callable[[], None], *, is_debugging: bool) -> None:
        self._root = root
        self._warm = warm
        self._prepare = prepare
        self._kill_after_s = KILLED_AFTER_S + (0.0 if is_debugging else STOP_S)
        self._child: _Child | None = None
        """The one that serves, or is about to."""
        self._looking: asyncio.Task[None] | None = None
        """Whether that one goes on."""
        self._served: Snapshot = {}
        """The code that it runs."""
        self._generated: Snapshot = {}
        """The contract as it was just before it was generated: what is saved meanwhile is new."""
        self._wanted: Snapshot = {}
        """The code that is about to be served, or is."""
        self._is_announced = False
        self._terminal = _Terminal()

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _cancel, asyncio.current_task())
        saved: asyncio.Queue[list[str]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        threading.Thread(target=_report, args=(self._root, loop, saved), daemon=True).start()
        turn: asyncio.Task[None] | None = None
        try:
            self._generate(snapshot(self._root))
            if not await asyncio.to_thread(self._warm.wait):
                raise click.ClickException("the mesh can't be started: the runtime can't be imported")
            while True:
                paths = await saved.get()
                if turn and not turn.done() and self._is_wanted(snapshot(self._root)):
                    continue  # what was generated just now, or a file that was saved unchanged
                if turn:
                    turn.cancel()
                    await asyncio.wait({turn})
                turn = asyncio.create_task(self._turn(paths))
        finally:
            if turn:
                turn.cancel()
                await asyncio.wait({turn})
            if self._child:
                _logger.info("stopping")
            await self._stop()

    async def _turn(self, paths: Sequence[str]) -> None:
        """Bring what serves in line with what was saved."""
        with surviving(say=""):
            now = snapshot(self._root)
            has_new_contract = _part(now, CONTRACTS) != self._generated
            if has_new_contract:
                self._tell(paths)
                self._generate(now)
                now = snapshot(self._root)
            code = _code(now)
            if _handlers(self._wanted) - _handlers(code) and not has_new_contract:
                self._generate(now)  # one that is gone is written anew
                now = snapshot(self._root)
                code = _code(now)
            self._wanted = code
            if code != self._served and (self._root / GENERATED / "mesh.py").exists():
                if not has_new_contract and self._is_announced:
                    self._tell(paths)
                if await self._replace(code, paths) and not has_new_contract:
                    # What the contract asks of handlers: after they are served, since it takes as long as all the rest.
                    self._generate(now)

    def _is_wanted(self, now: Snapshot) -> bool:
        return _code(now) == self._wanted and _part(now, CONTRACTS) == self._generated

    async def _replace(self, code: Snapshot, paths: Sequence[str]) -> bool:
        """Start the project as it is now; false if that can't be."""
        _forget_compiled(self._root, self._served, code)
        child = _Child(self._warm, AGAIN if self._is_announced else FIRST)
        try:
            if not await child.is_told():
                self._served = {}
                goes_on = "the version before goes on until" if self._child else "nothing runs until"
                _logger.warning(f"{goes_on} that is mended")
                return False
            await self._stop()
            self._child, self._served = child, code
        finally:
            if self._child is not child:
                child.kill()
        child.open()
        if not await child.is_told():
            self._child, self._served = None, {}
            _logger.warning("nothing runs until that is mended")
            return False
        if self._is_announced:
            _logger.info(f"served {_since(self._root, paths):.2f} s after the save")
        self._is_announced = True
        self._looking = asyncio.create_task(self._look_after(child))
        return True

    async def _look_after(self, child: _Child) -> None:
        """A handler may end the process that it runs in."""
        if not await child.is_told() and self._child is child:
            self._child, self._served = None, {}
            self._terminal.restore()
            _logger.error("the mesh has ended by itself: it starts again with the next save")

    async def _stop(self) -> None:
        """Let the one that serves end, if there is one."""
        if self._looking:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        if self._child:
            await self._child.stop(self._kill_after_s)
            self._child = None
        self._terminal.restore()

    def _generate(self, now: Snapshot) -> None:
        """Bring generated/ and handlers/ in line with the contract. Nothing to do is not worth a word."""
        with surviving(say=""):
            if unchanged(open_cache(self._root, now), now) is None:
                began_s = time.monotonic()
                is_new = self._generated != _part(now, CONTRACTS)
                self._generated = _part(now, CONTRACTS)
                is_whole = generate_again(self._root, now, report=lambda made: _tell_changes(made, began_s))
                if is_new and not is_whole:
                    _logger.warning("generated/ stays as it is until that is mended")
                self._prepare()
        self._generated = _part(now, CONTRACTS)

    def _tell(self, paths: Sequence[str]) -> None:
        paths = [path for path in paths if not (self._root / path).is_dir()]
        shown = ", ".join(paths[:_SHOWN]) + (
            f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        )
        _logger.info(f"saved: {shown}" if shown else "saved")


class _Terminal:
    """As it was: a child that is killed at a prompt leaves it without an echo."""

    def __init__(self) -> None:
        self._attributes: Any = None
        with suppress(termios.error, OSError, ValueError):
            self._attributes = termios.tcgetattr(sys.stdin.fileno())

    def restore(self) -> None:
        if self._attributes is not None:
            with suppress(termios.error, OSError, ValueError):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._attributes)


def _cancel(task: "asyncio.Task[None] | None") -> None:
    if task:
        task.cancel()


def _report(root: Path, loop: asyncio.AbstractEventLoop, saved: "asyncio.Queue[list[str]]") -> None:
    """What is saved, for as long as the process lives."""
    with suppress(RuntimeError):  # the loop has ended
        for paths in changes(root, _WATCHED, burst_ms=BURST_MS):
            loop.call_soon_threadsafe(saved.put_nowait, paths)


def _part(everything: Snapshot, *folders: str) -> Snapshot:
    starts = tuple(f"{folder}/" for folder in folders)
    return {name: digest for name, digest in everything.items() if name.startswith(starts)}


def _code(everything: Snapshot) -> Snapshot:
    """What a running mesh depends on: not the documents and dashboards among the generated files."""
    beside = (f"{GENERATED}/docs/", f"{GENERATED}/deploy/", f"{GENERATED}/manifest.json")
    code = _part(everything, GENERATED, HANDLERS, GATEWAY)
    return {name: digest for name, digest in code.items() if not name.startswith(beside)}


def _handlers(code: Snapshot) -> set[str]:
    return {name for name in code if name.startswith(f"{HANDLERS}/") and name.endswith(".py")}


def _forget_compiled(root: Path, before: Snapshot, now: Snapshot) -> None:
    """Python tells a source from what it compiled by its size and whole seconds: two saves may look the same."""
    for name, digest in now.items():
        if name.endswith(".py") and before.get(name) != digest and before:
            with suppress(OSError):
                os.unlink(importlib.util.cache_from_source(root / name))


def _since(root: Path, paths: Sequence[str]) -> float:
    """Seconds since the first of these files was saved."""
    times = [(root / path).stat().st_mtime for path in paths if (root / path).exists()]
    return max(0.0, time.time() - min(times, default=time.time()))


def _tell_changes(made: Changes, began_s: float) -> None:
    """What a person has to know of it: their own files, and how many others."""
    count = len(made.created) + len(made.updated) + len(made.removed)
    if count:
        files = "1 file" if count == 1 else f"{count} files"
        _logger.info(f"generated: {files} in {time.monotonic() - began_s:.2f} s")
    for path in made.created:
        if not path.startswith(f"{GENERATED}/"):
            _logger.info(f"created {path}: yours to write")
    for handler in made.synced:
        for method in handler.added:
            _logger.info(f"added {method} to {handler.path}: yours to write")
        for method in handler.followed:
            _logger.info(f"{handler.path}: {method} follows the types of the contract")
    for path in made.left:
        _logger.warning(f"left {path}: not written by the generator, or edited since")
    for path in made.busy:
        _logger.warning(f"left {path}: saved in the meantime")
