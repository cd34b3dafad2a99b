"""`sagagen up --mesh`: one child process for each service and one for the gateway.

Parent and child share a socket pair. The child waits for a byte before it opens anything, and writes one when it is
ready; either side reads the end of the stream when the other is gone, so that children end with their parent even when
it is killed with -9. All are started at once, since importing takes most of a start; but the gateway opens when the
services are ready, so that sagas that resume do not spend their attempts on services that are still starting.
Each child is a session of its own: Ctrl-C reaches the parent alone, and the order of stopping is the parent's.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from sagagen.runtime.startup import StartupError

LIFELINE = "SAGAGEN_LIFELINE_FD"
"""Environment variable that tells a child the number of its end of the socket pair."""
_RESTART_FIRST_S = 0.2
_RESTART_MAX_S = 5.0
_KILLED_AFTER_S = 2.0
"""How long after its grace period a child is killed that has not ended by itself."""
_KILLED_S = 2.0
"""How long a killed process is waited for."""
_logger = structlog.stdlib.get_logger("sagagen.supervisor")


class ChildFailed(StartupError):
    """A child ended before it was ready; it has said why on stderr."""

    def __init__(self, name: str, returncode: int) -> None:
        super().__init__(f"{name} did not start (exit {returncode})")


@dataclass(frozen=True, slots=True)
class ChildSpec:
    name: str
    environment: Mapping[str, str]


class Child:
    """One process, kept running until told to stop."""

    def __init__(self, spec: ChildSpec, root: Path) -> None:
        self._spec = spec
        self._root = root
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def start(self, after: "asyncio.Future[Any] | None" = None) -> None:
        """Returns when the child is ready, not before `after` is done. Raises ChildFailed if it ends before."""
        ours, theirs = socket.socketpair()
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sagagen", "up", "--only", self._spec.name),
                *("--project", str(self._root)),
                env={**self._spec.environment, LIFELINE: str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                cwd=self._root,
                start_new_session=True,  # Ctrl-C is the parent's alone, from the first moment on
            )
        if after is not None:
            await after
        self._writer.write(b"G")
        if not await self._is_heard():
            raise ChildFailed(self._spec.name, await self._process.wait())

    async def _is_heard(self) -> bool:
        """It says that it is ready; false if it ends before."""
        try:
            return bool(await self._reader.read(1))
        except ConnectionError:
            return False

    async def keep(self) -> None:
        """Start it again whenever it ends by itself, with growing pauses; returns once it was stopped."""
        pause_s = _RESTART_FIRST_S
        while True:
            returncode = await self._ended()
            if self._stopping.is_set():
                return
            _logger.warning("process ended, starting it again", process=self._spec.name, exit=returncode)
            if await self._stopped_within(pause_s):
                return
            pause_s = _RESTART_FIRST_S if await self._restarted() else min(pause_s * 2, _RESTART_MAX_S)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and after `grace_s` seconds SIGKILL."""
        self._stopping.set()
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            _logger.error("process did not stop in time, killing it", process=self._spec.name)
            self._process.kill()
            await self._killed()
        finally:
            self._writer.close()

    async def _killed(self) -> None:
        """A process that is in the middle of a system call ends only after it."""
        assert self._process is not None, "only a process that was started is killed"
        try:
            await asyncio.wait_for(self._process.wait(), _KILLED_S)
        except TimeoutError:
            _logger.error("process hangs in the system, leaving it", process=self._spec.name)

    async def _restarted(self) -> bool:
        try:
            await self.start()
        except ChildFailed as error:
            _logger.error("process does not start", process=self._spec.name, error=str(error))
            return False
        return True

    async def _stopped_within(self, pause_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), pause_s)
        except TimeoutError:
            return False
        return True

    async def _ended(self) -> int:
        assert self._process is not None, "keep() follows start()"
        returncode = await self._process.wait()
        self._writer.close()
        return returncode


def longest_stop_s(grace_s: float) -> float:
    """How long `Child.stop` takes at most, in seconds, as `supervise` calls it."""
    return grace_s + _KILLED_AFTER_S + _KILLED_S


async def supervise(
    services: Sequence[Child], gateway: Child, *, stop: asyncio.Event, ready: asyncio.Event, grace_s: float
) -> None:
    """Start services, then the gateway; keep them until `stop` is set; stop in the opposite order.

    Sets `ready` once all of them are. Raises ChildFailed if one does not start at first, unless `stop` was set before.
    """
    everyone = [*services, gateway]
    try:
        if not await _started(services, gateway, stop):
            return
        ready.set()
        async with asyncio.TaskGroup() as group:
            for child in everyone:
                group.create_task(child.keep())
            await stop.wait()
            await gateway.stop(grace_s + _KILLED_AFTER_S)
            for service in services:
                group.create_task(service.stop(grace_s + _KILLED_AFTER_S))
    finally:
        await asyncio.gather(*(child.stop(grace_s) for child in everyone))


async def _started(services: Sequence[Child], gateway: Child, stop: asyncio.Event) -> bool:
    """False if `stop` is set before everyone is ready: then nobody waits for those that are not."""
    services_ready = asyncio.gather(*(service.start() for service in services))
    starting = asyncio.gather(services_ready, gateway.start(after=services_ready))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return False
    stopping.cancel()
    await starting
    return True


class Lifeline:
    """A child's end of the socket pair; does nothing in a process that was started by hand."""

    def __init__(self, fd: int | None, *, is_prepared_first: bool = False, word: str = "") -> None:
        """`is_prepared_first`: the parent also wants to know when the project's code can be used."""
        self._socket = socket.socket(fileno=fd) if fd is not None else None
        self._is_prepared_first = is_prepared_first
        self.word = word
        """What the parent had to say besides."""

    @classmethod
    def from_environment(cls) -> "Lifeline":
        text = os.environ.pop(LIFELINE, "")
        if not text:
            return cls(None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.set_inheritable(int(text), False)
        return cls(int(text))

    @property
    def is_attached(self) -> bool:
        return self._socket is not None

    def wait_until_told(self) -> bool:
        """Block until the parent lets this process open; false if the parent is gone."""
        return self._socket is None or bool(self._socket.recv(1))

    def tell_prepared(self) -> None:
        """The project's code is imported, and fits together."""
        if self._socket is not None and self._is_prepared_first:
            self._socket.send(b"P")

    def tell_ready(self) -> None:
        if self._socket is not None:
            self._socket.send(b"R")

    def on_parent_gone(self, stop: asyncio.Event) -> None:
        """Set `stop` when the parent has ended, however it ended."""
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._read, stop)

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    def _read(self, stop: asyncio.Event) -> None:
        assert self._socket is not None
        if not self._socket.recv(1):
            asyncio.get_running_loop().remove_reader(self._socket)
            stop.set()
