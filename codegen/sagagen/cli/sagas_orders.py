"""Orders that wait for a second person, and the audit: who did what, and who was refused."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from sagagen.cli.sagas_options import Age, Place, print_shown, where
from sagagen.cli.sagas_table import print_saga, print_table, say

ORDER = click.argument("order_id", metavar="ORDER")


@click.command()
@click.argument("order_id", metavar="[ORDER]", required=False, default="")
@where
def orders(order_id: str, place: Place) -> None:
    """List orders that wait for a second person; or show ORDER with all that it says, as its confirmer has to see it.

    A response is shown without what the contract redacts, to operators alone, and the audit says who looked.
    """
    if order_id:
        found = place.ask(lambda source: source.order(order_id))
        print_shown(found, place, lambda shown: _print_order(shown["order"]))
        return
    found = place.ask(lambda source: source.orders())
    if not found["orders"] and not place.as_json:
        click.echo("no order waits for a second person")
        return
    print_shown(found, place, lambda shown: _print_orders(shown["orders"]))


@click.command()
@ORDER
@where
def confirm(order_id: str, place: Place) -> None:
    """Confirm somebody else's order: it is carried out now, if the saga still takes it."""
    shown = place.ask(lambda source: source.confirm(order_id))
    print_shown(shown, place, lambda saga: print_saga(saga, place.options))


@click.command()
@ORDER
@where
def withdraw(order_id: str, place: Place) -> None:
    """Withdraw an order that waits, yours or somebody else's."""
    shown = place.ask(lambda source: source.withdraw(order_id))
    print_shown(shown, place, lambda _: say(f"order {order_id} is withdrawn"))


@click.command()
@click.option(
    "--saga", "saga_id", default="", metavar="SAGA_ID", help="Only of this saga; the beginning will do."
)
@click.option("--by", default="", metavar="WHO", help="Only what this person did.")
@click.option("--since", type=Age(), default=0.0, metavar="AGE", help="Only the last 90s, 15m, 24h, 7d.")
@click.option(
    "-n", "limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many."
)
@where
def audit(saga_id: str, by: str, since: float, limit: int, place: Place) -> None:
    """Show who did what, and who was refused; newest first."""
    asked = {"saga": saga_id, "by": by, "since_s": str(since), "limit": str(limit)}
    found = place.ask(lambda source: source.audit(asked))
    if not found["audit"] and not place.as_json:
        click.echo("the audit has nothing like that")
        return
    print_shown(found, place, lambda shown: _print_audit(shown["audit"]))


def print_waiting(order: Mapping[str, Any], options: str = "") -> None:
    """What somebody learns whose order waits. `options` are those that lead a command to the same place."""
    say(f"order {order['id']} waits for a second person until {order['expires_at']}: nothing is done yet")
    say(f"  sagagen sagas confirm {order['id']}{options}  # by somebody else")
    say(f"  sagagen sagas withdraw {order['id']}{options}")


def _print_orders(found: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        ("ORDER", "COMMAND", "SAGA", "STEP", "BY", "UNTIL", "NOTE"),
        [
            (
                order["id"],
                f"{order['act']} --as {order['as']}" if order["as"] else order["act"],
                order["saga_id"],
                order["step"] or "",
                order["by"],
                order["expires_at"],
                order["note"] or "",
            )
            for order in found
        ],
    )


def _print_order(order: Mapping[str, Any]) -> None:
    _print_orders([order])
    if "response" in order:
        say(f"  the step's response: {json.dumps(order['response'], ensure_ascii=False)}")


def _print_audit(found: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        ("AT", "BY", "DID", "SAGA", "RESULT", "WHY"),
        [
            (
                entry["at"],
                entry["by"] or "?",
                entry["did"],
                entry["saga_id"] or "",
                f"{entry['result']} x{entry['count']}" if entry["count"] > 1 else entry["result"],
                entry["reason"] or "",
            )
            for entry in found
        ],
    )
