"""Carries out `sagagen add`: plan, try out, write, say what was done."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from sagagen.cli.report import print_diagnostics
from sagagen.contract import BufMissing
from sagagen.editing.addition import Addition, carry_out
from sagagen.editing.contract import Contract
from sagagen.editing.events import add_event
from sagagen.editing.rpcs import add_rpc
from sagagen.editing.sagas import add_saga
from sagagen.editing.services import add_service
from sagagen.editing.steps import NewStep, add_step
from sagagen.editing.text import CannotAdd
from sagagen.workspace.project import ProjectNotFound, find_root


def service(directory: Path | None, name: str, implements: str | None) -> None:
    _run(directory, f"the service {name}", lambda contract: add_service(contract, name, implements))


def rpc(directory: Path | None, name: str, *, is_read: bool, http: str | None) -> None:
    _run(directory, f"the rpc {name}", lambda contract: add_rpc(contract, name, is_read=is_read, http=http))


def saga(directory: Path | None, name: str, trigger: str) -> None:
    _run(directory, f"the saga {name}", lambda contract: add_saga(contract, name, trigger))


def step(directory: Path | None, new: NewStep) -> None:
    _run(directory, f"the step {new.name}", lambda contract: add_step(contract, new))


def event(directory: Path | None, saga: str, name: str, *, rpc: str, saga_id: str | None) -> None:
    _run(directory, f"the event {name}", lambda contract: add_event(contract, saga, name, rpc, saga_id))


def _run(directory: Path | None, what: str, plan: Callable[[Contract], Addition | None]) -> None:
    try:
        contract = Contract.read(find_root(directory))
        addition = plan(contract)
        if addition is None:
            click.echo(f"{what} is already there: nothing was changed")
            return
        added = carry_out(contract, addition)
    except (ProjectNotFound, BufMissing, CannotAdd) as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    for change in added.changes:
        click.echo(change)
    print_diagnostics(added.findings, sys.stdout)
    click.echo(f"Next: {', then '.join(added.next)}")
