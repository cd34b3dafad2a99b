"""`sagagen generate`: emit the mesh from the contract, or say how the disk differs from it.

What takes long to import is imported where it is needed, so that a run with nothing to do costs next to nothing.
"""

import sys
from pathlib import Path

import click

from sagagen.workspace.project import ProjectNotFound, find_root


@click.command()
@click.option(
    "--check", "only_compare", is_flag=True, help="Write nothing; exit 1 and name the files that differ."
)
@click.option("--diff", "only_preview", is_flag=True, help="Write nothing; show what would change.")
@click.option("--force", is_flag=True, help="Overwrite files under generated/ that were edited by hand.")
@click.option("--watch", is_flag=True, help="Run again whenever the contract or a handler changes.")
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder; else the nearest one upwards with contracts/saga.yaml.",
)
def generate(
    only_compare: bool, only_preview: bool, force: bool, watch: bool, directory: Path | None
) -> None:
    """Emit the mesh from the contract: all of generated/, and handlers/ and gateway/ where there are none.

    Handler files that exist gain methods for new rpcs, and follow types that are called otherwise; nothing in them is
    removed. Files under generated/ that were edited by hand are named, and overwritten only with --force.
    """
    if only_compare + only_preview + watch > 1 or (force and (only_compare or only_preview)):
        raise click.UsageError(
            "--check, --diff and --watch exclude one another, and --force goes with writing"
        )
    try:
        root = find_root(directory)
        if watch:
            from sagagen.cli.generate_watch import watch_project

            watch_project(root, force=force)
        elif only_compare or only_preview:
            from sagagen.cli.generate_run import check, show

            sys.exit(show(root) if only_preview else check(root))
        else:
            sys.exit(_generate(root, force=force))
    except ProjectNotFound as error:
        raise click.UsageError(str(error)) from None


def _generate(root: Path, *, force: bool) -> int:
    """The exit code."""
    from sagagen.workspace.no_change import unchanged

    warnings = unchanged(root)
    if warnings is None:
        from sagagen.cli.generate_run import run

        return run(root, force=force)
    if warnings:
        from sagagen.cli.report import print_diagnostics

        print_diagnostics(warnings, sys.stderr)
    click.echo(NOTHING_TO_DO)
    return 0


NOTHING_TO_DO = "nothing to do: the mesh on disk is what the contract emits"
