"""`sagagen init`: a new project that runs."""

import shlex
from pathlib import Path

import click

from sagagen.cli.generate import generate_once
from sagagen.contract.words import PROJECT_NAME
from sagagen.scaffold.project import CannotInit, Template, make_project, project_name


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=".")
@click.option(
    "--template",
    type=click.Choice([template.value for template in Template]),
    default=Template.MINIMAL.value,
    show_default=True,
    help="minimal: one service and one saga. shop: orders, stock and payment.",
)
@click.option("--name", help="Of the project; else made of the folder's name.")
def init(directory: Path, template: str, name: str | None) -> None:
    """Make a project in DIRECTORY, which must be empty or not there: contract, handlers, tests.

    It runs with `sagagen up` and passes its own tests.
    """
    if name is not None and not PROJECT_NAME.fullmatch(name):
        raise click.UsageError(f'"{name}" is no name for a project: lower case letters, digits, - and _')
    try:
        name = name or project_name(directory.resolve())
        make_project(directory, Template(template), name)
    except CannotInit as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    status = generate_once(directory.resolve(), force=False)
    if status == 0:
        where = "" if directory == Path() else f"cd {shlex.quote(str(directory))} && "
        click.echo(f"{name} is made from the template {template}. Next: {where}sagagen up")
    raise SystemExit(status)
