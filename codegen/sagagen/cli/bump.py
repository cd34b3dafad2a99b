"""`sagagen bump`: raise a saga's version and keep the old one beside it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagagen.cli.completion_words import complete_sagas
from sagagen.workspace.project import CONTRACT, ProjectNotFound, find_root

if TYPE_CHECKING:
    from sagagen.workspace.versions import Earlier

_DIGEST = re.compile(r'^ +digest="(?P<digest>[0-9a-f]{64})",$', re.MULTILINE)


@click.command()
@click.argument("saga", shell_complete=complete_sagas)
@click.option(
    "--against",
    metavar="REF|DIR",
    help="What has the old text: a commit in git, or a project's folder. Default: where this branch left the main one.",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def bump(saga: str, against: str | None, directory: Path | None) -> None:
    """Raise the version of SAGA, and keep the old one for open sagas.

    Before or after a breaking change: the old text comes from git. New sagas take the new version, open sagas end on
    theirs.
    """
    from sagagen.compatibility.baseline import NoBaseline, NothingThere
    from sagagen.contract import BufMissing
    from sagagen.workspace.versions import CannotBump
    from sagagen.workspace.versions import bump as bump_saga

    try:
        root = find_root(directory)
        bumped = bump_saga(root, saga, _earlier(root, against), lambda n: _is_edited(root, saga, n, against))
    except (ProjectNotFound, CannotBump, NoBaseline, NothingThere, BufMissing) as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    click.echo(
        f"{bumped.kept}: version {bumped.old} for open sagas, as in {bumped.source}; "
        f"`sagagen sagas stats` says when it can go"
    )


def _earlier(root: Path, against: str | None) -> "Iterator[Earlier]":
    from sagagen.compatibility.baseline import baseline
    from sagagen.compatibility.earlier import earlier_contracts
    from sagagen.workspace.versions import Earlier

    if against is None:
        yield from (Earlier(name, content) for name, content in earlier_contracts(root))
        return
    with baseline(root, against) as old:
        yield Earlier(against, (old / CONTRACT).read_bytes())


def _is_edited(root: Path, saga: str, version: int, against: str | None) -> bool:
    """Whether the saga's meaning differs from what was generated last. What was never generated has no instances."""
    from sagagen.contract import read_contract
    from sagagen.workspace.versions import CannotBump

    if against is not None:
        raise CannotBump(f"{against} has no version {version} of {saga}, nor an older one that is not kept")

    generated = root / "generated" / "sagas" / f"{saga}_v{version}.py"
    found = _DIGEST.search(generated.read_text("utf-8")) if generated.is_file() else None
    if found is None:
        return False
    mesh, _ = read_contract(root)
    now = next((each.digest for each in mesh.sagas if each.name == saga), "") if mesh else ""
    return now != found["digest"]
