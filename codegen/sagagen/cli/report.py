"""How diagnostics are shown: for people, for programs, and as annotations of a pull request."""

import json
from collections.abc import Iterable, Sequence
from typing import Literal, TextIO, TypeAlias

from sagagen.diagnostics import Diagnostic, Severity
from sagagen.runtime.escaping import escaped_json, escaped_lines
from sagagen.source import Span

Format: TypeAlias = Literal["text", "json", "github"]
FORMATS: tuple[Format, ...] = ("text", "json", "github")
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "blue"}
_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
"""As GitHub calls them."""


def print_diagnostics(
    diagnostics: Sequence[Diagnostic], stream: TextIO, output_format: Format = "text"
) -> None:
    """Write all of them to `stream`, in the order given; for people errors last, where they are seen.

    Coloured only in the text form and on a terminal.
    """
    if output_format == "json":
        stream.write(as_json(diagnostics))
    elif output_format == "github":
        stream.write(as_github(diagnostics))
    else:
        _print_text(diagnostics, stream)


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """`2 errors, 1 warning`; empty without any."""
    found = [diagnostic.severity for diagnostic in diagnostics]
    counts = ((found.count(severity), severity.value) for severity in Severity)
    return ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts if count)


def as_json(diagnostics: Iterable[Diagnostic]) -> str:
    """One JSON array; lines and columns count from 1."""
    rows = [
        {
            "path": diagnostic.at.path,
            "line": diagnostic.at.line,
            "column": diagnostic.at.column,
            "severity": diagnostic.severity.value,
            "code": diagnostic.code,
            "message": diagnostic.message,
            "hint": diagnostic.hint,
        }
        for diagnostic in diagnostics
    ]
    return escaped_json(json.dumps(rows, indent=2, ensure_ascii=False)) + "\n"


def as_github(diagnostics: Iterable[Diagnostic]) -> str:
    """Workflow commands, which GitHub shows beside the lines of a pull request."""
    return "".join(
        workflow_command(
            _COMMANDS[diagnostic.severity], diagnostic.at, diagnostic.code, _sentence(diagnostic)
        )
        for diagnostic in diagnostics
    )


def workflow_command(command: str, at: Span, title: str, text: str) -> str:
    """One line for GitHub; `command` is error, warning or notice."""
    place = f"file={_property(at.path)},line={at.line},col={at.column},title={_property(title)}"
    return f"::{command} {place}::{_data(escaped_lines(text))}\n"


def _sentence(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.message}\nhint: {diagnostic.hint}" if diagnostic.hint else diagnostic.message


def _data(text: str) -> str:
    """Escaped as actions/toolkit does it for the text of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _print_text(diagnostics: Sequence[Diagnostic], stream: TextIO) -> None:
    if not diagnostics:
        return
    from rich.console import Console  # slow to import, and rarely needed
    from rich.text import Text

    console = Console(file=stream, soft_wrap=True, highlight=False)
    for diagnostic in sorted(diagnostics, key=lambda one: one.severity is Severity.ERROR):
        colour = _COLOURS[diagnostic.severity]
        line = Text.assemble(
            (f"{diagnostic.at}: ", "bold"),
            (f"{diagnostic.severity.value}[{diagnostic.code}]", f"bold {colour}"),
            f": {escaped_lines(diagnostic.message)}",
        )
        console.print(line)
        if diagnostic.hint:
            console.print(Text.assemble("  ", ("hint", "cyan"), f": {escaped_lines(diagnostic.hint)}"))
