"""The commands that operators give: about one saga, or about all that filters find."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from sagagen.cli.completion_words import complete_steps
from sagagen.cli.sagas_listener import OrderRefused
from sagagen.cli.sagas_options import REFUSALS, Filters, Place, SagaId, filters, print_shown, where
from sagagen.cli.sagas_orders import print_waiting
from sagagen.cli.sagas_source import Source
from sagagen.cli.sagas_table import print_saga, print_sagas
from sagagen.runtime.admin.parsing import MAX_LISTED, BadOrder
from sagagen.runtime.escaping import escaped
from sagagen.runtime.saga.commands import BOUND, Act

STEPS_MAY_BE_NAMED = frozenset({Act.RETRY, Act.HOLD})
GOES_ON_LATER = "The saga goes on when a gateway opens this log."

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator wants of a saga, or of several."""

    act: Act
    by: str
    note: str
    step: str = ""
    outcome: str = ""
    response: object = None

    def members(self) -> dict[str, Any]:
        """As the admin listener takes them."""
        given = {"by": self.by, "note": self.note, "step": self.step, "as": self.outcome}
        return given if self.response is None else {**given, "response": self.response}


@dataclass(frozen=True, slots=True)
class Target:
    """The saga, or the sagas, that a command is about."""

    saga_id: str
    asked: Filters
    is_dry_run: bool
    is_sure: bool
    place: Place


BY = click.option(
    "--by",
    default="",
    show_default="your user name",
    help="Your name, kept in the log; where the gateway knows you, it is the name that it knows.",
)


def _target(command: F) -> F:
    """Which sagas: one by its id, or several by filters. The command gets `target`, and `by`."""

    @wraps(command)
    def targeted(saga_id: str, asked: Filters, dry_run: bool, yes: bool, place: Place, **others: Any) -> Any:
        return command(target=Target(saga_id, asked, dry_run, yes, place), **others)

    for option in (
        where,
        click.option("--yes", is_flag=True, help="With filters: do not ask."),
        click.option(
            "--dry-run", is_flag=True, help="With filters: only list the sagas that would be meant."
        ),
        filters,
        click.option(
            "--alone",
            is_flag=True,
            help="With --log: do what takes two persons without a second one; the audit says so.",
        ),
        BY,
    ):
        targeted = option(targeted)
    return targeted  # pyright: ignore[reportReturnType] - a decorated command has other parameters


ONE_SAGA = click.argument("saga_id", type=SagaId(), required=False, default=None)
ONE_STEP = click.argument("step", default="", required=False, shell_complete=complete_steps)
WHY = click.option("--note", default="", help="Why; it is kept in the log.")


@click.command()
@click.argument("saga_id", type=SagaId())
@click.argument("event")
@click.argument("payload", metavar="[JSON]", default="{}")
@BY
@click.option("--key", default="", help="The event's idempotency key: with the same one it is sent once.")
@where
def send(saga_id: str, event: str, payload: str, by: str, key: str, place: Place) -> None:
    """Bring an event to a saga, in the place of whoever should have sent it. JSON is the event's message.

    What the contract's `allow` says is not asked.
    """
    given = {"event": event, "by": by, "key": key, "payload": _json(payload, "JSON")}
    shown = place.ask(lambda source: source.send(saga_id, given))
    print_shown(shown, place, lambda saga: print_saga(saga, place.options))


@click.command()
@ONE_SAGA
@WHY
@_target
def retry(target: Target, by: str, note: str) -> None:
    """Try a stuck or failing call again now, with a new budget."""
    _carry_out(Wish(Act.RETRY, by, note), target)


@click.command()
@ONE_SAGA
@ONE_STEP
@click.option("--note", default="", help="What you found out, or did by hand; it is kept in the log.")
@click.option(
    "--as",
    "outcome",
    type=click.Choice(["done", "refused"]),
    default=None,
    help="What became of a step that is stuck on the way forward; only a pivot can be refused.",
)
@click.option("--response", default="", metavar="JSON", help="The step's response, for a step that is done.")
@_target
def resolve(target: Target, step: str, by: str, note: str, outcome: str | None, response: str) -> None:
    """Record that the step at which a saga is stuck was settled by hand.

    A compensation is done. A pivot is done or refused. A step after the pivot is done. The saga goes on from there.
    """
    wish = Wish(Act.RESOLVE, by, _noted(note, target), step, outcome or "", _json(response))
    _carry_out(wish, target)


@click.command()
@ONE_SAGA
@ONE_STEP
@click.option("--note", default="", help="Why it may be left out; it is kept in the log.")
@_target
def skip(target: Target, step: str, by: str, note: str) -> None:
    """Leave out a stuck step after the pivot: the saga completes without it. It may have happened all the same."""
    _carry_out(Wish(Act.SKIP, by, _noted(note, target), step), target)


@click.command()
@ONE_SAGA
@WHY
@_target
def cancel(target: Target, by: str, note: str) -> None:
    """Turn a saga back: everything that it did is compensated. Refused once its pivot was attempted."""
    _carry_out(Wish(Act.CANCEL, by, note), target)


