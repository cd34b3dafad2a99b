"""Rendering on two cores: a copy of this process takes a share of the files, and hands over what they became.

A fork has the whole contract as it was read, for the price of its page tables: other ways to a second core would hand
over more than the rendering takes. Who renders which file is decided as they go, so the dear ones hold up nobody, and
it makes no difference to what comes out. A copy that fails in whatever way has done nothing: its share is rendered
here, where a mistake shows as what it is.
"""

import os
import pickle
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

from sagagen.emit.files import FilePlan

Rendered = dict[str, str | bytes]
"""By path."""

_SHARES = 64
"""Parts of the work, each of which one of the two takes at a time."""
_WORTH_A_PROCESS = 128
"""Files that take well longer to render than a process takes to be copied."""


@contextmanager
def rendering(plans: Sequence[FilePlan]) -> Generator[Callable[[], Rendered]]:
    """Begin to render. What it gives takes its share, and returns what each file became, or raises what that raised.

    To be called once.
    """
    # What is made of the whole contract lies at the top, and takes longest: that comes first.
    plans = sorted(plans, key=lambda plan: plan.path.count("/"))
    has_fork = hasattr(os, "fork") and (os.cpu_count() or 1) > 1
    if has_fork and len(plans) >= _WORTH_A_PROCESS:
        with _Queue() as queue, _Copy(plans, queue) as copy:
            yield lambda: _complete(plans, _take(plans, queue) | copy.results())
    else:
        yield lambda: _complete(plans, {})


def _complete(plans: Sequence[FilePlan], rendered: Rendered) -> Rendered:
    return rendered | {plan.path: plan.render() for plan in plans if plan.path not in rendered}


class _Queue:
    """The numbers of the shares, each of which goes to whichever process asks next."""

    def __enter__(self) -> "_Queue":
        self.descriptor, writing = os.pipe()
        os.write(writing, bytes(range(_SHARES)))
        os.close(writing)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def __iter__(self) -> Iterator[int]:
        while number := os.read(self.descriptor, 1):
            yield number[0]


class _Copy:
    """A fork of this process, and what it has rendered."""

    def __init__(self, plans: Sequence[FilePlan], queue: _Queue) -> None:
        self._plans = plans
        self._queue = queue

    def __enter__(self) -> "_Copy":
        reading, writing = os.pipe()
        self._results: BinaryIO = os.fdopen(reading, "rb")
        self._process: int | None = None
        try:
            self._process = os.fork()
        except OSError:  # no more processes, or no more memory: all is rendered here
            return self
        finally:
            if self._process != 0:
                os.close(writing)
        if not self._process:
            _hand_over(self._plans, self._queue, writing)
        return self

    def __exit__(self, *_: object) -> None:
        self._results.close()
        if self._process is not None:  # something failed here
            os.kill(self._process, signal.SIGKILL)
            self._wait()

    def results(self) -> Rendered:
        """Waits for them. Nothing, if it failed."""
        written = self._results.read()
        has_succeeded = self._process is not None and self._wait() == 0
        return pickle.loads(written) if has_succeeded else {}

    def _wait(self) -> int:
        """How it ended: 0 is well."""
        assert self._process is not None
        _, status = os.waitpid(self._process, 0)
        self._process = None
        return status


def _take(plans: Sequence[FilePlan], queue: _Queue) -> Rendered:
    return {plan.path: plan.render() for number in queue for plan in plans[number::_SHARES]}


def _hand_over(plans: Sequence[FilePlan], queue: _Queue, writing: int) -> None:
    """In the copy. It ends here: nothing that this process would do at its end may be done twice."""
    code = 1
    try:
        _close_all_but(queue.descriptor, writing)
        with os.fdopen(writing, "wb") as results:
            pickle.dump(_take(plans, queue), results, protocol=pickle.HIGHEST_PROTOCOL)
        code = 0
    finally:
        os._exit(code)


def _close_all_but(*kept: int) -> None:
    """The message compiler begins when its input ends, and that is open as long as any process has it open."""
    standard = (0, 1, 2)
    for descriptor in map(int, os.listdir("/dev/fd")):
        if descriptor not in (*standard, *kept):
            with suppress(OSError):  # the listing's own, which is closed already
                os.close(descriptor)
