"""What the commands of `sagagen sagas` share: which sagas, where they are, and how they are printed."""

import asyncio
import json
import os
import shlex
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from sagagen.cli.completion_words import complete_sagas, complete_services, complete_steps
from sagagen.cli.sagas_listener import ADMIN_KEY, AdminError, admin_listener
from sagagen.cli.sagas_source import LogAtRest, Source, at
from sagagen.runtime.admin.orders import UnknownOrder
from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.escaping import escaped, escaped_json
from sagagen.runtime.log.store import LogError
from sagagen.runtime.saga.commands import AmbiguousSaga, CommandRejected, UnknownSaga
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.journal import JournalUnavailable
from sagagen.runtime.saga.where import Where, as_data
from sagagen.runtime.settings import ADMIN_TOKEN
from sagagen.runtime.sqlite.disk_errors import CannotOpen
from sagagen.runtime.startup import StartupError

DEFAULT_ADMIN = "127.0.0.1:8081"
REFUSALS = (AmbiguousSaga, CommandRejected, UnknownOrder, UnknownSaga)
"""Of one saga in a log at rest."""
_ERRORS = (AdminError, BadOrder, StartupError, LogError, *REFUSALS)
COPY_IT = (
    "A log is opened for writing, even to be read: copy it, with the files beside it that begin with its name, "
    "to a folder that you can write to, and name the copy with --log"
)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Output = Literal["table", "wide", "json"]

F = TypeVar("F", bound=Callable[..., Any])


class Age(click.ParamType[float]):
    """`90s`, `15m`, `2h`, `3d`; as seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number, unit = (value[:-1], value[-1:]) if str(value)[-1:] in _UNITS_S else (value, "s")
        try:
            return float(number) * _UNITS_S[unit]
        except ValueError:
            self.fail(f'"{value}" is not an age; write 90s, 15m, 2h or 3d', param, ctx)


class LogPlace(click.ParamType[Path | str]):
    """A file, or the URL of a PostgreSQL."""

    name = "file or url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        if isinstance(value, str) and value.startswith(("postgresql://", "postgres://")):
            return value
        return click.Path(exists=True, dir_okay=False, path_type=Path).convert(value, param, ctx)


class SagaId(click.ParamType[str]):
    """A saga's id, or how it begins."""

    name = "saga_id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value or not value.isprintable():
            self.fail(f'"{escaped(value)}" is no id of a saga, nor the beginning of one', param, ctx)
        return value


SAGA_ID = click.argument("saga_id", type=SagaId())


@dataclass(frozen=True, slots=True)
class Filters:
    """Which sagas are meant."""

    saga: str
    statuses: tuple[str, ...]
    older_than_s: float
    step: str
    service: str
    waiting: str = ""
    where: str = ""
    ended_since_s: float = 0.0
    error: str = ""
    failed_step: str = ""

    @property
    def given(self) -> bool:
        return any(
            (
                self.saga,
                self.statuses,
                self.older_than_s,
                self.step,
                self.service,
                self.waiting,
                self.where,
                self.ended_since_s,
                self.error,
                self.failed_step,
            )
        )

    def asked(self) -> dict[str, str]:
        """As the admin listener's `/sagas` takes it."""
        return {
            "saga": self.saga,
            "ended_since_s": str(self.ended_since_s),
            "status": "ALL"
            if "ALL" in self.statuses or (self.ended_since_s and not self.statuses)
            else ",".join(self.statuses),
            "older_than_s": str(self.older_than_s),
            "step": self.step,
            "service": self.service,
            "waiting": self.waiting,
            "error": self.error,
            "failed_step": self.failed_step,
            "where": json.dumps(as_data(_condition(self.where))) if self.where else "",
        }


def _condition(text: str) -> Where:
    # Here, since containers that run a mesh have no generator: they have every other option all the same.
    try:
        from sagagen.cli.sagas_where import BadCondition, read_where
    except ModuleNotFoundError as error:
        missing = f"it reads expressions, which needs sagagen[codegen] ({error.name} is missing)"
        raise click.BadParameter(missing, param_hint="--where") from error
    try:
        return read_where(text)
    except BadCondition as error:
        raise click.BadParameter(str(error), param_hint="--where") from error


