"""Carries out `sagagen add store`: drafts a service's SQL files for PostgreSQL, and says what is left to do."""

import os
from pathlib import Path

import click

from sagagen.diagnostics import did_you_mean
from sagagen.editing.contract import Contract
from sagagen.editing.text import CannotAdd
from sagagen.python_names import allot, identifier, with_underscore
from sagagen.sql_translation.files import CannotDraft, DraftedFile, StoreFiles, store_files
from sagagen.workspace.project import ProjectNotFound, find_root


def store(directory: Path | None, name: str, *, is_check: bool, overwrites: bool) -> None:
    """Exits with 1 where something is left to do."""
    try:
        root = find_root(directory)
        services = tuple(Contract.read(root).services)
        if name not in services:
            hint = did_you_mean(name, services) or f"there are: {', '.join(services)}"
            raise click.UsageError(f'there is no service "{name}": {hint}')
        modules = allot([identifier(each) for each in services], (), with_underscore, str.casefold)
        found = store_files(root / "handlers" / f"{modules[services.index(name)]}.sql")
    except (ProjectNotFound, CannotAdd) as error:
        raise click.UsageError(str(error)) from error
    except CannotDraft as error:
        raise click.ClickException(str(error)) from error
    if not found.files:
        click.echo(f"the service {name} has no SQL file, and so no tables: there is nothing to draft")
        return
    written = [_bring(root, file, is_check=is_check, overwrites=overwrites) for file in found.files]
    is_left = _report(root, found, overwrites=overwrites)
    if is_check and not all(file.is_there for file in found.files):
        is_left = True
    if any(written) or is_left:
        click.echo(f"Next: {_next(name, is_left)}")
    if is_left:
        raise SystemExit(1)


def _bring(root: Path, file: DraftedFile, *, is_check: bool, overwrites: bool) -> bool:
    """True: the file was written."""
    path, source = _shown(root, file.path), _shown(root, file.source)
    if is_check:
        click.echo(f"{path}: {'is there' if file.is_there else f'is missing; {source} would be drafted'}")
        return False
    if file.is_there and not overwrites:
        click.echo(f"{path}: is already there, and stays as it is; --overwrite drafts it anew")
        return False
    try:
        with file.path.open("w" if overwrites else "x", encoding="utf-8") as target:
            target.write(file.text)
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"{path}: {'written over' if file.is_there else 'new'}, from {source}")
    return True


def _report(root: Path, found: StoreFiles, *, overwrites: bool) -> bool:
    """Say what is left to do, and what of the handlers' SQL PostgreSQL would not take. True: something is left."""
    is_left = False
    for file in found.files:
        for mark in file.marks(overwrites=overwrites):
            is_left = True
            click.echo(f"{_shown(root, file.path)}:{mark.line}: {mark.text}", err=True)
    for path, warned in found.warnings:
        click.echo(f"{_shown(root, path)}:{warned.line}: warning: {warned.text}", err=True)
    return is_left


def _next(name: str, is_left: bool) -> str:
    variable = f"SAGAGEN_{name.upper()}_DATABASE_URL"
    if is_left:
        return f"settle what is marked, and take each `-- sagagen:` line out; then set {variable}"
    return f"read the draft, then set {variable} and start the service (docs/postgres.md)"


def _shown(root: Path, path: Path) -> str:
    return os.path.relpath(path, root)
