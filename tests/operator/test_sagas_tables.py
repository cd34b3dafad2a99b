"""What `sagagen sagas` prints: ids and statuses are whole, and nothing in it is a command to a terminal."""

import fcntl
import json
import os
import struct
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect
import pytest
from click import unstyle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import LIMIT_S

from sagagen.cli import sagas_table
from sagagen.cli.sagas_table import print_saga, print_sagas
from sagagen.runtime.escaping import escaped, escaped_json, escaped_lines

SAGA_ID = "5c0e2f9e-0000-5000-8000-000000000001"
TOKENS = ("retry", "resolve", "done")
"""Ours, and looked up: what is printed for them is ours too."""
HOSTILE = "\x1b]0;owned\x07\x9b2J\u202eevil\n\x00\x7f\ud800"


def listed(**changes: Any) -> dict[str, Any]:
    """A member of `sagas` as the admin listener answers it."""
    return {
        "id": SAGA_ID,
        "saga": "place_order",
        "version": 1,
        "status": "COMPENSATING",
        "age_s": 5.0,
        "step": "charge_payment",
        "service": "payment",
        "error": "UNAVAILABLE: DOWN: " + "no connection " * 20,
        "waiting_for": None,
        **changes,
    }


def shown(**changes: Any) -> dict[str, Any]:
    """What the admin listener answers about one saga."""
    step: dict[str, Any] = {
        "name": "charge_payment",
        "path": [],
        "status": "STUCK",
        "action": None,
        "attempts": 3,
        "compensation_attempts": 0,
        "error": "UNAVAILABLE",
        "event": None,
        "since": None,
        "until": None,
    }
    return {
        **listed(),
        "explanation": "It is stuck.",
        "until": None,
        "then": None,
        "created_at": "2026-11-30T00:00:00Z",
        "updated_at": "2026-11-30T00:00:00Z",
        "caller": "anonymous",
        "claims": ["groups", "tenant"],
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "starts_at": None,
        "unconsumed": [],
        "events": [{"at": "now", "event": "answered", "caller": "ann", "step": "answer"}],
        "steps": [step],
        "commands": [
            {"act": "retry", "step": "charge_payment", "as": None},
            {"act": "resolve", "step": "charge_payment", "as": "done"},
        ],
        "operators": [{"at": "now", "by": "ann", "act": "retried", "step": None, "note": "why"}],
        **changes,
    }


