"""Diagnostics for people, for programs and for pull requests."""

import io
import json

from sagagen.cli.report import as_github, as_json, print_diagnostics, summary
from sagagen.diagnostics import Diagnostic, Severity
from sagagen.source import Span

UNKNOWN = Diagnostic(
    Span("contracts/saga.yaml", 14, 7),
    Severity.ERROR,
    "SG014",
    'no "Refund", 100%',
    'did you mean "RefundCharge"?',
)
UNTIDY = Diagnostic(Span("contracts/a,b.proto", 3, 1), Severity.WARNING, "SG002", "[bold]untidy[/bold]")


def test_text_has_place_code_message_and_hint_on_plain_lines() -> None:
    stream = io.StringIO()
    print_diagnostics([UNKNOWN, UNTIDY], stream)
    assert stream.getvalue().splitlines() == [
        "contracts/a,b.proto:3:1: warning[SG002]: [bold]untidy[/bold]",
        'contracts/saga.yaml:14:7: error[SG014]: no "Refund", 100%',
        '  hint: did you mean "RefundCharge"?',
    ]


def test_json_is_one_array() -> None:
    assert json.loads(as_json([UNKNOWN]))[0] == {
        "path": "contracts/saga.yaml",
        "line": 14,
        "column": 7,
        "severity": "error",
        "code": "SG014",
        "message": 'no "Refund", 100%',
        "hint": 'did you mean "RefundCharge"?',
    }
    assert json.loads(as_json([])) == []


def test_workflow_commands_are_escaped() -> None:
    assert as_github([UNKNOWN, UNTIDY]) == (
        "::error file=contracts/saga.yaml,line=14,col=7,title=SG014::"
        'no "Refund", 100%25%0Ahint: did you mean "RefundCharge"?\n'
        "::warning file=contracts/a%2Cb.proto,line=3,col=1,title=SG002::[bold]untidy[/bold]\n"
    )


def test_the_summary_counts() -> None:
    assert summary([UNKNOWN, UNKNOWN, UNTIDY]) == "2 errors, 1 warning"
    assert summary([]) == ""
