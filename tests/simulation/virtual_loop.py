"""An event loop whose time is made up: a wait of an hour is over at once, and a run is the same run each time.

It reads no clock and waits for no file: where all tasks wait, its time jumps to the next timer. Tasks belong to a
`Life` if whatever began them does, so that a process's death is the end of all its tasks at one moment.
"""

import asyncio
import contextvars
import selectors
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class _NoFiles(selectors.BaseSelector):
    """Waits for nothing but time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, 0, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "all tasks wait, and no timer is set: nothing will ever happen"
        self.now_s += max(0.0, timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """Pass it to asyncio.Runner as its `loop_factory`."""

    def __init__(self) -> None:
        self._files = _NoFiles()
        super().__init__(self._files)
        self.set_task_factory(_begin_task)

    def time(self) -> float:
        return self._files.now_s


@dataclass(eq=False)
class Life:
    """A process, from its start to its death."""

    number: int
    is_over: bool = False
    tasks: "set[asyncio.Task[Any]]" = field(default_factory=lambda: set())

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """A task of this process; whatever that begins is one too."""
        context = contextvars.copy_context()
        context.run(_LIFE.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def end(self) -> None:
        """As kill -9 does: its tasks get no further, and nothing that they do on their way out reaches anybody."""
        self.is_over = True
        for task in self.tasks:
            task.cancel()


_LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


def _begin_task(
    loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None
) -> "asyncio.Task[Any]":
    life = context.get(_LIFE) if context is not None else _LIFE.get()
    task = asyncio.Task(work, loop=loop, context=context)
    if life is not None:
        life.tasks.add(task)
        task.add_done_callback(life.tasks.discard)
    return task


@dataclass(frozen=True)
class VirtualClock:
    """The loop's time, as a wall clock that is `ahead_s` seconds ahead of it."""

    loop: asyncio.AbstractEventLoop
    ahead_s: float = 0.0

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + round((self.loop.time() + self.ahead_s) * 1000)

    def monotonic_s(self) -> float:
        return 1000.0 + self.loop.time()
