"""An event loop whose time is made up: a wait of an hour is over at once, and a run is the same run each time.

It reads no clock and waits for no file: where all tasks wait, its time jumps to the next timer. What is handed to
another thread is done in place. Tasks belong to a `Life` if whatever began them does, so that a process's death is the
end of all its tasks at one moment.
"""

import asyncio
import contextvars
import functools
import selectors
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

BEGINNING_MS = 1_700_000_000_000
"""The wall clock when a loop begins, ms since the epoch: 2023-11-14T22:13:20Z."""
_TURNS_AT_ONCE = 100_000
"""More turns of the loop than anything needs at one moment."""
_MOST_CANCELS = 100
"""How often a task is cancelled that goes on though its process is dead."""


class NothingWillHappen(Exception):
    """All tasks wait, and no timer is set: time has nowhere to jump to."""

    def __init__(self) -> None:
        super().__init__(
            "every task waits, and nothing is due: no timer is set, and nobody is left to wake them. "
            "On virtual time nothing comes from a socket, a subprocess or another thread"
        )


class TimeStandsStill(Exception):
    """Something goes round without end, so that time never has a reason to move."""

    def __init__(self, now_s: float) -> None:
        super().__init__(
            f"after {_TURNS_AT_ONCE} turns of the loop it is still second {now_s:.3f}: a task goes round without end. "
            "Have it wait for an event, or sleep for longer than 0 s"
        )


class NotOnVirtualTime(Exception):
    """The running event loop is on the time of the wall clock."""

    def __init__(self, wanted_by: str) -> None:
        super().__init__(
            f"{wanted_by} needs virtual time: put @virtual_time (of sagagen.testing) above the test, "
            "or run pytest with `-p sagagen.testing.pytest_plugin` and without asyncio_mode = auto"
        )


class _NoFiles(selectors.BaseSelector):
    """Waits for nothing but time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._turns = 0
        """Of the loop, since its time moved."""
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, 0, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingWillHappen
        self._turns = 0 if timeout > 0 else self._turns + 1
        if self._turns > _TURNS_AT_ONCE:
            self._turns = 0  # whoever cleans up now needs some, too
            raise TimeStandsStill(self.now_s)
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

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        """Run it now, in this thread: another thread's end would come at a moment of its own."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is for whoever awaits it
            future.set_exception(error)
        return future


def virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """A test that is a coroutine, as a function that runs it on virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(test(*args, **kwargs))

    return run


def running_virtual_loop(wanted_by: str) -> VirtualLoop:
    """Raises NotOnVirtualTime where another loop runs; `wanted_by` is named in the message."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise NotOnVirtualTime(wanted_by)
    return loop


@dataclass(eq=False)
class Life:
    """A process, from its start to its death."""

    number: int
    is_over: bool = False
    tasks: "dict[asyncio.Task[Any], None]" = field(default_factory=dict["asyncio.Task[Any]", None])
    """Those that have not ended, in the order in which they began."""
    at_end: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Called at its death, before any of its tasks learns of it: what they do on their way out finds all closed."""

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """A task of this process; whatever that begins is one too."""
        context = contextvars.copy_context()
        context.run(_LIFE.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def end(self) -> None:
        """As kill -9 does: its tasks get no further, and nothing that they do on their way out reaches anybody."""
        if self.is_over:
            return
        self.is_over = True
        for close in self.at_end:
            close()
        self._cancel(_MOST_CANCELS)

    def _cancel(self, times: int) -> None:
        """Again and again: a clean-up that waits would else go on, and a dead process cleans nothing up."""
        for task in list(self.tasks):
            task.cancel()
        if self.tasks and times:
            asyncio.get_running_loop().call_soon(self._cancel, times - 1)


_LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


def _begin_task(
    loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None, **more: Any
) -> "asyncio.Task[Any]":
    # From Python 3.13 on the name comes along, and from 3.14 on whether the task begins at once.
    life = context.get(_LIFE) if context is not None else _LIFE.get()
    task = asyncio.Task(work, loop=loop, context=context, **more)
    if life is not None:
        life.tasks[task] = None
        task.add_done_callback(lambda ended: life.tasks.pop(ended, None))
    return task


@dataclass(frozen=True)
class VirtualClock:
    """The loop's time, as a wall clock that is `ahead_s` seconds ahead of it."""

    loop: asyncio.AbstractEventLoop
    ahead_s: float = 0.0

    def wall_ms(self) -> int:
        return BEGINNING_MS + round((self.loop.time() + self.ahead_s) * 1000)

    def monotonic_s(self) -> float:
        return 1000.0 + self.loop.time()
