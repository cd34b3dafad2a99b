"""How the contract diff is shown: for people, for programs, and for a pull request."""

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO, TypeAlias

import click
from rich.console import Console
from rich.text import Text

from sagagen.cli.diff_markdown import as_markdown
from sagagen.cli.report import as_github, print_diagnostics, workflow_command
from sagagen.compatibility.change import Change, ChangeSeverity
from sagagen.compatibility.running import OpenSagas
from sagagen.compatibility.tree import Tree
from sagagen.contract.model import Mesh
from sagagen.diagnostics import Diagnostic
from sagagen.runtime.escaping import escaped_json, escaped_lines

DiffFormat: TypeAlias = Literal["text", "json", "github", "junit", "markdown"]
DIFF_FORMATS: tuple[DiffFormat, ...] = ("text", "json", "github", "junit", "markdown")

_COLOURS = {ChangeSeverity.BREAKING: "red", ChangeSeverity.WARNING: "yellow", ChangeSeverity.SAFE: "green"}
_COMMANDS = {
    ChangeSeverity.BREAKING: "error",
    ChangeSeverity.WARNING: "warning",
    ChangeSeverity.SAFE: "notice",
}


@dataclass(frozen=True, slots=True)
class Report:
    """A finished comparison."""

    against: str
    """As the user named it."""
    old: Mesh
    new: Mesh
    changes: Sequence[Change]
    open_sagas: OpenSagas | None
    """None if open sagas were not looked at."""


def print_report(report: Report, stream: TextIO, output_format: DiffFormat) -> None:
    """Write it to `stream`. Coloured only in the text form and on a terminal."""
    if output_format == "text":
        _print_text(report, stream)
    else:
        stream.write(_WRITERS[output_format](report))


def print_all_new(why: str, output_format: DiffFormat) -> None:
    """Where there was no contract before. Programs get a report without changes, and the reason on stderr."""
    line = f"{why}: everything is new, and nothing breaks"
    if output_format == "markdown":
        click.echo(f"## Contract\n\n{line}")
        return
    click.echo(_NO_CHANGES[output_format], nl=False)
    click.echo(line, err=output_format != "text")


def summary(report: Report) -> str:
    """`2 breaking, 1 warning, 3 safe changes against main`."""
    counts = [
        (sum(change.severity is severity for change in report.changes), severity)
        for severity in ChangeSeverity
    ]
    found = ", ".join(f"{count} {severity.value}" for count, severity in counts if count)
    return f"{found or 'no'} {'change' if len(report.changes) == 1 else 'changes'} against {report.against}"


def _print_text(report: Report, stream: TextIO) -> None:
    console = Console(file=stream, soft_wrap=True, highlight=False)
    for change in report.changes:
        colour = _COLOURS[change.severity]
        console.print(
            Text.assemble(
                (f"{change.at}: ", "bold"),
                (f"{change.severity.value}[{change.rule.code}]", f"bold {colour}"),
                f": {escaped_lines(f'{change.subject}: {change.message}')}",
            )
        )
        for label, text in _details(change):
            console.print(Text.assemble("  ", (label, "cyan"), f": {escaped_lines(text)}"))
    console.print(Text(summary(report), style="bold"))
    if report.open_sagas:
        console.print(f"looked at {report.open_sagas}")


def _details(change: Change) -> Iterator[tuple[str, str]]:
    """A safe change needs no reason, unless it is safe only this time."""
    if change.severity is not ChangeSeverity.SAFE and change.rule.reason:
        yield "why", change.rule.reason
    if change.hit:
        yield "hits", str(change.hit)
    if change.severity is ChangeSeverity.BREAKING and change.rule.recipe:
        yield "instead", change.rule.recipe
    for note in change.notes:
        yield "note", note


def _as_json(report: Report) -> str:
    trees = _Trees(report)
    rows = [_row(change, trees.inside(change.subject)) for change in report.changes]
    return escaped_json(json.dumps(rows, indent=2, ensure_ascii=False)) + "\n"


class _Trees:
    """Where the elements of both contracts stand."""

    def __init__(self, report: Report) -> None:
        sagas = (*report.old.kept, *report.old.sagas, *report.new.kept, *report.new.sagas)
        self._trees = {saga.name: Tree.of(saga) for saga in sagas}
        self._old = {saga.name: Tree.of(saga) for saga in report.old.sagas}

    def inside(self, subject: str) -> list[str]:
        """The blocks and branches that an element is in (what is gone, was in), from the outside in."""
        saga, _, name = subject.partition("/")
        for trees in (self._trees, self._old):
            if (tree := trees.get(saga)) and (place := tree.places.get(name)):
                return [f"{block}/{branch}" for block, branch in place.list]
        return []


