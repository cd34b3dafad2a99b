"""What came of a schedule that was played: what happened, how sagas ended, and what was broken."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256


class What(StrEnum):
    """What happened, of what a story tells."""

    STARTS = "starts"
    NOT_TAKEN = "not taken"
    """The engine, or the contract, refuses the request or the event; `detail` says why."""
    CALL = "call"
    """An attempt of a call leaves the engine."""
    DONE = "done"
    """Its answer arrives; `detail` is empty, or `again` where it is a recorded one."""
    FAILED = "failed"
    """An error arrives, or nothing does: `detail` has the reason."""
    LOST = "lost"
    """`request`, or `answer`."""
    EFFECT = "effect"
    """A handler has run, and what it did is committed."""
    EVENT = "event"
    """It is taken; `detail` is its name."""
    BACK = "back"
    """The saga turns back; `detail` has the reason."""
    ENDS = "ends"
    """`detail` is its status."""
    STUCK = "stuck"
    KILLED = "killed"
    """The schedule ends a process, which `detail` names, whatever it is doing."""
    DIES = "dies"
    """A process does, as a fault of a call will have it."""
    UP = "up"
    """It is there again."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened in a world."""

    at_ms: int
    """Since the world began."""
    what: What
    saga: int = 0
    """Its number in the schedule; 0: none."""
    step: str = ""
    direction: str = ""
    attempt: int = 0
    detail: str = ""

    @property
    def line(self) -> str:
        """All of it, for digests and for whoever reads a trace."""
        parts = (self.at_ms, self.what, self.saga, self.step, self.direction, self.attempt, self.detail)
        return " ".join(str(part) for part in parts if part != "")


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that should hold does not."""

    invariant: str
    """Its name: by it two runs are known to break the same thing."""
    text: str
    """What is wrong, for people."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a schedule."""

    trace: Sequence[Happening]
    ends: Mapping[str, int]
    """How many sagas ended how; `not taken` for those that never began."""
    broken: Sequence[Violation] = ()
    numbers: Mapping[str, int] | None = None
    """Of the sagas, by their ids."""

    @property
    def digest(self) -> str:
        """Hex digits; two runs with the same are the same, call by call."""
        return sha256("\n".join(each.line for each in self.trace).encode()).hexdigest()[:16]

    def breaks(self, invariant: str) -> bool:
        return any(each.invariant == invariant for each in self.broken)


def counted(many: Sequence[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in many:
        total.update(each)
    return total