@pytest.mark.parametrize("columns", [20, 80, 139, 400])
def test_a_terminal_of_any_width_shows_ids_and_statuses_whole(columns: int, tmp_path: Path) -> None:
    (tmp_path / "sagas.json").write_text(json.dumps({"sagas": [listed(), listed(status="COMPLETED")]}))
    table = "from sagagen.cli.sagas_table import print_sagas"
    script = f"import json, sys; {table}; print_sagas(json.load(open(sys.argv[1])))"
    environment: Any = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    run: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-c", script, str(tmp_path / "sagas.json")],
        env=environment,
        encoding="utf-8",
        timeout=LIMIT_S,
    )
    fcntl.ioctl(run.child_fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    run.expect(pexpect.EOF)
    assert run.before is not None
    assert run.before.count(SAGA_ID) == 2
    for whole in ("COMPENSATING", "COMPLETED", "charge_payment", "UNAVAILABLE"):
        assert whole in run.before


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return unstyle(capsys.readouterr().out).splitlines()


@pytest.mark.parametrize("columns", [20, 100, 300])
def test_only_the_error_is_cut(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sagas_table.sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    print_sagas({"sagas": [listed()]})
    (head, line) = printed(capsys)
    assert line.split()[:3] == [SAGA_ID, "place_order", "v1"]
    assert line.endswith("…")
    assert head.split()[-1] == "ERROR"
    assert len(line) <= max(columns, line.index("UNAVAILABLE") + sagas_table.LEAST_OF_LAST)


def test_a_tree_is_shown_by_its_blocks_and_branches(capsys: pytest.CaptureFixture[str]) -> None:
    (plain,) = shown()["steps"]
    waits = {"status": "WAITING", "error": None, "event": "answered"}
    times = {"since": "2026-11-30T10:00:00.000Z", "until": "2026-11-30T10:10:00.000Z"}
    steps = [
        plain | {"name": "authorise", "status": "DONE"},
        plain | {"name": "open_ticket", "path": ["prepare", "restaurant"]},
        plain | {"name": "answer", "path": ["prepare", "restaurant"]} | waits | times,
        plain | {"name": "assign", "path": ["prepare", "courier"], "status": "SKIPPED", "error": None},
        plain | {"name": "reserve[a b]", "path": ["prepare", "courier", "reserve"], "status": "DONE"},
        plain
        | {"name": "pause", "path": [], "event": None}
        | {**waits, "event": None, "until": times["until"]},
    ]
    print_saga(shown(steps=steps, unconsumed=["answered"], starts_at="2026-11-30T09:00:00.000Z"))
    lines = printed(capsys)
    begin = next(number for number, line in enumerate(lines) if line.startswith("STEP"))
    assert [line[:18].rstrip() for line in lines[begin + 1 : begin + 10]] == [
        "authorise",
        "prepare",
        "  restaurant",
        "    open_ticket",
        "    answer",
        "  courier",
        "    assign",
        "    reserve",
        "      reserve[a b]",
    ]
    assert "for answered until 2026-11-30T10:10:00.000Z (since 2026-11-30T10:00:00.000Z)" in lines[begin + 5]
    assert "for time to pass until 2026-11-30T10:10:00.000Z" in lines[begin + 10]
    assert any("events that no step has got: answered" in line for line in lines)
    assert any("2026-11-30T09:00:00.000Z" in line for line in lines)


def hostile_everywhere(value: object) -> Any:
    """The same JSON, with hostile characters in each of its texts."""
    match value:
        case str():
            return value if value in TOKENS else value + HOSTILE
        case Mapping():
            return {name: hostile_everywhere(each) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case Sequence():
            return [hostile_everywhere(each) for each in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return value


def test_no_text_of_a_saga_reaches_the_terminal_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_sagas(hostile_everywhere({"sagas": [listed()]}))
    print_saga(hostile_everywhere(shown()))
    lines = printed(capsys)
    assert all(line.isprintable() for line in lines), [line for line in lines if not line.isprintable()]
    assert any(r"\x1b]0;owned" in line for line in lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries({name: st.text() for name in ("id", "saga", "status", "step", "service", "error")})
)
def test_a_table_of_any_texts_is_printable_and_has_a_line_for_each_saga(
    capsys: pytest.CaptureFixture[str], texts: dict[str, str]
) -> None:
    capsys.readouterr()
    print_sagas({"sagas": [listed(**texts), listed()]})
    (_, odd, usual) = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert odd.isprintable()
    for whole in ("id", "status", "step", "service"):
        assert escaped(texts[whole]).strip() in odd
    assert usual.split()[0] == SAGA_ID


@given(st.text())
def test_what_is_escaped_is_printable_and_says_the_same(text: str) -> None:
    assert escaped(text).isprintable()
    assert all(line.isprintable() for line in escaped_lines(text).split("\n"))
    if text.isprintable():
        assert escaped(text) == text


@given(st.recursive(st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner, max_size=3)))
def test_json_for_a_terminal_is_the_same_json(value: object) -> None:
    document = escaped_json(json.dumps(value, indent=2, ensure_ascii=False))
    assert all(line.isprintable() for line in document.split("\n"))
    assert json.loads(document) == value


def test_of_claims_the_names_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    trace = "trace 0af7651916cd43dd8448eb211c80319c"
    for claims, expected in (
        (["groups", "tenant"], f"  caller anonymous (claims: groups, tenant), {trace}"),
        ([], f"  caller anonymous, {trace}"),
    ):
        print_saga(shown(claims=claims))
        assert expected in printed(capsys)
