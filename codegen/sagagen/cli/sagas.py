"""`sagagen sagas`: show where sagas are, and help stuck ones, in a running gateway or in a log at rest."""

import click

from sagagen.cli.group import Group
from sagagen.cli.sagas_acts import cancel, hold, resolve, retry, send, skip
from sagagen.cli.sagas_figures import groups, steps
from sagagen.cli.sagas_follow import tail, watch
from sagagen.cli.sagas_options import SAGA_ID, Filters, Place, filters, print_shown, where
from sagagen.cli.sagas_orders import audit, confirm, orders, withdraw
from sagagen.cli.sagas_table import print_saga, print_sagas, print_stats


@click.group(cls=Group)
def sagas() -> None:
    """Show where sagas are, and help stuck ones. Payloads are never shown.

    SAGA_ID may be the beginning of an id, if no other id begins like it.
    """


for command in (
    send,
    retry,
    resolve,
    skip,
    cancel,
    hold,
    orders,
    confirm,
    withdraw,
    audit,
    watch,
    tail,
    groups,
    steps,
):
    sagas.add_command(command)


@sagas.command(name="list")
@filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@where
def list_(asked: Filters, limit: int, place: Place) -> None:
    """List sagas, newest first."""
    found = place.ask(lambda source: source.list({**asked.asked(), "limit": str(limit)}))
    if not found["sagas"] and not place.as_json:
        stats = None if asked.statuses else place.ask(lambda source: source.stats())
        click.echo(_nothing_found(asked, stats))
        return
    print_shown(found, place, lambda shown: print_sagas(shown, is_wide=place.output == "wide"))


def _nothing_found(asked: Filters, stats: dict[str, dict[str, dict[str, dict[str, int]]]] | None) -> str:
    """Where nobody asked for ended sagas, they are not "no sagas"."""
    if stats is None:
        return "no sagas match"
    own = [each for name, each in stats["sagas"].items() if asked.saga in ("", name)]
    ended = sum(sum(each["ended"].values()) for each in own)
    what = "no open sagas match" if asked.given else "no open sagas"
    return f"{what}; {ended} have ended (--status ALL)" if ended else what


@sagas.command()
@SAGA_ID
@where
def show(saga_id: str, place: Place) -> None:
    """Explain one saga: where it is, what it waits for and until when, the last error, and what you can do."""
    shown = place.ask(lambda source: source.show(saga_id))
    print_shown(shown, place, lambda saga: print_saga(saga, place.options))


@sagas.command()
@where
def stats(place: Place) -> None:
    """Count sagas by saga, version and status."""
    print_shown(place.ask(lambda source: source.stats()), place, print_stats)
