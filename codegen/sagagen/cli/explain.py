"""`sagagen explain`: what a code means, what provokes it, and how to fix it; or why a saga is where it is."""

import re

import click

from sagagen.catalogue import ENTRIES, SECTIONS
from sagagen.catalogue.document import markdown
from sagagen.catalogue.entry import Entry
from sagagen.cli.completion_words import complete_codes
from sagagen.cli.explain_saga import explain_saga, is_saga
from sagagen.cli.sagas_options import Place, where
from sagagen.compatibility.change import Rule
from sagagen.compatibility.rules import OWN_RULES
from sagagen.diagnostics import did_you_mean

_CODE = re.compile(r"(?P<kind>SG|SD)?(?P<number>\d{1,3})")


@click.command()
@click.argument("code", metavar="[CODE|SAGA_ID]", required=False, shell_complete=complete_codes)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(("text", "markdown")),
    default="text",
    show_default=True,
    help="markdown: the whole catalogue as one document.",
)
@where
def explain(code: str | None, output_format: str, place: Place) -> None:
    """Explain CODE: its cause, an example and the fix. Without CODE, list all codes.

    SG codes come from `check` and `generate`, SD codes from `diff`.

    Explain SAGA_ID, or how it begins: why the saga is where it is, what happened to it, what happens next and when,
    and what you can do. --admin, --log and -o are for this alone.
    """
    if code is not None and is_saga(code):
        explain_saga(code, place)
        return
    if output_format == "markdown":
        if code is not None:
            raise click.UsageError("--format markdown prints the whole catalogue: leave CODE out")
        click.echo(markdown(), nl=False)
    elif code is None:
        _list_all()
    else:
        _explain(_spelt(code))


def _spelt(code: str) -> str:
    """`14` and `sg14` are SG014."""
    found = _CODE.fullmatch(code.upper())
    return f"{found['kind'] or 'SG'}{found['number']:>03}" if found else code


def _explain(code: str) -> None:
    rules = {rule.code: rule for rule in OWN_RULES}
    if code in ENTRIES:
        _show_entry(ENTRIES[code])
    elif code in rules:
        _show_rule(rules[code])
    else:
        hint = did_you_mean(code, [*ENTRIES, *rules])
        close = hint if hint.startswith("did you mean") else "`sagagen explain` lists all"
        raise click.UsageError(f'there is no code "{code}": {close}')


def _list_all() -> None:
    for section in SECTIONS:
        click.secho(section.title, bold=True)
        for entry in section.entries:
            click.echo(f"  {entry.code}  {entry.cause}")
    click.secho("Contract diff: SD001 and up", bold=True)
    for rule in sorted(OWN_RULES, key=lambda rule: rule.code):
        click.echo(f"  {rule.code}  {rule.severity}: {rule.title}")


def _show_entry(entry: Entry) -> None:
    click.secho(
        f"{entry.code}: {'warning' if entry.is_warning else 'note' if entry.is_note else 'error'}", bold=True
    )
    _show_part("Cause", entry.cause)
    if entry.wrong:
        _show_part("Example", f"in {entry.where}")
        for line in entry.wrong.splitlines():
            click.secho(f"    - {line}", fg="red")
        for line in entry.right.splitlines():
            click.secho(f"    + {line}", fg="green")
    _show_part("Fix", entry.cure)


def _show_rule(rule: Rule) -> None:
    click.secho(f"{rule.code}: {rule.severity}", bold=True)
    _show_part("Change", rule.title)
    _show_part("Cause", rule.reason)
    if rule.is_about_running:
        _show_part("Hits", "only open sagas: with --running it is safe if none is hit")
    if rule.recipe:
        _show_part("Fix", rule.recipe)


def _show_part(name: str, text: str) -> None:
    click.echo(f"{click.style(name, bold=True)}: {text}")