@click.command()
@ONE_SAGA
@WHY
@_target
def hold(target: Target, by: str, note: str) -> None:
    """Stop repeating a saga's call: it is stuck until you retry, resolve, skip or cancel it."""
    _carry_out(Wish(Act.HOLD, by, note), target)


def _noted(note: str, target: Target) -> str:
    if note.strip() or target.is_dry_run:
        return note
    return click.prompt("What did you find out, or do by hand? It is kept in the log", err=True)


def _json(text: str, hint: str = "--response") -> object:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"it is no JSON: {error}", param_hint=hint) from error


def _carry_out(wish: Wish, target: Target) -> None:
    if not target.saga_id:
        _carry_out_for_all(wish, target)
        return
    wish = _about_one(wish, target)
    shown = target.place.ask(lambda source: source.command(target.saga_id, wish.act, wish.members()))
    if "order" in shown:
        print_shown(shown, target.place, lambda each: print_waiting(each["order"], target.place.options))
        return
    print_shown(shown, target.place, lambda saga: print_saga(saga, target.place.options))
    if isinstance(target.place.log, Path) and not target.place.as_json:
        click.echo(GOES_ON_LATER)


def _about_one(wish: Wish, target: Target) -> Wish:
    """With a SAGA_ID, --step is no filter: it names the step that is meant, where there are several."""
    if wish.act in STEPS_MAY_BE_NAMED and target.asked.step:
        wish, target = (
            replace(wish, step=target.asked.step),
            replace(target, asked=replace(target.asked, step="")),
        )
    if target.asked.given or target.is_dry_run or target.is_sure:
        raise click.UsageError("filters, --dry-run and --yes are for commands without a SAGA_ID")
    if wish.act in BOUND and not wish.step:
        hint = f"`sagagen sagas show {escaped(target.saga_id)}` names it"
        raise click.UsageError(f"{wish.act} names the STEP that it vouches for; {hint}")
    return wish


# -- about all that filters find -----------------------------------------------------------------------------------


def _carry_out_for_all(wish: Wish, target: Target) -> None:
    """One after the other, and each on its own: what is refused stays as it is, and a second run does the rest."""
    asked = target.asked
    if not asked.given:
        raise click.UsageError(
            "say which: a SAGA_ID, or filters such as --saga, --status, --older-than or --step"
        )
    if wish.act in BOUND and not asked.step:
        raise click.UsageError(f"{wish.act} vouches for a step: name it with --step")
    wished = Wish(
        wish.act, wish.by, wish.note, asked.step if wish.act in BOUND else "", wish.outcome, wish.response
    )
    query = {**asked.asked(), "act": str(wish.act), "limit": str(MAX_LISTED)}
    found: Mapping[str, Any] = target.place.ask(lambda source: source.list(query))
    if not _is_wanted(wish.act, found, target):
        return
    ids = [saga["id"] for saga in found["sagas"]]
    refused = target.place.ask(lambda source: _give(source, wished, ids, target.place.as_json))
    if refused:
        raise click.exceptions.Exit(1)


def _is_wanted(act: Act, found: Mapping[str, Any], target: Target) -> bool:
    """Show the sagas, and ask."""
    count = len(found["sagas"])
    if target.is_dry_run and target.place.as_json:
        print_shown(found, target.place, print_sagas)
        return False
    if not count:
        click.echo(f"no saga that matches would carry out {act}", err=True)
        return False
    if not target.place.as_json:
        print_sagas(found)
    if target.is_dry_run:
        click.echo(f"{act} would be given to {_sagas(count)}")
        return False
    if target.is_sure:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(f"{act} for {_sagas(count)}: say --yes, or --dry-run to see them")
    return click.confirm(f"{act} {_sagas(count)}?", err=True)


async def _give(source: Source, wish: Wish, ids: list[str], as_json: bool) -> int:
    """Returns how many refused. Raises AdminError where no answer came: what was given until then is kept."""
    refused, results = 0, list[dict[str, Any]]()
    for saga_id in ids:
        try:
            shown = await source.command(saga_id, wish.act, wish.members())
        except (OrderRefused, BadOrder, *REFUSALS) as error:
            refused += 1
            results.append({"id": saga_id, "refused": str(error)})
        else:
            results.append({"id": saga_id, **_outcome(shown)})
        if not as_json:
            click.echo(escaped(f"{saga_id}  {_in_words(results[-1])}"))
    if as_json:
        click.echo(json.dumps({"results": results}, indent=2))
    else:
        click.echo(
            f"{wish.act}: {len(ids) - refused} done, {refused} refused; the same command does what is left"
        )
    return refused


def _outcome(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {"order": shown["order"]["id"]} if "order" in shown else {"status": shown["status"]}


def _in_words(result: Mapping[str, Any]) -> str:
    if "order" in result:
        return f"order {result['order']} waits for a second person"
    return result.get("status") or f"refused: {result['refused']}"


def _sagas(count: int) -> str:
    more = " (there may be more)" if count == MAX_LISTED else ""
    return f"{count} saga{'' if count == 1 else 's'}{more}"