def filters(command: F) -> F:
    """The options that narrow a list; the command gets them as `asked`, a `Filters`."""

    @wraps(command)
    def filtered(
        saga: str,
        status: tuple[str, ...],
        older_than: float,
        only_step: str,
        service: str,
        waiting: str,
        where: str,
        ended_since: float,
        error: str,
        failed_step: str,
        **others: Any,
    ) -> Any:
        asked = Filters(
            saga,
            status,
            older_than,
            only_step,
            service,
            waiting,
            where,
            ended_since,
            error,
            failed_step,
        )
        return command(asked=asked, **others)

    for option in (
        click.option(
            "--where",
            default="",
            metavar="CONDITION",
            help="Only sagas whose `index` values fulfil it: 'customer == \"ann\" && total > 5000'.",
        ),
        click.option(
            "--error",
            default="",
            metavar="REASON",
            help="Only sagas that this error keeps from going on, or has turned back (`sagagen sagas groups`).",
        ),
        click.option(
            "--failed-step",
            default="",
            metavar="NAME",
            help="Only sagas that failed at this step (`sagagen sagas groups`).",
            shell_complete=complete_steps,
        ),
        click.option("--waiting", default="", metavar="EVENT", help="Only sagas that wait for this event."),
        click.option(
            "--service",
            default="",
            metavar="NAME",
            help="Only sagas that are calling this service.",
            shell_complete=complete_services,
        ),
        click.option(
            "--step",
            "only_step",
            default="",
            metavar="NAME",
            help="Only sagas that are at this step (`reserve[margherita]`: an item of a loop), or are undoing it.",
            shell_complete=complete_steps,
        ),
        click.option(
            "--older-than",
            type=Age(),
            default=0.0,
            metavar="AGE",
            help="Only sagas accepted longer ago than this: 90s, 15m, 2h, 3d.",
        ),
        click.option(
            "--ended-since",
            type=Age(),
            default=0.0,
            metavar="AGE",
            help="Only sagas that have ended, and not longer ago than this.",
        ),
        click.option(
            "--status",
            multiple=True,
            type=click.Choice([*SagaStatus, "ALL"], case_sensitive=False),
            help="May be repeated. Default: open sagas (RUNNING, COMPENSATING, STUCK).",
        ),
        click.option(
            "--saga",
            default="",
            metavar="NAME",
            help="Only sagas of this name.",
            shell_complete=complete_sagas,
        ),
    ):
        filtered = option(filtered)
    return filtered  # pyright: ignore[reportReturnType] - a decorated command has other parameters


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sagas are, and how what is said of them is printed."""

    admin: str
    log: Path | str | None
    output: Output
    is_alone: bool = False
    """Of a log at rest: what needs a second person is done without one."""

    @property
    def as_json(self) -> bool:
        """For programs."""
        return self.output == "json"

    @property
    def options(self) -> str:
        """The options that lead another command to the same place."""
        if isinstance(self.log, str):
            return ' --log "$SAGAGEN_ENGINE_URL"'  # what stands in it may be a secret
        if self.log:
            return f" --log {shlex.quote(str(self.log))}"
        is_found = self.admin == os.environ.get("SAGAGEN_ADMIN_ADDR", DEFAULT_ADMIN)
        return "" if is_found else f" --admin {shlex.quote(self.admin)}"

    def ask(self, question: Callable[[Source], Any]) -> Any:
        """Have the question answered. Raises ClickException with the reason if that fails."""

        async def asked() -> Any:
            if self.log is None:
                return await question(admin_listener(self.admin, os.environ))
            async with at(self.log) as (orders, four_eyes):
                return await question(LogAtRest(orders, four_eyes, is_alone=self.is_alone))

        try:
            return asyncio.run(asked())
        except CannotOpen as error:
            raise click.ClickException(f"{error}. {COPY_IT}") from error
        except (*_ERRORS, JournalUnavailable, OSError, sqlite3.Error) as error:
            raise click.ClickException(str(error)) from error


def where(command: F) -> F:
    """The options of every command; it gets them as `place`."""

    @wraps(command)
    def placed(
        admin: str,
        log_path: Path | str | None,
        output: Output,
        as_json: bool,
        *,
        alone: bool = False,
        **others: Any,
    ) -> Any:
        return command(place=Place(admin, log_path, "json" if as_json else output, alone), **others)

    for option in (
        click.option("--json", "as_json", is_flag=True, hidden=True, help="As -o json."),
        click.option(
            "-o",
            "--output",
            type=click.Choice(("table", "wide", "json")),
            default="table",
            show_default=True,
            help="wide: more columns, and nothing cut off; json: for programs.",
        ),
        click.option(
            "--log",
            "log_path",
            type=LogPlace(),
            help="Read a log at rest (var/saga-log.db) instead of a running gateway; or one in PostgreSQL, by its URL.",
        ),
        click.option(
            "--admin",
            envvar="SAGAGEN_ADMIN_ADDR",
            default=DEFAULT_ADMIN,
            show_default=True,
            help=f"The gateway's admin listener: host:port, a URL, or its name in ~/.config/sagagen/profiles.toml "
            f"[env: SAGAGEN_ADMIN_ADDR]. A token is read from "
            f"{ADMIN_TOKEN}, an API key from {ADMIN_KEY}; each also from a file, _FILE.",
        ),
    ):
        placed = option(placed)
    return placed  # pyright: ignore[reportReturnType] - a decorated command has other parameters


def print_shown(shown: Mapping[str, Any], place: Place, table: Callable[[Mapping[str, Any]], None]) -> None:
    """As the user wants it."""
    if place.as_json:
        click.echo(escaped_json(json.dumps(shown, indent=2, ensure_ascii=False)))
    else:
        table(shown)
