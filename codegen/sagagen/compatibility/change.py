"""One difference between two contracts, and the rule that says what it means."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from sagagen.source import Span


class ChangeSeverity(StrEnum):
    BREAKING = "breaking"
    """A request, retry, compensation or open saga fails, or does something else than before."""
    WARNING = "warning"
    """It works, but not as before; people should know."""
    SAFE = "safe"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a kind of difference means."""

    code: str
    """Stable, for example `SD201`; a rule of buf has buf's name."""
    severity: ChangeSeverity
    title: str
    """The difference in a few words."""
    reason: str
    """What goes wrong, in one sentence."""
    recipe: str
    """How to make the change safely; empty if there is nothing to do."""
    is_about_running: bool = False
    """It breaks only open sagas: if it hits none, it is safe."""


class Reach(StrEnum):
    """Which of a saga's instances a change hits."""

    ALL = "all that are open"
    BEFORE_STEP = "those that have not begun the step"
    BEFORE_END_OF_STEP = "those that have not finished the step"
    OWES_STEP = "those that have begun the step"


@dataclass(frozen=True, slots=True)
class Target:
    """The instances that a change may hit."""

    saga: str
    version: int
    reach: Reach = Reach.ALL
    step: str = ""


@dataclass(frozen=True, slots=True)
class Spot:
    """An element where sagas are."""

    name: str
    count: int
    how: str
    """What they do there, as a message says it before the name: `waiting at`."""

    def __str__(self) -> str:
        return f"{self.count} {self.how} {self.name}"


@dataclass(frozen=True, slots=True)
class Hit:
    """The instances that a change does hit."""

    count: int
    where: tuple[Spot, ...]
    """In the order of the file. A saga whose branches are under way is in several."""
    oldest_age_s: float

    def __str__(self) -> str:
        places = ", ".join(map(str, self.where))
        return f"{count_open(self.count)} ({places}), the oldest for {_age(self.oldest_age_s)}"


@dataclass(frozen=True, slots=True)
class Change:
    """A finding of the diff."""

    rule: Rule
    at: Span
    """In the new contract if it is still there, otherwise in the old one."""
    subject: str
    """What has changed, by its path in the contract: `place_order/charge_payment`."""
    message: str
    """What it was and what it is, in one line."""
    severity: ChangeSeverity
    target: Target | None = None
    hit: Hit | None = None
    """None if open sagas were not looked at, or if none can be hit."""
    notes: tuple[str, ...] = field(default=())
    """Why its severity differs from the rule's."""

    @classmethod
    def of(cls, rule: Rule, at: Span, subject: str, message: str, target: Target | None = None) -> "Change":
        return cls(rule, at, subject, message, rule.severity, target)

    def with_severity(self, severity: ChangeSeverity, note: str) -> "Change":
        return replace(self, severity=severity, notes=(*self.notes, note))


def count_open(count: int) -> str:
    """`1 open saga`, `2 open sagas`."""
    return f"{count} open {'saga' if count == 1 else 'sagas'}"


def _age(seconds: float) -> str:
    for unit_s, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
