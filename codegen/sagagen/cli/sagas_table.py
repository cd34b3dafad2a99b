"""How sagas are shown to people: with rich where it is installed and this is a terminal, otherwise in plain columns."""

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from sagagen.cli.sagas_place import place_in_contract

_IN_WORDS = {"PASSED_OVER": "SKIPPED (nothing to undo)", "NOT_CALLED": "not called", "IN_DOUBT": "unknown"}


def print_sagas(shown: Mapping[str, Any]) -> None:
    found: Sequence[Mapping[str, Any]] = shown["sagas"]
    if not found:
        click.echo("no sagas")
        return
    _print_table(
        ("ID", "SAGA", "STATUS", "AGE", "STEP", "SERVICE", "ERROR"),
        [
            (
                saga["id"],
                f"{saga['saga']} v{saga['version']}",
                saga["status"],
                age(saga["age_s"]),
                saga["step"] or "",
                saga["service"] or "",
                _short(saga["error"] or saga["waiting_for"] or ""),
            )
            for saga in found
        ],
    )


def print_saga(saga: Mapping[str, Any]) -> None:
    click.echo(f"{saga['saga']} v{saga['version']} {saga['id']}: {saga['status']}\n")
    click.echo(f"  {saga['explanation']}")
    if saga["until"]:
        click.echo(f"  Until {saga['until']}; then {saga['then']}.")
    if place := place_in_contract(saga["saga"], saga["step"] or ""):
        click.echo(f"  The contract: {place}")
    if saga["error"]:
        click.echo(f"  Last error: {saga['error']}")
    click.echo(
        f"\n  accepted {saga['created_at']} ({age(saga['age_s'])} ago), last change {saga['updated_at']}"
    )
    click.echo(f"  caller {saga['caller']}, trace {saga['trace_id']}\n")
    steps = [
        (s["name"], in_words(s["status"]), str(s["attempts"]), _short(s["error"] or ""))
        for s in saga["steps"]
    ]
    _print_table(("STEP", "STATUS", "ATTEMPTS", "LAST ERROR"), steps)
    for done in saga["operators"]:
        step = f" {done['step']}" if done["step"] else ""
        note = f": {done['note']}" if done["note"] else ""
        click.echo(f"  {done['at']} {done['by'] or 'someone'} {done['act']}{step}{note}")


def in_words(status: str) -> str:
    """A step's status as people read it; programs (`--json`, the API) read the token."""
    return _IN_WORDS.get(status, status)


def print_stats(shown: Mapping[str, Any]) -> None:
    endings = ("COMPLETED", "COMPENSATED", "SUPERSEDED")
    _print_table(
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
            click.echo(line)
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


def age(seconds: float | None) -> str:
    """`12s`, `5m10s`, `3h20m`, `2d4h`; empty for none."""
    if seconds is None:
        return ""
    whole = int(seconds)
    for unit, size, below, below_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // below_size
            return f"{whole // size}{unit}{rest}{below}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if sys.stdout.isatty() and importlib.util.find_spec("rich"):
        _print_rich(head, rows)
    else:
        _print_plain(head, rows)


def _print_plain(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_rich(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    Console().print(table)


def _style(cell: str) -> str:
    return {"STUCK": "bold red", "COMPENSATING": "yellow", "COMPENSATED": "yellow", "COMPLETED": "green"}.get(
        cell, ""
    )
