"""`sagagen engine`: Restate, where SAGAGEN_ENGINE_URL says that it keeps the sagas."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from sagagen.cli.group import Group
from sagagen.runtime.addresses import RestateAddress
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import StartupError
from sagagen.workspace.project import find_root

if TYPE_CHECKING:
    from sagagen.runtime.restate.client import RestateClient
    from sagagen.runtime.restate.status import Status

T = TypeVar("T")

_project = click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)


@click.group(cls=Group)
def engine() -> None:
    """Restate, where it keeps the sagas: tell it of adapters, and see how it stands."""


@engine.command()
@click.argument("url", required=False)
@_project
def register(url: str | None, directory: Path | None) -> None:
    """Tell Restate where adapters are, now. Adapters do so themselves when they start; it may be repeated.

    URL is how Restate reaches them. Default: SAGAGEN_ENGINE_PUBLIC_URL, or SAGAGEN_ENGINE_ADDR.
    """
    from sagagen.runtime.restate.adapter import register as registered

    address, _ = _given(directory)
    where = url or address.public_url or f"http://{address.listens}"
    if problem := _asked(address, lambda admin: registered(admin, where)):
        raise click.ClickException(problem)
    click.echo(f"registered: Restate reaches adapters at {where}")


@engine.command()
@_project
def status(directory: Path | None) -> None:
    """Show the cluster, adapters, what is unfinished, and what is in the way. Exits with 1 if something is."""
    from sagagen.runtime.restate.status import report
    from sagagen.runtime.transports.grpc.client import GrpcTransport

    address, project = _given(directory)
    # Restate does not tell its cores: they are known only where it runs on this machine.
    cores = os.cpu_count() if address.node.is_loopback else None

    async def reported(admin: "RestateClient") -> "Status":
        async with GrpcTransport(address.node.host, address.node.port) as node:
            return await report(admin, project.mesh.project, node, str(address.node), cores)

    found = _asked(address, reported)
    for line in found.lines:
        click.echo(line)
    for warning in found.warnings:
        click.echo(f"warning: {warning}")
    if found.warnings:
        raise click.exceptions.Exit(1)


def _given(directory: Path | None) -> tuple[RestateAddress, Project]:
    try:
        root = find_root(directory)
        address = Settings.read(os.environ, root).restate
        if address is None:
            raise click.ClickException(
                "sagas are on no Restate: SAGAGEN_ENGINE_URL=restate+http://host:8080 says so"
            )
        return address, Project.load(root)
    except StartupError as error:
        raise click.ClickException(str(error)) from error


def _asked(address: RestateAddress, ask: "Callable[[RestateClient], Awaitable[T]]") -> T:
    from sagagen.runtime.restate.client import RestateClient, Unreachable

    async def asked() -> T:
        client = RestateClient(address.admin)
        try:
            return await ask(client)
        finally:
            client.close()

    try:
        return asyncio.run(asked())
    except Unreachable as error:
        listeners = ", ".join(address.admin)
        said = f"{error}; SAGAGEN_ENGINE_ADMIN_URL names its admin listener ({listeners})"
        raise click.ClickException(said) from error