def _row(change: Change, inside: list[str]) -> dict[str, object]:
    hit = change.hit
    return {
        "path": change.at.path,
        "line": change.at.line,
        "column": change.at.column,
        "severity": change.severity.value,
        "code": change.rule.code,
        "subject": change.subject,
        "inside": inside,
        "message": change.message,
        "reason": change.rule.reason,
        "instead": change.rule.recipe,
        "notes": list(change.notes),
        "running": hit
        and {
            "count": hit.count,
            "by_step": {spot.name: spot.count for spot in hit.where},
            "oldest_age_s": round(hit.oldest_age_s, 3),
        },
    }


def _as_github(report: Report) -> str:
    return "".join(
        workflow_command(_COMMANDS[change.severity], change.at, change.rule.code, _paragraph(change))
        for change in report.changes
        if change.severity is not ChangeSeverity.SAFE
    )


def _paragraph(change: Change) -> str:
    lines = [f"{change.subject}: {change.message}", *(f"{label}: {text}" for label, text in _details(change))]
    return "\n".join(lines)


def _as_junit(report: Report) -> str:
    """As Jenkins and GitLab read it: a breaking change is a failed test, everything else a passed one."""
    failures = sum(change.severity is ChangeSeverity.BREAKING for change in report.changes)
    suites = ET.Element("testsuites")
    suite = ET.SubElement(
        suites,
        "testsuite",
        name=f"sagagen diff against {report.against}",
        tests=str(len(report.changes)),
        failures=str(failures),
        errors="0",
    )
    for change in report.changes:
        name = f"{change.rule.code} {change.subject}"
        case = ET.SubElement(suite, "testcase", classname=change.at.path, name=name, line=str(change.at.line))
        if change.severity is ChangeSeverity.BREAKING:
            failure = ET.SubElement(case, "failure", message=change.message, type=change.rule.code)
            failure.text = f"{change.at}\n{_paragraph(change)}"
        else:
            ET.SubElement(case, "system-out").text = _paragraph(change)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _as_markdown(report: Report) -> str:
    return as_markdown(summary(report), report.old, report.new, report.changes, report.open_sagas)


def print_diagnostics_instead(found: Sequence[Diagnostic], output_format: DiffFormat) -> None:
    """What is wrong with a contract that can't be compared: for people on stderr, for programs in the form they read.

    In JSON these are rows like those of changes, with the severity `error`.
    """
    if output_format in _DIAGNOSTIC_WRITERS:
        click.echo(_DIAGNOSTIC_WRITERS[output_format](found), nl=False)
    else:
        print_diagnostics(found, sys.stderr)


def _diagnostics_as_json(found: Sequence[Diagnostic]) -> str:
    rows = [_diagnostic_row(each) for each in found]
    return escaped_json(json.dumps(rows, indent=2, ensure_ascii=False)) + "\n"


def _diagnostic_row(found: Diagnostic) -> dict[str, object]:
    return {
        "path": found.at.path,
        "line": found.at.line,
        "column": found.at.column,
        "severity": found.severity.value,
        "code": found.code,
        "subject": "",
        "inside": [],
        "message": found.message,
        "reason": "the contract has errors: there is nothing to compare",
        "instead": found.hint,
        "notes": [],
        "running": None,
    }


def _diagnostics_as_junit(found: Sequence[Diagnostic]) -> str:
    count = str(len(found))
    suites = ET.Element("testsuites")
    suite = ET.SubElement(suites, "testsuite", name="sagagen diff", tests=count, failures="0", errors=count)
    for each in found:
        case = ET.SubElement(
            suite, "testcase", classname=each.at.path, name=each.code, line=str(each.at.line)
        )
        error = ET.SubElement(case, "error", message=each.message, type=each.code)
        error.text = f"{each.at}\n{each.hint}"
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _diagnostics_as_markdown(found: Sequence[Diagnostic]) -> str:
    rows = "".join(f"- `{each.at}` {each.code}: {each.message}\n" for each in found)
    return f"## Contract\n\nNothing can be compared, for a contract has errors:\n\n{rows}"


_DIAGNOSTIC_WRITERS: dict[str, Callable[[Sequence[Diagnostic]], str]] = {
    "json": _diagnostics_as_json,
    "github": as_github,
    "junit": _diagnostics_as_junit,
    "markdown": _diagnostics_as_markdown,
}

_NO_CHANGES: dict[str, str] = {
    "text": "",
    "github": "",
    "json": "[]\n",
    "junit": "<?xml version='1.0' encoding='us-ascii'?>\n<testsuites />\n",
}

_WRITERS: dict[str, Callable[[Report], str]] = {
    "json": _as_json,
    "github": _as_github,
    "junit": _as_junit,
    "markdown": _as_markdown,
}
