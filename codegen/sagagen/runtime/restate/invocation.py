"""One attempt of an invocation, as a workflow sees it: `Invocation`, and `Attempt`, which is Restate's own.

Theory of operation. Restate calls the endpoint by one HTTP/2 stream for an attempt. The compiled core of Restate's SDK
reads and writes it: it is handed what arrives, says what to send, and keeps the order of commands. Commands are made at
once; what comes of them (a run that is recorded, a promise, the end of a sleep) arrives later. An attempt that can't go
on ends by `Gone`, and Restate begins another, which replays what was recorded.

Only a wait of the workflow's own may suspend it: `has_come` looks at what has arrived, and suspends nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from restate.vm import (
    DoProgressAnyCompleted,
    DoProgressCancelSignalReceived,
    DoProgressExecuteRun,
    Failure,
    FirstCompletedUnresolvedFuture,
    SingleUnresolvedFuture,
    Suspended,
    UnresolvedFuture,
    VMWrapper,
)


class Gone(asyncio.CancelledError):
    """This attempt ends here, and Restate begins another if there is something to do. Nobody catches it."""


class Mismatch(Exception):
    """What is done is not what was recorded: a mistake of ours."""


class Refused(Exception):
    """A command has failed for good: a promise was resolved before."""


class Invocation(Protocol):
    """An attempt of an invocation. Handles are numbers of what a command will bring."""

    key: str
    """The saga's id."""
    input: bytes
    on_cancel: Callable[[], None]
    """Told of a cancellation by Restate's own means."""

    @property
    def is_replaying(self) -> bool:
        """The next command was recorded by an earlier attempt."""
        ...

    def run(self, make: Callable[[], bytes]) -> int:
        """Record what `make` makes, unless an earlier attempt did: then that is what the handle brings."""
        ...

    def set_state(self, name: str, value: bytes) -> None: ...

    def get_state(self, name: str) -> int: ...

    def clear_state(self, name: str) -> None: ...

    def send(self, service: str, key: str, handler: str, value: bytes) -> None:
        """Call a handler of another workflow, without its answer. It is durable as soon as the command is."""
        ...

    def peek(self, name: str) -> int:
        """A promise as it stands: it brings nothing if nobody has resolved it."""
        ...

    def promise(self, name: str) -> int: ...

    def resolve(self, name: str, value: bytes) -> int: ...

    def sleep(self, milliseconds: int) -> int: ...

    def has_come(self, handle: int) -> bool:
        """What the handle brings is there, and was not taken."""
        ...

    def take(self, handle: int) -> bytes | None:
        """What it brought; once. Raises Refused."""
        ...

    async def wait(self, *handles: int) -> None:
        """Until one of them is there, or somebody cancels the invocation. Raises Gone."""
        ...

    async def news(self) -> None:
        """Until something has arrived. Suspends nothing."""
        ...

    async def flush(self) -> None:
        """Send what commands were made, before anybody is told of them by another way."""
        ...

    def let_go(self) -> None:
        """Nothing but what is waited for next is needed: the attempt may end until it comes."""
        ...


class Attempt:
    """An Invocation by Restate's SDK. `send` writes to the stream."""

    def __init__(self, vm: VMWrapper, send: Callable[[bytes], Awaitable[None]]) -> None:
        invocation = vm.sys_input()
        self.key = invocation.key or ""
        self.input = invocation.input_buffer
        self.on_cancel: Callable[[], None] = _nobody
        self._vm: Any = vm
        self._send = send
        self._arrived = asyncio.Event()
        self._is_closed = False
        self._makes: dict[int, Callable[[], bytes]] = {}

    def received(self, data: bytes | None) -> None:
        """What Restate sends; None after the last."""
        if data is None:
            self.closed()
        else:
            self._vm.notify_input(data)
            self._tell()

    def closed(self) -> None:
        """Restate sends no more: what is waited for now will not come to this attempt."""
        if not self._is_closed:
            self._is_closed = True
            self._vm.notify_input_closed()
        self._tell()

    def _tell(self) -> None:
        self._arrived.set()
        self._arrived = asyncio.Event()

    @property
    def is_replaying(self) -> bool:
        return self._vm.is_replaying()

    def run(self, make: Callable[[], bytes]) -> int:
        run = self._vm.sys_run("rows")
        if not run.replayed:
            self._makes[run.handle] = make
            self._progress(SingleUnresolvedFuture(run.handle), may_suspend=False)
        return run.handle

    def set_state(self, name: str, value: bytes) -> None:
        self._vm.sys_set_state(name, value)

    def get_state(self, name: str) -> int:
        return self._vm.sys_get_state(name)

    def clear_state(self, name: str) -> None:
        self._vm.sys_clear_state(name)

    def send(self, service: str, key: str, handler: str, value: bytes) -> None:
        self._vm.sys_send(service, handler, value, key)

    def peek(self, name: str) -> int:
        return self._vm.sys_peek_promise(name)

    def promise(self, name: str) -> int:
        return self._vm.sys_get_promise(name)

    def resolve(self, name: str, value: bytes) -> int:
        return self._vm.sys_complete_promise_success(name, value)

    def sleep(self, milliseconds: int) -> int:
        return self._vm.sys_sleep(milliseconds)

    def has_come(self, handle: int) -> bool:
        if not self._vm.is_completed(handle) and not self._is_closed:
            self._progress(SingleUnresolvedFuture(handle), may_suspend=False)
        return self._vm.is_completed(handle)

    def take(self, handle: int) -> bytes | None:
        taken: Any = self._vm.take_notification(handle)
        if isinstance(taken, Exception):
            raise Mismatch(str(taken)) from taken
        if isinstance(taken, Failure):
            raise Refused(taken.message)
        return None if taken is None else bytes(taken)

    async def wait(self, *handles: int) -> None:
        awaited = _any_of(handles)
        while True:
            news = self._arrived
            is_there = self._progress(awaited, may_suspend=True)
            await self.flush()
            if is_there:
                return
            await news.wait()

    async def news(self) -> None:
        await self.flush()
        await self._arrived.wait()

    def let_go(self) -> None:
        self.closed()

    async def flush(self) -> None:
        if output := self._vm.take_output():
            await self._send(output)

    def _progress(self, awaited: UnresolvedFuture, *, may_suspend: bool) -> bool:
        """Whether the wait is over. Runs that the core asks for are made on the way."""
        if self._is_closed and not may_suspend:
            return False
        while True:
            match self._vm.do_progress(awaited):
                case DoProgressAnyCompleted():
                    return True
                case DoProgressExecuteRun(handle=handle):
                    self._vm.propose_run_completion_success(handle, self._makes.pop(handle)())
                case DoProgressCancelSignalReceived():
                    self.on_cancel()
                    return True
                case Suspended():
                    raise Gone
                case Exception() as error:
                    raise Mismatch(str(error)) from error
                case _:
                    return False


def _nobody() -> None:
    """Whoever can be cancelled says so."""


def _any_of(handles: Sequence[int]) -> UnresolvedFuture:
    if len(handles) == 1:
        return SingleUnresolvedFuture(handles[0])
    return FirstCompletedUnresolvedFuture([SingleUnresolvedFuture(handle) for handle in handles])
