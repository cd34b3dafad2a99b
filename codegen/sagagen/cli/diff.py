"""`sagagen diff`: what a change of the contract breaks."""

import asyncio
import datetime
import sys
from collections.abc import Container, Sequence
from pathlib import Path

import click

from sagagen.cli.diff_report import (
    DIFF_FORMATS,
    DiffFormat,
    Report,
    print_all_new,
    print_diagnostics_instead,
    print_report,
)
from sagagen.cli.diff_running import read_open_sagas
from sagagen.cli.sagas_listener import AdminError
from sagagen.compatibility.baseline import NoBaseline, NothingThere, baseline
from sagagen.compatibility.change import ChangeSeverity
from sagagen.compatibility.compare import compare, waived, weighed
from sagagen.compatibility.running import OpenSagas
from sagagen.contract import BufMissing, Mesh, Sources, load, resolve
from sagagen.contract.buf import BufFailed
from sagagen.contract.codes import UNSOUND
from sagagen.diagnostics import Diagnostic, has_errors, in_order
from sagagen.runtime.log.store import LogError
from sagagen.runtime.sqlite.database import DatabaseError
from sagagen.workspace.project import ProjectNotFound, find_root


class NotComparable(click.ClickException):
    """The two contracts can't be compared. Neither "nothing breaks" nor "something breaks", and no wrong usage."""

    exit_code = 2


class _HasErrors(Exception):
    """One of the two contracts is wrong."""

    def __init__(self, whose: str, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(f"{whose} has errors (`sagagen check` shows them): there is nothing to compare")
        self.diagnostics = diagnostics


@click.command()
@click.option(
    "--against", required=True, metavar="REF|DIR", help="A commit in git, or the folder of a project."
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(DIFF_FORMATS),
    default="text",
    show_default=True,
    help="text is for people, json and junit for programs, github and markdown for pull requests.",
)
@click.option(
    "--running",
    metavar="FILE|URL",
    help="Count the open sagas that each change hits. A saga log, or a gateway's admin listener.",
)
@click.option(
    "--token", envvar="SAGAGEN_ADMIN_TOKEN", default="", help="Token of the admin listener, if it needs one."
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def diff(
    against: str, output_format: DiffFormat, running: str | None, token: str, directory: Path | None
) -> None:
    """Report what this contract breaks, compared with an older one.

    Looks at the wire format and JSON (buf), the HTTP edge, and open sagas. Exits 0 if nothing breaks, 1 if something
    does, 2 if the two can't be compared. Where there was no contract before, everything is new, and nothing breaks.
    """
    try:
        root = find_root(directory)
        try:
            report = _report(root, against, running, token)
        except NothingThere as nothing:
            _contract(root, "this contract")
            print_all_new(str(nothing), output_format)
            return
    except (ProjectNotFound, BufMissing, BufFailed, NoBaseline, AdminError, DatabaseError, LogError) as error:
        raise NotComparable(str(error)) from error
    except _HasErrors as wrong:
        print_diagnostics_instead(wrong.diagnostics, output_format)
        raise NotComparable(str(wrong)) from wrong
    print_report(report, sys.stdout, output_format)
    if any(change.severity is ChangeSeverity.BREAKING for change in report.changes):
        raise SystemExit(1)


def _report(root: Path, against: str, running: str | None, token: str) -> Report:
    with baseline(root, against) as old_root:
        # An older release may have let it pass: then this contract may be the fix.
        old_sources, old = _contract(old_root, f"the contract of {against}", UNSOUND)
    _, new = _contract(root, "this contract")
    changes = compare(root, old_sources, old, new)
    open_sagas = OpenSagas(asyncio.run(read_open_sagas(running, token, old)), old) if running else None
    if open_sagas:
        changes = weighed(changes, open_sagas)
    today = datetime.datetime.now(datetime.UTC).date()
    return Report(against, old, new, waived(changes, new.waivers, today), open_sagas)


def _contract(root: Path, whose: str, tolerated: Container[str] = ()) -> tuple[Sources, Mesh]:
    sources, found = load(root)
    mesh, found_resolving = resolve(sources, tolerated)
    diagnostics = [each for each in in_order([*found, *found_resolving]) if each.code not in tolerated]
    if mesh is None or has_errors(diagnostics):
        raise _HasErrors(whose, [each for each in diagnostics if has_errors([each])])
    return sources, mesh
