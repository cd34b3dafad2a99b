"""What is wrong with an expression, before the place is known."""

from dataclasses import dataclass

from sagagen.diagnostics import Diagnostic, Severity
from sagagen.expression.codes import Code
from sagagen.source import Span


@dataclass(frozen=True, slots=True)
class Problem:
    code: Code
    message: str
    hint: str = ""

    def at(self, span: Span) -> Diagnostic:
        return Diagnostic(span, Severity.ERROR, self.code.value, self.message, self.hint)
