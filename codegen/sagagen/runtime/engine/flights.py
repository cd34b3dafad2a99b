"""The calls of one saga that are under way side by side."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

import structlog

from sagagen.runtime.engine.attempts import AttemptRow, Attempts
from sagagen.runtime.engine.context import Ref
from sagagen.runtime.engine.mailbox import SagaMailbox
from sagagen.runtime.engine.requests import CannotBuild
from sagagen.runtime.saga.decision import StepCall
from sagagen.runtime.saga.history import CallKey, History

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Flight:
    """One attempt that waits for its time or its place, or is with a service."""

    call: StepCall
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends its wait before it leaves."""
    has_left: bool = False
    task: "asyncio.Task[None] | None" = None


class Flights(Generic[Ref]):
    """Each call has a task. What comes of it waits here until the saga's own task takes it in."""

    def __init__(self, attempts: Attempts[Ref], mailbox: SagaMailbox) -> None:
        self._attempts = attempts
        self._mailbox = mailbox
        self._under_way: dict[CallKey, Flight] = {}
        self._landed: list[tuple[Flight, AttemptRow | Exception | None]] = []

    @property
    def has_landed(self) -> bool:
        return bool(self._landed)

    @property
    def is_any_away(self) -> bool:
        """A call is with its service, or is back and has not been looked at."""
        return bool(self._landed) or any(flight.has_left for flight in self._under_way.values())

    def has_left(self, key: CallKey) -> bool:
        """The call is with its service, or on its way."""
        flight = self._under_way.get(key)
        return flight is not None and flight.has_left

    def follow(
        self,
        calls: Sequence[StepCall],
        history: History,
        on_first: Callable[[], None],
        *,
        is_first: bool,
    ) -> None:
        """Make these calls, and no others: a call that is not among them any more is called off."""
        wanted = {(call.key, call.direction): call for call in calls}
        for key, flight in tuple(self._under_way.items()):
            if key not in wanted:
                self._call_off(key)
            elif flight.call is not wanted[key] and flight.call != wanted[key] and not flight.has_left:
                self._call_off(key)  # what it waited for has changed
        for key, call in wanted.items():
            if key not in self._under_way:
                self._begin(key, call, history, on_first, is_first)

    def landed(self) -> Iterator[tuple[StepCall, AttemptRow | Exception | None]]:
        """What came of calls since it was asked last; None for one that was not made."""
        while self._landed:
            flight, row = self._landed.pop(0)
            yield flight.call, row

    def call_off_all(self) -> Sequence[StepCall]:
        """Nobody waits for them any more. Returns those that have left: they may have happened."""
        return [call for key in tuple(self._under_way) for call in self.call_off_one(key)]

    def call_off_one(self, key: CallKey) -> Sequence[StepCall]:
        flight = self._under_way.get(key)
        if flight is None:
            return ()
        self._call_off(key)
        return (flight.call,) if flight.has_left else ()

    async def land(self) -> None:
        """Wait for the calls that have left; those that have not are called off."""
        for key, flight in tuple(self._under_way.items()):
            if not flight.has_left:
                self._call_off(key)
        while tasks := [flight.task for flight in self._under_way.values() if flight.task]:
            await asyncio.wait(tasks)

    def _begin(
        self,
        key: CallKey,
        call: StepCall,
        history: History,
        on_first: Callable[[], None],
        is_first: bool,
    ) -> None:
        flight = self._under_way[key] = Flight(call)
        flight.task = asyncio.create_task(
            self._fly(key, flight, history, on_first, is_first), name=f"{history.accepted.saga_id} {call.key}"
        )

    async def _fly(
        self,
        key: CallKey,
        flight: Flight,
        history: History,
        on_first: Callable[[], None],
        is_first: bool,
    ) -> None:
        def leave() -> None:
            flight.has_left = True
            on_first()

        row: AttemptRow | Exception | None = None
        try:
            row = await self._attempts.make(flight.call, history, flight.wake, leave, is_first=is_first)
        except CannotBuild as error:
            row = error  # the saga is stuck for it, and says so
        except Exception as error:
            _logger.exception("the engine failed with a call", step=flight.call.key)
            row = error
        finally:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
                self._landed.append((flight, row))
                self._mailbox.wake.set()

    def _call_off(self, key: CallKey) -> None:
        flight = self._under_way.pop(key)
        if flight.task:
            flight.task.cancel()
