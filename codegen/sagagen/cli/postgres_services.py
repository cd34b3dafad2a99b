"""What of a project is on PostgreSQL, as the environment says, for commands about all that is kept."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sagagen.runtime.addresses import PostgresAddress, engine_log
from sagagen.runtime.process.project import Project, ProjectError
from sagagen.runtime.startup import StartupError
from sagagen.workspace.project import ProjectNotFound, find_root

if TYPE_CHECKING:
    from sagagen.runtime.postgres.connection import PgConnection

T = TypeVar("T")


def postgres_services(directory: Path | None) -> Mapping[str, str]:
    """URLs by service. Nothing where there is no project. Raises SettingsError."""
    try:
        services = Project.load(find_root(directory)).mesh.services
    except (ProjectNotFound, ProjectError):
        return {}
    found = {each.name: PostgresAddress.read(os.environ, each.name) for each in services}
    return {name: address.url.current.decode() for name, address in found.items() if address}


def log_url() -> str | None:
    """URL of the PostgreSQL that has the saga log; None: none has. Raises SettingsError."""
    secret = engine_log(os.environ)
    return secret.current.decode() if secret else None


def with_connection(service: str, url: str, work: "Callable[[PgConnection], Awaitable[T]]") -> T:
    """Do something on a connection to the service's database. Raises StartupError, and what `work` raises."""
    return asyncio.run(
        _with_connection(f"the database of service {service}", f"sagagen {service}", url, work)
    )


def with_log(url: str, work: "Callable[[PgConnection], Awaitable[T]]") -> T:
    """Do something on a connection to the saga log's database. Raises StartupError, and what `work` raises."""
    return asyncio.run(_with_connection("the saga log's database", "sagagen", url, work))


async def _with_connection(
    what: str, application: str, url: str, work: "Callable[[PgConnection], Awaitable[T]]"
) -> T:
    from sagagen.runtime.postgres.connection import LOST, CannotConnect, connect, why_not

    try:
        connection = await connect(url, f"{application} (command)")
        try:
            return await work(connection)
        finally:
            connection.terminate()
    except (CannotConnect, *LOST) as error:
        said = f"{what}: {why_not(error)}"
        raise StartupError(f"{said}; give the same command again, it does what is left") from error
