"""`sagagen init`: a new project that runs."""

import difflib
import shlex
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from sagagen.cli.generate import generate_once
from sagagen.contract.words import PROJECT_NAME
from sagagen.scaffold.origin import origin
from sagagen.scaffold.project import CannotInit, Template, make_project, project_name


def _template(ctx: click.Context, param: click.Parameter, value: str) -> Template:
    """By its name, case aside."""
    names = [template.value for template in Template]
    if value.lower() not in names:
        close = difflib.get_close_matches(value.lower(), names, n=1)
        hint = f'did you mean "{close[0]}"?' if close else f"choose from {', '.join(names)}"
        raise click.BadParameter(f'there is no template "{value}": {hint}', ctx, param)
    return Template(value.lower())


def _complete_template(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(each.value, help=each.summary)
        for each in Template
        if each.value.startswith(incomplete.lower())
    ]


class _Init(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Templates"):
            formatter.write_dl([(each.value, each.summary) for each in Template])


@click.command(cls=_Init)
@click.argument("directory", type=click.Path(path_type=Path), default=".")
@click.option(
    "--template",
    metavar="NAME",
    callback=_template,
    shell_complete=_complete_template,
    default=Template.MINIMAL.value,
    show_default=True,
    help="What the project does; see below.",
)
@click.option("--name", help="Name of the project. Default: derived from the folder's name.")
def init(directory: Path, template: Template, name: str | None) -> None:
    """Create a project in DIRECTORY, which must be empty or not exist: contract, handlers, tests.

    It runs with `sagagen up --watch` and passes its own tests.
    """
    if name is not None and not PROJECT_NAME.fullmatch(name):
        raise click.UsageError(f'"{name}" cannot name a project: use lower case letters, digits, - and _')
    try:
        name = name or project_name(directory.resolve())
        make_project(directory, template, name)
    except CannotInit as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    status = generate_once(directory.resolve(), force=False)
    if status == 0:
        where = "" if directory == Path() else f"cd {shlex.quote(str(directory))} && "
        click.echo(f"{name} was created from the template {template}. Next: {where}sagagen up --watch")
        if folder := origin().folder:
            click.echo(
                f"sagagen is installed from {folder}, which CI and the image can't reach: see requirements.txt"
            )
    raise SystemExit(status)
