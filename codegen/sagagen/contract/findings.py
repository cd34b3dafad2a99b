"""How this stage words its findings: an error or a warning at a place, and suggestions for names nearly right."""

from collections.abc import Mapping

from sagagen.contract.codes import Code
from sagagen.diagnostics import Diagnostic, Severity, did_you_mean
from sagagen.source import Span


def error(at: Span, code: Code, message: str, hint: str) -> Diagnostic:
    return Diagnostic(at, Severity.ERROR, code, message, hint)


def warning(at: Span, code: Code, message: str, hint: str) -> Diagnostic:
    return Diagnostic(at, Severity.WARNING, code, message, hint)


def note(at: Span, code: Code, message: str, hint: str) -> Diagnostic:
    """What is right as it is, and may surprise."""
    return Diagnostic(at, Severity.NOTE, code, message, hint)


def suggest(name: str, known: Mapping[str, Span], otherwise: str) -> str:
    """`did you mean "RefundPayment" (contracts/payment.proto:17:7)?`, or all known names, or `otherwise`."""
    hint = did_you_mean(name, known)
    for candidate, span in known.items():
        if hint == f'did you mean "{candidate}"?':
            return f'did you mean "{candidate}" ({span})?'
    return hint or otherwise
