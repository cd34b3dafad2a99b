"""What came of each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sagagen.testing.matrix.rows import Row
from sagagen.testing.matrix.snapshots import Ending


class Result(StrEnum):
    OK = "ok"
    FAILED = "failed"
    """Something does not hold, whatever is approved."""
    CHANGED = "changed"
    """It leaves something else than was approved."""
    NEW = "not approved"
    """Nobody has approved yet what it leaves."""


@dataclass(frozen=True, slots=True)
class Verdict:
    row: Row
    ending: Ending
    problems: tuple[str, ...] = ()
    """What does not hold; each names step and table where there are any."""
    unlike: tuple[str, ...] = ()
    """Against what was approved: lines that begin with `-` and `+`."""
    is_approved: bool = True
    story: tuple[str, ...] = ()
    """What happened, with times of the row's own clock."""
    seconds: float = 0.0
    """How long it took, by the clock on the wall."""

    @property
    def result(self) -> Result:
        if self.problems:
            return Result.FAILED
        if not self.is_approved:
            return Result.NEW
        return Result.CHANGED if self.unlike else Result.OK

    @property
    def is_ok(self) -> bool:
        return self.result is Result.OK

    def lines(self) -> list[str]:
        """Why it is not ok, in words."""
        said = list(self.problems)
        if self.unlike:
            said += ["it leaves something else than was approved:", *(f"  {line}" for line in self.unlike)]
        elif not self.is_approved:
            said += ["nobody has approved what it leaves:", *(f"  {line}" for line in self.ending.lines())]
        return said


@dataclass(frozen=True, slots=True)
class SagaVerdicts:
    """All that was found of one saga."""

    saga: str
    source: str
    """Where its sample is from."""
    verdicts: tuple[Verdict, ...] = ()
    unreached: tuple[str, ...] = ()
    """Steps that no sample reaches, so that no row is about them."""
    outdated: tuple[str, ...] = ()
    """Rows of the snapshot that there are no more."""


def count(found: Sequence[SagaVerdicts], result: Result) -> int:
    return sum(verdict.result is result for each in found for verdict in each.verdicts)
