"""`sagagen sagas watch` and `sagas tail`: what sagas do while somebody looks on, as a table or as lines."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import click

from sagagen.cli.sagas_listener import OrderRefused
from sagagen.cli.sagas_options import Age, Filters, Place, SagaId, filters, where
from sagagen.cli.sagas_source import Source
from sagagen.cli.sagas_table import print_saga, print_sagas, print_stats, say
from sagagen.runtime.admin.shown import UNREADABLE
from sagagen.runtime.clock import rfc3339
from sagagen.runtime.escaping import escaped, escaped_json
from sagagen.runtime.saga.commands import UnknownSaga
from sagagen.runtime.telemetry.console import short_id

LOOKED_AT, OPEN_LOOKED_AT = 200, 1000
"""Newest sagas that `tail` looks at each time, since some begin and end between two looks; and open ones."""
F = TypeVar("F", bound=Callable[..., Any])
Shown = Mapping[str, Any]
"""A saga, or one of its rows, as JSON members."""
_OVER = {"COMPLETED": 0, "COMPENSATED": 1, "SUPERSEDED": 1, "STUCK": 2}
"""Statuses that end `watch SAGA_ID`, with its exit code."""
SHORTEST_S = 0.1
"""Shortest pause between two looks, in seconds."""
_CLEAR = "\x1b[H\x1b[2J"


class Pause(Age):
    """As an age; long enough that whoever looks on costs the gateway little."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = super().convert(value, param, ctx)
        if not SHORTEST_S <= seconds < float("inf"):
            self.fail(f"{value}: write a time of at least {SHORTEST_S:g}s", param, ctx)
        return seconds


def every(usual: str) -> Callable[[F], F]:
    """How often to look."""
    return click.option(
        "--every", type=Pause(), default=usual, show_default=True, metavar="TIME", help="How often to look."
    )


@click.command()
@click.argument("saga_id", type=SagaId(), required=False)
@filters
@every("2s")
@where
def watch(saga_id: str | None, asked: Filters, every: float, place: Place) -> None:
    """Show sagas again and again, until Ctrl-C: how many there are, and those that the filters find.

    Of one SAGA_ID: until it has ended or is stuck. Then the exit code is 0 if it is COMPLETED, 1 if it was undone (or
    belongs to another run), and 2 if it is stuck.
    """
    if saga_id:
        sys.exit(_until_over(saga_id, every, place))
    query = {**asked.asked(), "limit": str(_rows_of_screen())}
    _again_and_again(every, lambda: _show_all(place, query))


def _until_over(saga_id: str, every_s: float, place: Place) -> int:
    seen = ""
    while True:
        saga = place.ask(lambda source: source.show(saga_id))
        if place.as_json:
            if (told := json.dumps(saga, ensure_ascii=False)) != seen:
                click.echo(escaped_json(told))
                seen = told
        elif sys.stdout.isatty():
            click.echo(_CLEAR, nl=False)
            print_saga(saga, place.options)
        elif (told := f"{saga['status']}  {saga['explanation']}") != seen:
            say(f"{_now()}  {told}")
            seen = told
        if saga["status"] in _OVER:
            return _OVER[saga["status"]]
        time.sleep(every_s)


def _show_all(place: Place, query: Mapping[str, str]) -> None:
    async def asked(source: Source) -> tuple[Shown, Shown]:
        return await source.stats(), await source.list(query)

    stats, found = place.ask(asked)
    if place.as_json:
        click.echo(escaped_json(json.dumps({"stats": stats["sagas"], **found}, ensure_ascii=False)))
        return
    if sys.stdout.isatty():
        click.echo(_CLEAR, nl=False)
    say(_now())
    print_stats(stats)
    say("")
    if found["sagas"]:
        print_sagas(found, is_wide=place.output == "wide")
    else:
        say("no sagas match")
    say("")


def _rows_of_screen() -> int:
    """As many sagas as fit below the counts."""
    return max(5, shutil.get_terminal_size().lines - 12)


