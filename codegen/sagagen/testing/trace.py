"""What happened in a world, as values, in the order in which it happened. Each reads as a line of a story."""

from dataclasses import dataclass

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.events import LogEvent
from sagagen.testing.faults import (
    Crash,
    Delay,
    DelayAnswer,
    Duplicate,
    Fail,
    Fault,
    LoseAnswer,
    LoseRequest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """What every one has."""

    at_s: float
    """Seconds since the world began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Happening):
    process: str

    def __str__(self) -> str:
        return f"{self.process} is up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Died(Happening):
    process: str

    def __str__(self) -> str:
        return f"{self.process} dies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected(Happening):
    """A fault of the plan happens."""

    fault: Fault

    def __str__(self) -> str:
        return f"fault: {_told(self.fault)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfACall(Happening):
    """Something that happens to one attempt of a saga's call."""

    saga_id: str
    step: str
    """The step's key: `reserve[margherita]`."""
    direction: Direction
    attempt: int
    """Starts at 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(OfACall):
    """The call leaves the gateway."""

    def __str__(self) -> str:
        return f"{self.saga_id[:8]} calls {called(self.step, self.direction)} #{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(OfACall):
    """What the gateway learns of it."""

    outcome: str
    """`DONE`, or the error: `FAILED_PRECONDITION: SOLD_OUT: none left`."""

    def __str__(self) -> str:
        return f"{self.saga_id[:8]} {called(self.step, self.direction)} #{self.attempt}: {self.outcome}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled(OfACall):
    """A handler has returned, or raised."""

    service: str
    outcome: str

    def __str__(self) -> str:
        did = called(self.step, self.direction)
        return f"{self.service} handles {did} #{self.attempt} of {self.saga_id[:8]}: {self.outcome}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote(Happening):
    """Rows of a saga are durable."""

    saga_id: str
    rows: tuple[LogEvent, ...]

    def __str__(self) -> str:
        return f"{self.saga_id[:8]} log: {', '.join(type(row).__name__ for row in self.rows)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged(Happening):
    """The product, or a handler, has written a log line."""

    level: str
    line: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.level}: {self.line}"


def _told(fault: Fault) -> str:
    call = called(fault.step, fault.direction)
    match fault:
        case Fail(error=error):
            return f"{call} fails with {error}{' once it has run' if fault.is_late else ''}"
        case LoseRequest():
            return f"{call} never arrives"
        case LoseAnswer():
            return f"the answer to {call} is lost"
        case Delay(seconds=seconds):
            return f"{call} is under way for {seconds:g} s"
        case DelayAnswer(seconds=seconds):
            return f"the answer to {call} is under way for {seconds:g} s"
        case Duplicate(late_s=late_s):
            return f"{call} arrives once more{f', {late_s:g} s later' if late_s else ''}"
        case Crash(moment=moment):
            return f"the {'gateway' if moment.is_of_gateway else 'service'} dies when {call} is {moment}"
        case _:
            return str(fault)


def called(step: str, direction: Direction) -> str:
    """`reserve`, or `undo reserve`."""
    return step if direction is Direction.ACTION else f"undo {step}"
