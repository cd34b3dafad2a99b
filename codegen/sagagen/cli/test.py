"""`sagagen test --matrix`: play every row of the failure table on the project's own handlers."""

import inspect
import os
import pdb
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sagagen.cli.completion_words import complete_sagas
from sagagen.runtime.process.project import Project
from sagagen.runtime.startup import StartupError
from sagagen.testing.invariants import InvariantsError
from sagagen.testing.matrix.report import as_junit, as_markdown, as_text
from sagagen.testing.matrix.running import Matrix, MatrixError, OnVerdict, Options, matrices, run, wanted_rows
from sagagen.testing.matrix.snapshots import SNAPSHOTS, SnapshotError
from sagagen.testing.matrix.verdicts import SagaVerdicts, Verdict
from sagagen.testing.samples import SampleError
from sagagen.workspace.project import ProjectNotFound, find_root

_NO_MATRIX = (
    "say what to test: `sagagen test --matrix` plays each way in which each step can fail. "
    "Tests that you have written run by `python -m pytest`"
)
_SHOWN = 10
"""So many rows are named where one was asked for."""


@click.command()
@click.option("--matrix", "is_matrix", is_flag=True, help="Play each way in which each step can fail.")
@click.option(
    "--only",
    metavar="PATTERN",
    multiple=True,
    help="Only these rows: a part of their names, or a pattern like 'place_order/*/crash-*'. May be repeated.",
    shell_complete=complete_sagas,
)
@click.option("--list", "is_list", is_flag=True, help="Name the rows and play none.")
@click.option("--approve", is_flag=True, help=f"Keep what the rows leave, in {SNAPSHOTS.as_posix()}.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn: back-offs, ids.")
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a report for CI as well.",
)
@click.option(
    "--markdown",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a report for a pull request as well.",
)
@click.option(
    "--debug",
    is_flag=True,
    help="Play one row so that breakpoint() in a handler stops there; tell its story.",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def test(
    is_matrix: bool,
    only: tuple[str, ...],
    is_list: bool,
    approve: bool,
    seed: int,
    junit: Path | None,
    markdown: Path | None,
    debug: bool,
    directory: Path | None,
) -> None:
    """Test the sagas on your handlers: in this process, on virtual time, without ports and files.

    Exits 0 if every row ends as it should and leaves what was approved, 1 if one does not.
    """
    if not is_matrix:
        raise click.UsageError(_NO_MATRIX)
    reports = _Reports(junit, markdown, seed)
    options = Options(only, seed, approve)
    try:
        project = Project.load(find_root(directory))
        if is_list:
            _list(project, options)
        else:
            (_debug if debug else _play)(project, options, reports)
    except ProjectNotFound as error:
        raise click.UsageError(str(error)) from error
    except (MatrixError, SampleError, SnapshotError, InvariantsError, StartupError) as error:
        raise click.ClickException(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Reports:
    """Where the results go besides the terminal."""

    junit: Path | None
    markdown: Path | None
    seed: int

    def write(self, found: Sequence[SagaVerdicts], seconds: float) -> None:
        """Raises click.ClickException where a file can't be written."""
        try:
            if self.junit:
                self.junit.write_text(as_junit(found, self.seed), "utf-8")
            if self.markdown:
                self.markdown.write_text(as_markdown(found, seconds, self.seed), "utf-8")
        except OSError as error:
            raise click.ClickException(f"{error.filename} can't be written: {error.strerror}") from error


def _play(project: Project, options: Options, reports: _Reports) -> None:
    began = time.monotonic()
    rows = matrices(project, options)
    wanted = wanted_rows(rows, options)
    with _progress(len(wanted)) as tell:
        found = run(rows, options, tell)
    seconds = time.monotonic() - began
    click.echo(as_text(found, seconds, options.seed))
    reports.write(found, seconds)
    if not all(verdict.is_ok for each in found for verdict in each.verdicts):
        raise click.exceptions.Exit(1)


@contextmanager
def _progress(count: int) -> Generator[OnVerdict]:
    """Tell on a terminal how far it is; elsewhere nothing is told before the end."""
    done = 0

    def tell(verdict: Verdict) -> None:
        nonlocal done
        done += 1
        if is_terminal:
            click.echo(f"\r\033[K{done}/{count}  {verdict.row}"[: _width() + 4], nl=False, err=True)

    is_terminal = sys.stderr.isatty()
    try:
        yield tell
    finally:
        if is_terminal:
            click.echo("\r\033[K", nl=False, err=True)


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80


def _list(project: Project, options: Options) -> None:
    found = matrices(project, options)
    wanted = wanted_rows(found, options)
    for matrix in found:
        for row in matrix.rows:
            if row.name in wanted:
                click.echo(row.name)


# -- a debugger ----------------------------------------------------------------------------------------------------


def _debug(project: Project, options: Options, reports: _Reports) -> None:
    """Play one row. Before its own saga begins no breakpoint stops: those that are compared with it have it too."""
    began = time.monotonic()
    breakpoints = _Breakpoints()
    with breakpoints.ignored():
        found = matrices(project, options)
        _check_one(found, options)
        verdicts = run(found, options, on_row=breakpoints.heed)
    (verdict,) = [verdict for each in verdicts for verdict in each.verdicts]
    for line in verdict.story:
        click.echo(f"  | {line}")
    click.echo(as_text([each for each in verdicts if each.verdicts], time.monotonic() - began, options.seed))
    reports.write(verdicts, time.monotonic() - began)
    if not verdict.is_ok:
        raise click.exceptions.Exit(1)


def _check_one(found: Sequence[Matrix], options: Options) -> None:
    names = [row.name for matrix in found for row in matrix.rows]
    wanted = sorted(wanted_rows(found, options), key=names.index)
    if len(wanted) > 1:
        more = f", and {len(wanted) - _SHOWN} more" if len(wanted) > _SHOWN else ""
        raise click.UsageError(
            f"--debug plays one row, and {len(wanted)} fit: {', '.join(wanted[:_SHOWN])}{more}; name it with --only"
        )


class _Breakpoints:
    """What breakpoint() does: nothing, until the row's own saga begins."""

    def __init__(self) -> None:
        self._hook = sys.breakpointhook

    @contextmanager
    def ignored(self) -> Generator[None]:
        """Heed none within the block, but after `heed`."""
        sys.breakpointhook = _ignore
        try:
            yield
        finally:
            sys.breakpointhook = self._hook

    def heed(self, is_row: bool) -> None:
        """They stop while the row's own saga runs."""
        own = "PYTHONBREAKPOINT" in os.environ or self._hook is not sys.__breakpointhook__
        sys.breakpointhook = (self._hook if own else _stop) if is_row else _ignore


def _ignore(*_args: Any, **_more: Any) -> None:
    pass


def _stop(*_args: Any, **_more: Any) -> None:
    here = inspect.currentframe()
    _Debugger().set_trace(here.f_back if here else None)


class _Debugger(pdb.Pdb):
    """Leaving it ends the command: what pdb raises there would pass for the handler's failure, and be repeated."""

    def do_quit(self, arg: str) -> bool | None:
        sys.stdout.flush()
        os._exit(1)

    do_q = do_exit = do_quit
