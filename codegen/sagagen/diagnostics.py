"""A mistake in the user's contract is a value; a mistake in this program is an exception. The two never mix."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeAlias

from sagagen.source import Span


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about the contract."""

    at: Span
    severity: Severity
    code: str
    """Stable and documented in docs/diagnostics.md, for example `SG014`."""
    message: str
    """What is wrong, in the words of the contract. One line."""
    hint: str = ""
    """The edit that fixes it. One line."""

    def encoded(self) -> list[str | int]:
        """As JSON values, from which `decoded` restores it."""
        at = self.at
        return [at.path, at.line, at.column, self.severity, self.code, self.message, self.hint]

    @classmethod
    def decoded(cls, parts: Sequence[Any]) -> Self:
        path, line, column, severity, code, message, hint = parts
        return cls(Span(path, line, column), Severity(severity), code, message, hint)


Report: TypeAlias = Callable[[Diagnostic], None]
"""Where a stage puts its findings before it goes on with the rest."""


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sorted by place, then code, without duplicates."""
    return tuple(sorted(set(diagnostics), key=lambda d: (d.at, d.code, d.message)))


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint sentence naming the closest candidate, or all of them if none is close, or nothing."""
    known = sorted(set(candidates))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(known)}" if known else ""
