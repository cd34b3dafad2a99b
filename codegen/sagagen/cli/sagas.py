"""`sagagen sagas`: show where sagas are, and help stuck ones, in a running gateway or in a log at rest."""

import asyncio
import getpass
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from sagagen.cli.completion_words import complete_sagas, complete_services, complete_steps
from sagagen.cli.sagas_source import AdminError, AdminListener, LogAtRest, Source, at_rest
from sagagen.cli.sagas_table import print_saga, print_sagas, print_stats
from sagagen.runtime.admin.routes import TOKEN, BadQuery
from sagagen.runtime.escaping import escaped, escaped_json
from sagagen.runtime.log.store import LogError
from sagagen.runtime.saga.commands import Act, AmbiguousSaga, CommandRejected, UnknownSaga
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.settings import Address
from sagagen.runtime.sqlite.database import DatabaseError
from sagagen.runtime.startup import SettingsError

DEFAULT_ADMIN = "127.0.0.1:8081"
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ERRORS = (
    AdminError,
    AmbiguousSaga,
    BadQuery,
    CommandRejected,
    DatabaseError,
    LogError,
    SettingsError,
    UnknownSaga,
)

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


class SagaId(click.ParamType[str]):
    """A saga's id, or how it begins."""

    name = "saga_id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value or not value.isprintable():
            self.fail(f'"{escaped(value)}" is no id of a saga, nor the beginning of one', param, ctx)
        return value


SAGA_ID = click.argument("saga_id", type=SagaId())


def _where(command: F) -> F:
    """The options of every command: where the sagas are, and how to print them."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs."),
        click.option(
            "--log",
            "log_path",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Read a log at rest (var/saga-log.db) instead of a running gateway.",
        ),
        click.option(
            "--admin",
            envvar="SAGAGEN_ADMIN_ADDR",
            default=DEFAULT_ADMIN,
            show_default=True,
            help=f"The gateway's admin listener [env: SAGAGEN_ADMIN_ADDR]; its token is in {TOKEN}.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def sagas() -> None:
    """Show where sagas are, and help stuck ones. Payloads are never shown."""


@sagas.command(name="list")
@click.option(
    "--saga", default="", metavar="NAME", help="Only sagas of this name.", shell_complete=complete_sagas
)
@click.option(
    "--status",
    multiple=True,
    type=click.Choice([*SagaStatus, "ALL"], case_sensitive=False),
    help="May be repeated. Default: open sagas (RUNNING, COMPENSATING, STUCK).",
)
@click.option(
    "--older-than",
    type=Age(),
    default=0.0,
    metavar="AGE",
    help="Only sagas accepted longer ago than this: 90s, 15m, 2h, 3d.",
)
@click.option(
    "--step",
    default="",
    metavar="NAME",
    help="Only sagas that are at this step, or are undoing it.",
    shell_complete=complete_steps,
)
@click.option(
    "--service",
    default="",
    metavar="NAME",
    help="Only sagas that are calling this service.",
    shell_complete=complete_services,
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@_where
def list_(
    saga: str,
    status: tuple[str, ...],
    older_than: float,
    step: str,
    service: str,
    limit: int,
    admin: str,
    log_path: Path | None,
    as_json: bool,
) -> None:
    """List sagas, newest first."""
    asked = {
        "saga": saga,
        "status": "ALL" if "ALL" in status else ",".join(status),
        "older_than_s": str(older_than),
        "step": step,
        "service": service,
        "limit": str(limit),
    }
    found = _ask(admin, log_path, lambda source: source.list(asked))
    _print(found, as_json, print_sagas)


@sagas.command()
@SAGA_ID
@_where
def show(saga_id: str, admin: str, log_path: Path | None, as_json: bool) -> None:
    """Explain one saga: where it is, what it waits for and until when, the last error.

    SAGA_ID may be the beginning of an id, here and in the commands below, if no other id begins like it.
    """
    _print(_ask(admin, log_path, lambda source: source.show(saga_id)), as_json, print_saga)


@sagas.command()
@_where
def stats(admin: str, log_path: Path | None, as_json: bool) -> None:
    """Count sagas by saga, version and status."""
    _print(_ask(admin, log_path, lambda source: source.stats()), as_json, print_stats)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def _by(command: F) -> F:
    return click.option(
        "--by",
        default=_user,
        show_default="your user name",
        help="Your name, kept in the log.",
    )(command)


@sagas.command()
@SAGA_ID
@click.option("--note", default="", help="Why; it is kept in the log.")
@_by
@_where
def retry(saga_id: str, note: str, by: str, admin: str, log_path: Path | None, as_json: bool) -> None:
    """Try a stuck or failing call again now, with a new budget."""
    _command(Act.RETRY, saga_id, by, note, admin, log_path, as_json)


@sagas.command()
@SAGA_ID
@click.option("--note", required=True, help="What you did by hand, kept in the log.")
@_by
@_where
def resolve(saga_id: str, note: str, by: str, admin: str, log_path: Path | None, as_json: bool) -> None:
    """Record that the stuck compensation was done by hand; the saga goes on with the earlier ones."""
    _command(Act.RESOLVE, saga_id, by, note, admin, log_path, as_json)


@sagas.command()
@SAGA_ID
@click.option("--note", default="", help="Why; it is kept in the log.")
@_by
@_where
def cancel(saga_id: str, note: str, by: str, admin: str, log_path: Path | None, as_json: bool) -> None:
    """Turn a saga back: everything that it did is compensated. Refused once its pivot was attempted."""
    _command(Act.CANCEL, saga_id, by, note, admin, log_path, as_json)


def _command(
    act: Act, saga_id: str, by: str, note: str, admin: str, log_path: Path | None, as_json: bool
) -> None:
    shown = _ask(admin, log_path, lambda source: source.command(saga_id, act, by, note))
    _print(shown, as_json, print_saga)
    if log_path and not as_json:
        click.echo("The saga goes on when a gateway opens this log.")


def _ask(admin: str, log_path: Path | None, question: Callable[[Source], Any]) -> Any:
    async def asked() -> Any:
        if log_path is None:
            address = Address.parse(admin, "--admin")
            return await question(AdminListener(address, os.environ.get(TOKEN, "")))
        async with at_rest(log_path) as operations:
            return await question(LogAtRest(operations))

    try:
        return asyncio.run(asked())
    except _ERRORS as error:
        raise click.ClickException(str(error)) from error


def _print(shown: Mapping[str, Any], as_json: bool, table: Callable[[Mapping[str, Any]], None]) -> None:
    if as_json:
        click.echo(escaped_json(json.dumps(shown, indent=2, ensure_ascii=False)))
    else:
        table(shown)
