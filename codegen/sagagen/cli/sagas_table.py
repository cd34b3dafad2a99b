"""How sagas are shown to people: in columns that lose no id and no status, and with nothing that moves a cursor."""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from sagagen.cli.sagas_place import place_in_contract
from sagagen.runtime.admin.words import CommandLine, age, command_lines
from sagagen.runtime.escaping import escaped

GAP = "  "
LAST_COLUMN, LEAST_OF_LAST = 80, 20
"""Width of the last column in characters: when the output is not a terminal, and the minimum."""

_IN_WORDS = {"GAVE_UP": "SKIPPED (may have happened)", "NOT_CALLED": "not called", "IN_DOUBT": "unknown"}


def print_sagas(shown: Mapping[str, Any], *, is_wide: bool = False) -> None:
    """`is_wide`: also when they were accepted, when they changed last, and until when they wait; nothing is cut."""
    found: Sequence[Mapping[str, Any]] = shown["sagas"]
    times = ("ACCEPTED", "CHANGED", "UNTIL") if is_wide else ()
    print_table(
        ("ID", "SAGA", "STATUS", "AGE", *times, "STEP", "SERVICE", "ERROR"),
        [
            (
                saga["id"],
                f"{saga['saga']} v{saga['version']}",
                saga["status"],
                age(saga["age_s"]),
                *((saga["created_at"], saga["updated_at"] or "", saga["until"] or "") if is_wide else ()),
                saga["step"] or "",
                saga["service"] or "",
                saga["error"] or saga["waiting_for"] or "",
            )
            for saga in found
        ],
        is_whole=is_wide,
    )


def print_saga(saga: Mapping[str, Any], options: str = "") -> None:
    """`options` are those that lead the commands it proposes to the same place."""
    say(f"{saga['saga']} v{saga['version']} {saga['id']}: {saga['status']}")
    say("")
    say(f"  {saga['explanation']}")
    if saga.get("next_attempt_by"):
        say(f"  The next attempt begins at {saga['next_attempt_by']} at the latest.")
    if saga["until"]:
        say(f"  Until {saga['until']}; then {saga['then']}.")
    if place := place_in_contract(saga["saga"], saga["version"], saga["step"] or ""):
        say(f"  The contract: {place}")
    if saga["error"]:
        say(f"  Last error: {saga['error']}")
    say("")
    say(f"  accepted {saga['created_at']} ({age(saga['age_s'])} ago), last change {saga['updated_at']}")
    claims = f" (claims: {', '.join(saga['claims'])})" if saga.get("claims") else ""
    say(f"  caller {saga['caller']}{claims}, trace {saga['trace_id']}")
    if saga.get("hidden"):
        say(f"  Not all of it can be shown: {saga['hidden']}.")
    say("")
    if saga["starts_at"]:
        say(f"  it starts, or started, at {saga['starts_at']}")
    if saga["unconsumed"]:
        say(f"  events that no step has got: {', '.join(saga['unconsumed'])}")
    print_table(("STEP", "STATUS", "ATTEMPTS", "UNDOING", "LAST ERROR"), list(_tree(saga["steps"])))
    for event in saga["events"]:
        got = f"; step {event['step']} got it" if event["step"] else ""
        say(f"  {event['at']} event {event['event']} of {event['caller'] or 'someone'}{got}")
    for done in saga["operators"]:
        step = f" {done['step']}" if done["step"] else ""
        note = f": {done['note']}" if done["note"] else ""
        say(f"  {done['at']} {done['by'] or 'someone'} {done['act'].replace('_', ' ')}{step}{note}")
    if saga["commands"]:
        say("")
        say("What you can do:")
        _print_commands(command_lines(saga["id"], saga["commands"], options))


