"""`sagagen generate`: emit the mesh from the contract, or report how the files on disk differ from it.

Slow imports happen where they are needed, so that a run with nothing to do costs next to nothing.
"""

import gc
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagagen.cache import NO_CACHE, Cache
from sagagen.workspace.project import ProjectNotFound, find_root

if TYPE_CHECKING:
    from sagagen.workspace.snapshot import Snapshot


@click.command()
@click.option(
    "--check",
    "only_compare",
    is_flag=True,
    help="Write nothing; report the files that differ, and exit 1 if there are any.",
)
@click.option("--diff", "only_preview", is_flag=True, help="Write nothing; show what would change.")
@click.option("--force", is_flag=True, help="Overwrite files under generated/ that were edited by hand.")
@click.option("--watch", is_flag=True, help="Run again whenever the contract or a handler changes.")
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def generate(
    only_compare: bool, only_preview: bool, force: bool, watch: bool, directory: Path | None
) -> None:
    """Emit the mesh from the contract: all of generated/, and missing files of handlers/ and gateway/.

    Existing handler files gain methods for new rpcs, and follow renamed types; nothing in them is removed. Files under
    generated/ that were edited by hand are reported, and overwritten only with --force.
    """
    if only_compare + only_preview + watch > 1 or (force and (only_compare or only_preview)):
        raise click.UsageError(
            "--check, --diff and --watch exclude one another, and --force works only when files are written"
        )
    try:
        root = find_root(directory)
        if watch:
            from sagagen.cli.generate_watch import watch_project

            watch_project(root, force=force)
        elif only_compare:
            sys.exit(_with_contract(root, "check", NO_CACHE, {}))
        elif only_preview:
            from sagagen.workspace.snapshot import open_cache, snapshot

            before = snapshot(root)
            sys.exit(_with_contract(root, "show", open_cache(root, before, writes=False), before))
        else:
            sys.exit(generate_once(root, force=force))
    except ProjectNotFound as error:
        raise click.UsageError(str(error)) from None


def generate_once(root: Path, *, force: bool) -> int:
    """Bring the files in line, unless nothing has changed since the last run. Returns the exit code."""
    from sagagen.workspace.no_change import unchanged
    from sagagen.workspace.snapshot import open_cache, snapshot

    before = snapshot(root)
    cache = open_cache(root, before)
    warnings = unchanged(cache, before)
    if warnings is None:
        return _with_contract(root, "run", replace(cache, reads=not force), before, force=force)
    if warnings:
        from sagagen.cli.report import print_diagnostics

        print_diagnostics(warnings, sys.stderr)
    click.echo(NOTHING_TO_DO)
    return 0


def _with_contract(root: Path, what: str, cache: Cache, before: "Snapshot", **options: object) -> int:
    """Call a function of `generate_run`. While that is imported, buf reads the protos, which takes as long.

    The message compiler starts as well, unless the cache knows that the protos are unchanged. `before`: the snapshot
    of the project now.
    """
    from sagagen.contract.built import Built
    from sagagen.emit.compiler_process import spare_compiler
    from sagagen.workspace.snapshot import is_self_contained, protos

    gc.disable()  # everything is needed until the end
    now = protos(before)
    built = Built.latest(cache) if is_self_contained(root) else None
    with spare_compiler() as prepare:
        if built is None or built.changed(now):
            prepare()
        from sagagen.contract.buf import BufMissing  # slow to import; the compiler starts meanwhile
        from sagagen.contract.loading import loading

        try:
            with loading(root, built, now) as started:
                module = importlib.import_module("sagagen.cli.generate_run")
                return getattr(module, what)(started, cache, before, **options)
        except BufMissing as error:
            raise click.UsageError(str(error)) from None
        finally:
            gc.freeze()  # the process ends soon: the collector need not look through any of this
            gc.enable()


NOTHING_TO_DO = "nothing to do: the mesh on disk is what the contract emits"