@click.command()
@filters
@every("1s")
@where
def tail(asked: Filters, every: float, place: Place) -> None:
    """Print a line for whatever happens to sagas from now on, until Ctrl-C; with -o json a JSON object on each line.

    It looks at open sagas and at the newest ones, as the filters say.
    """
    follower = Follower(asked)
    place.ask(follower.look)  # what was there before is not news

    def told() -> None:
        for saga, row in place.ask(follower.look):
            click.echo(_as_json(saga, row) if place.as_json else _as_line(saga, row))

    _again_and_again(every, told)


class Follower:
    """Knows how far each saga was when it was looked at."""

    def __init__(self, asked: Filters) -> None:
        self._asked = asked.asked()
        self._seen: dict[str, _Seen] = {}
        """By saga's id."""
        self._since = ""
        """When the first look was: what is older is no news."""

    async def look(self, source: Source) -> Sequence[tuple[Shown, Shown]]:
        """Rows that are new, each with its saga, in the order in which they happened. Of the first look: none."""
        if not self._since:
            self._since = rfc3339(round(time.time() * 1000))
            self._seen = {saga["id"]: _Seen(saga["updated_at"] or "") for saga in await self._found(source)}
            return ()
        told: list[tuple[Shown, Shown]] = []
        for saga in await self._changed(source):
            rows = (await source.history(saga["id"]))["rows"]
            told += [(saga, row) for row in self._seen.get(saga["id"], _Seen(self._since)).new_of(rows)]
            self._seen[saga["id"]] = _Seen(saga["updated_at"], len(rows))
        return sorted(told, key=lambda each: each[1]["at"])

    async def _changed(self, source: Source) -> Sequence[Shown]:
        """Sagas that are not as they were. Those that have left the lists are looked at once more."""
        now = {saga["id"]: saga for saga in await self._found(source)}
        for gone in [saga_id for saga_id in self._seen if saga_id not in now]:
            try:
                shown = await source.show(gone)
            except (OrderRefused, UnknownSaga):  # purged, or erased
                del self._seen[gone]
                continue
            if self._seen[gone].updated_at == shown["updated_at"]:
                del self._seen[gone]
            else:
                now[gone] = shown
        return [
            saga
            for saga in now.values()
            if saga["status"] != UNREADABLE
            and (saga["id"] not in self._seen or self._seen[saga["id"]].updated_at != saga["updated_at"])
        ]

    async def _found(self, source: Source) -> Sequence[Shown]:
        """Open sagas, and the newest ones; or those of the statuses that were asked for."""
        if self._asked["status"]:
            return (await source.list({**self._asked, "limit": str(OPEN_LOOKED_AT)}))["sagas"]
        opened = (await source.list({**self._asked, "limit": str(OPEN_LOOKED_AT)}))["sagas"]
        newest = (await source.list({**self._asked, "status": "ALL", "limit": str(LOOKED_AT)}))["sagas"]
        return [*opened, *newest]


@dataclass(frozen=True, slots=True)
class _Seen:
    """How far a saga was."""

    updated_at: str
    rows: int | None = None
    """How many rows are told; None: those until `updated_at`."""

    def new_of(self, rows: Sequence[Shown]) -> Sequence[Shown]:
        if self.rows is not None:
            return rows[self.rows :]
        return [row for row in rows if row["at"] > self.updated_at]


def _as_line(saga: Shown, row: Shown) -> str:
    attempt = f" #{row['attempt']}" if (row["attempt"] or 0) > 1 else ""
    step = f"{row['step']}{attempt}" if row["step"] else ""
    parts = (
        row["at"],
        saga["saga"],
        short_id(saga["id"]),
        step,
        row["what"],
        row["by"] or "",
        row["why"] or "",
    )
    return escaped("  ".join(part for part in parts if part))


def _as_json(saga: Shown, row: Shown) -> str:
    return escaped_json(json.dumps({"id": saga["id"], "saga": saga["saga"], **row}, ensure_ascii=False))


def _again_and_again(every_s: float, what: Callable[[], None]) -> None:
    """Until Ctrl-C, which is how it ends and no error. A gateway that is away for a while is said, and waited for."""
    has_begun = False
    try:
        while True:
            try:
                what()
                has_begun = True
            except click.ClickException as error:
                if not has_begun:
                    raise
                click.echo(f"{_now()}  {escaped(error.message)}", err=True)
            time.sleep(every_s)
    except KeyboardInterrupt:
        click.echo()


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