def _tree(steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line for each step, and above those of a block, a branch or a loop one with its name."""
    shown: Sequence[str] = ()
    for step in steps:
        path: Sequence[str] = step["path"]
        known = next((n for n, (a, b) in enumerate(zip(shown, path, strict=False)) if a != b), len(shown))
        for depth in range(min(known, len(path)), len(path)):
            yield "  " * depth + path[depth], "", "", "", ""
        shown = path
        yield _step(step)


def _step(step: Mapping[str, Any]) -> tuple[str, ...]:
    undoing = str(step["compensation_attempts"] or "")
    status = in_words(step["status"], step["action"])
    name = "  " * len(step["path"]) + step["name"]
    return name, status, str(step["attempts"]), undoing, step["error"] or _waiting(step)


def _waiting(step: Mapping[str, Any]) -> str:
    """What a step waits for, in the place of an error."""
    if step["status"] != "WAITING":
        return ""
    what = f"for {step['event']}" if step["event"] else "for time to pass"
    until = f" until {step['until']}" if step["until"] else ""
    since = f" (since {step['since']})" if step["since"] else ""
    return f"{what}{until}{since}"


def _print_commands(commands: Sequence[CommandLine]) -> None:
    width = max(len(command) for command, _ in commands)
    for command, does in commands:
        say(f"  {command.ljust(width)}  # {does}")


def say(line: str) -> None:
    """One line, with whatever of it others have chosen made harmless."""
    click.echo(escaped(line))


def in_words(status: str, action: str | None = None) -> str:
    """A step's status as people read it; programs (`-o json`, the API) read the tokens."""
    if status == "PASSED_OVER":
        return "done, nothing to undo" if action == "DONE" else "unknown, nothing to undo"
    return _IN_WORDS.get(status, status)


def print_stats(shown: Mapping[str, Any]) -> None:
    endings = ("COMPLETED", "COMPENSATED", "SUPERSEDED")
    print_table(
        ("SAGA", "ACTIVE", "STUCK", "OLDEST", *endings),
        [
            (
                name,
                str(counts["in_flight"]),
                str(counts["stuck"]),
                age(counts["oldest_unfinished_age_s"]),
                *(str(counts["ended"].get(ending, 0)) for ending in endings),
            )
            for name, counts in shown["sagas"].items()
        ],
    )
    for name, counts in shown["sagas"].items():
        for line in _old_versions(name, counts["versions"]):
            say(line)
    if leaving := shown.get("leaving"):
        say(leaving["says"])
    if log := shown.get("log"):
        full = "; the disk is full: new sagas are refused" if log["is_disk_full"] else ""
        click.echo(f"the log takes {log['size_bytes'] / 1e6:.1f} MB{full}")


def _old_versions(name: str, versions: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Which old versions can be removed from the code."""
    newest = max((int(version) for version in versions), default=0)
    for version, counts in versions.items():
        if counts["can_go"]:
            yield f"{name} version {version} can go: no open saga runs on it"
        elif int(version) < newest and counts["unfinished"]:
            yield f"{name} version {version} must stay: open sagas on it: {counts['unfinished']}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, is_whole: bool = False) -> None:
    """Columns are as wide as what is in them, whatever the terminal; the last one alone is cut, unless `is_whole`."""
    shown = [head, *([*map(escaped, row[:-1]), " ".join(row[-1].split())] for row in rows)]
    widths = [max(len(row[n]) for row in shown) for n in range(len(head) - 1)]
    last = _last_width(sum(widths) + len(GAP) * len(widths))
    for number, row in enumerate(shown):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        line = [*map(_styled, cells), escaped(row[-1]) if is_whole else _cut(escaped(row[-1]), last)]
        click.echo(GAP.join(line).rstrip() if number else click.style(GAP.join(line).rstrip(), bold=True))


def _last_width(before: int) -> int:
    """Of the last column: what a terminal has left, but enough to see what it is about."""
    if not sys.stdout.isatty():
        return LAST_COLUMN
    return max(LEAST_OF_LAST, shutil.get_terminal_size().columns - before)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _styled(cell: str) -> str:
    """Colours for a terminal; `click.echo` takes them out again where there is none."""
    style = _STYLES.get(cell.strip())
    return click.style(cell, **style) if style else cell


_STYLES: Mapping[str, Mapping[str, Any]] = {
    "STUCK": {"fg": "red", "bold": True},
    "UNREADABLE": {"fg": "red", "bold": True},
    "COMPENSATING": {"fg": "yellow"},
    "COMPENSATED": {"fg": "yellow"},
    "COMPLETED": {"fg": "green"},
}
