"""What is to go wrong, as values; and the plan that holds them, which a world asks at every moment of every call.

A call of a saga passes these moments:

    SENT       the gateway sends it                  a crash here: nothing of it has happened
    ARRIVED    it reaches the service                the handler has not begun
    HANDLED    the handler has returned              its writes are not committed yet
    COMMITTED  its effect is durable                 the service has not answered
    ANSWERED   the answer reaches the gateway        the saga log does not have it
    RECORDED   the saga log has it                   what follows from it has not begun
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeVar

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.metadata import SagaCall


class Moment(StrEnum):
    """Of a call; the module's docstring says what each of them is."""

    SENT = "sent"
    ARRIVED = "arrived"
    HANDLED = "handled"
    COMMITTED = "committed"
    ANSWERED = "answered"
    RECORDED = "recorded"

    @property
    def is_of_gateway(self) -> bool:
        """It is the gateway that dies there; otherwise the service."""
        return self in (Moment.SENT, Moment.ANSWERED, Moment.RECORDED)


class CallKey(NamedTuple):
    """Which call of which saga."""

    saga_id: str
    step: str
    direction: Direction
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that happens to a call, of whatever saga unless it says which."""

    step: str
    """As in the contract, or one item of a loop: `reserve[margherita]`."""
    direction: Direction = Direction.ACTION
    attempt: int | None = None
    """Only this one; it starts at 1. None: any."""
    times: int | None = None
    """How often it happens at most. None: whenever the call is made."""
    saga_id: str = ""
    """Empty: any."""

    def hits(self, call: "CallKey | SagaCall") -> bool:
        """Whether the call is one of those that are meant."""
        return (
            self.step in (call.step, call.step.partition("[")[0])
            and self.direction is call.direction
            and self.attempt in (None, call.attempt)
            and self.saga_id in ("", call.saga_id)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(Fault):
    """The handler raises `error` in place of running; with `is_late` once it has run, and its writes are undone."""

    error: Exception
    is_late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseRequest(Fault):
    """It never arrives. The gateway waits until the call's time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseAnswer(Fault):
    """The effect happens, and the gateway waits for the answer until the call's time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay(Fault):
    """It is under way for so many seconds before it arrives, though nobody may wait for it any more by then."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayAnswer(Fault):
    """The answer is under way for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(Fault):
    """It arrives once more, `late_s` seconds after the first; nobody gets the second answer."""

    late_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(Fault):
    """At this moment a process ends as by kill -9, and starts again `down_s` seconds later."""

    moment: Moment
    down_s: float = 1.0


F = TypeVar("F", bound=Fault)


@dataclass(slots=True)
class _Entry:
    fault: Fault
    happened: int = 0

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self.happened >= self.fault.times


@dataclass(slots=True)
class FaultPlan:
    """The faults that are still to happen, in the order in which they were added."""

    _entries: list[_Entry] = field(default_factory=list[_Entry])

    def add(self, *faults: Fault) -> None:
        self._entries += map(_Entry, faults)

    def clear(self) -> None:
        """From now on nothing goes wrong."""
        self._entries.clear()

    def next(self, kind: type[F], call: "CallKey | SagaCall", moment: Moment | None = None) -> F | None:
        """The first fault of a kind that happens to this call, which counts as happened. None: nothing does.

        `moment` is that of a crash.
        """
        for entry in self._entries:
            fault = entry.fault
            if not isinstance(fault, kind) or entry.is_spent or not fault.hits(call):
                continue
            if isinstance(fault, Crash) and fault.moment is not moment:
                continue
            entry.happened += 1
            return fault
        return None

    @property
    def unused(self) -> list[Fault]:
        """Faults that never happened."""
        return [entry.fault for entry in self._entries if not entry.happened]
