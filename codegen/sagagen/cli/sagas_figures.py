"""`sagagen sagas groups` and `sagagen sagas steps`: many sagas at once."""

from collections.abc import Mapping
from typing import Any

import click

from sagagen.cli.completion_words import complete_sagas
from sagagen.cli.sagas_options import Place, print_shown, where
from sagagen.cli.sagas_table import age, print_table, say
from sagagen.runtime.admin.figures_shown import options_of_group
from sagagen.runtime.clock import age_of

Shown = Mapping[str, Any]


@click.command()
@where
def groups(place: Place) -> None:
    """Group what is stuck, fails or has turned back within the last hour, by saga, step and error.

    Below the table, for each group of open sagas, the command that tries all of it again.
    """
    print_shown(place.ask(lambda source: source.groups()), place, lambda shown: _print_groups(shown, place))


def _print_groups(shown: Shown, place: Place) -> None:
    if not shown["groups"]:
        click.echo("no saga is stuck or fails, and none has turned back within the last hour")
        return
    print_table(
        ("SAGAS", "STATUS", "SAGA", "STEP", "OLDEST", "NEWEST", "ERROR"),
        [
            (
                str(group["count"]),
                group["status"],
                f"{group['saga']} {' '.join(f'v{version}' for version in group['versions'])}",
                group["step"] or "",
                age(age_of(group["oldest_at"])),
                age(age_of(group["newest_at"])),
                group["error"] or "",
            )
            for group in shown["groups"]
        ],
        is_whole=place.output == "wide",
    )
    if not shown["is_whole"]:
        say(
            f"Of the open sagas the newest {shown['looked_at']} were looked at: there may be more in each group."
        )
    open_groups = [group for group in shown["groups"] if group["status"] != "COMPENSATED"]
    if open_groups:
        say("")
        say("What you can do:")
    for group in open_groups:
        say(f"  sagagen sagas retry {options_of_group(group['query'])} --dry-run{place.options}")


@click.command()
@click.argument("saga", shell_complete=complete_sagas)
@click.option("--version", default="", metavar="NUMBER", help="Of the definition.  [default: the newest]")
@where
def steps(saga: str, version: str, place: Place) -> None:
    """Show how the steps of a saga do: how many sagas are at each, how long its calls take, and how often they fail."""
    shown = place.ask(lambda source: source.steps({"saga": saga, "version": version}))
    print_shown(shown, place, _print_steps)


def _print_steps(shown: Shown) -> None:
    print_table(
        ("STEP", "AT IT", "STUCK", "CALLS", "REFUSED", "FAILED", "P50", "P99"),
        [
            (
                step["step"] if step["direction"] == "action" else f"  undo {step['step']}",
                str(step["at_now"]),
                str(step["stuck"]),
                str(step["attempts"]),
                str(step["refused"]),
                str(step["failed"]),
                *("" if step[name] is None else f"{step[name]}ms" for name in ("p50_ms", "p99_ms")),
            )
            for step in shown["steps"]
        ],
    )
    sample = shown["sample"]
    if sample is None:
        say("This engine can't tell how steps do.")
    else:
        say(f"Calls are those of the newest {sample['ended']} ended and {sample['open']} open sagas.")
