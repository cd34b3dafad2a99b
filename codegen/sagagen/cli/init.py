"""`sagagen init`: a new project that runs."""

import shlex
from pathlib import Path

import click

from sagagen.cli.generate import generate_once
from sagagen.contract.words import PROJECT_NAME
from sagagen.scaffold.origin import origin
from sagagen.scaffold.project import CannotInit, Template, make_project, project_name


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=".")
@click.option(
    "--template",
    type=click.Choice([template.value for template in Template]),
    default=Template.MINIMAL.value,
    show_default=True,
    help="minimal has one service and one saga; shop has orders, stock and payment.",
)
@click.option("--name", help="Name of the project. Default: derived from the folder's name.")
def init(directory: Path, template: str, name: str | None) -> None:
    """Create a project in DIRECTORY, which must be empty or not exist: contract, handlers, tests.

    It runs with `sagagen up` and passes its own tests.
    """
    if name is not None and not PROJECT_NAME.fullmatch(name):
        raise click.UsageError(f'"{name}" cannot name a project: use lower case letters, digits, - and _')
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
        click.echo(f"{name} was created from the template {template}. Next: {where}sagagen up")
        if folder := origin().folder:
            click.echo(
                f"sagagen is installed from {folder}, which CI and the image can't reach: see requirements.txt"
            )
    raise SystemExit(status)
