"""A Restate in memory: a journal that keeps Restate's order of entries, and can end an attempt before any of them.

An entry is a command, or what came of one. `cut` says how many entries an attempt may bring the journal to: the next
one is not recorded, and the attempt ends there, as if its process had been killed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from small_mesh import ManualClock

from sagagen.runtime.restate.invocation import Gone, Mismatch, Refused


@dataclass
class Journal:
    """One invocation, as Restate keeps it."""

    input: bytes
    clock: ManualClock
    orders: deque[bytes] = field(default_factory=deque[bytes])
    """What comes from outside: each once the saga can do nothing else."""
    commands: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    came: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """What came of commands."""
    state: dict[str, bytes] = field(default_factory=dict[str, bytes])
    promises: dict[str, bytes] = field(default_factory=dict[str, bytes])
    wakes_ms: dict[int, int] = field(default_factory=dict[int, int])
    is_over: bool = False
    cut: int | None = None

    @property
    def entries(self) -> int:
        return len(self.commands) + len(self.came)

    def make_room(self) -> None:
        """Raises Gone where the attempt is cut."""
        if self.cut is not None and self.entries >= self.cut:
            raise Gone

    def bring(self, handle: int, value: bytes) -> None:
        self.make_room()
        self.came[handle] = value


class FakeAttempt:
    """Implements `Invocation`."""

    key = "saga"

    def __init__(self, journal: Journal) -> None:
        self.input = journal.input
        self.on_cancel: Callable[[], None] = lambda: None
        self._journal = journal
        self._next = 0
        self._taken: set[int] = set()
        self._known = len(journal.commands)
        self._arrived = asyncio.Event()
        self._proposed: dict[int, bytes] = {}

    @property
    def is_replaying(self) -> bool:
        return self._next < self._known

    def _command(self, kind: str, name: str) -> int:
        handle = self._next
        if handle < self._known:
            if self._journal.commands[handle] != (kind, name):
                raise Mismatch(f"{kind} {name}, and {self._journal.commands[handle]} was recorded")
        else:
            self._journal.make_room()
            self._journal.commands.append((kind, name))
        self._next += 1
        return handle

    def run(self, make: Callable[[], bytes]) -> int:
        handle = self._command("run", "rows")
        if handle not in self._journal.came:
            self._proposed[handle] = make()
        return handle

    def set_state(self, name: str, value: bytes) -> None:
        self._command("set", name)
        self._journal.state[name] = value

    def get_state(self, name: str) -> int:
        raise NotImplementedError

    def clear_state(self, name: str) -> None:
        raise NotImplementedError

    def peek(self, name: str) -> int:
        raise NotImplementedError

    def send(self, service: str, key: str, handler: str, value: bytes) -> None:
        self._command("send", f"{service}/{key}/{handler}")

    def promise(self, name: str) -> int:
        return self._command("promise", name)

    def resolve(self, name: str, value: bytes) -> int:
        handle = self._command("resolve", name)
        if self._journal.promises.setdefault(name, value) != value:
            raise Refused(name)
        return handle

    def sleep(self, milliseconds: int) -> int:
        handle = self._command("sleep", "")
        self._journal.wakes_ms.setdefault(handle, self._journal.clock.ms + milliseconds)
        return handle

    def has_come(self, handle: int) -> bool:
        return handle in self._journal.came and handle not in self._taken

    def take(self, handle: int) -> bytes | None:
        self._taken.add(handle)
        return self._journal.came[handle]

    async def wait(self, *handles: int) -> None:
        await asyncio.sleep(0)
        while not any(map(self.has_come, handles)):
            if any(handle in self._proposed for handle in handles):
                handle = next(handle for handle in handles if handle in self._proposed)
                self._journal.bring(handle, self._proposed.pop(handle))
            else:
                self._time_passes(handles)
            self._tell()
            await asyncio.sleep(0)

    def _time_passes(self, handles: Sequence[int]) -> None:
        """Whatever comes next: what is brought from outside, or the end of a sleep."""
        journal = self._journal
        named = [handle for handle in handles if journal.commands[handle][0] == "promise"]
        slept = [handle for handle in handles if handle in journal.wakes_ms]
        if named and journal.orders:
            journal.bring(named[0], journal.orders[0])
            journal.orders.popleft()
        elif slept:
            journal.make_room()
            journal.clock.advance(max(0, journal.wakes_ms[slept[0]] - journal.clock.ms) / 1000)
            journal.bring(slept[0], b"")
        else:
            raise AssertionError(f"it waits for ever: {[journal.commands[handle] for handle in handles]}")

    def _tell(self) -> None:
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def news(self) -> None:
        await self._arrived.wait()

    async def flush(self) -> None:
        """Here a command is sent as soon as it is made."""

    def let_go(self) -> None:
        """Here an attempt goes on by itself."""
