"""`sagagen up --postgres`: a PostgreSQL of the project's own, and each service on it that has SQL for it.

What it keeps is apart from what `sagagen up` keeps: a saga that began with services on SQLite would not find there what
its steps have done.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import structlog

from sagagen.runtime.settings import Settings

DATA_DIR = "SAGAGEN_DATA_DIR"
FOLDER = "var/postgres"
"""Where everything is kept, unless SAGAGEN_DATA_DIR says where."""
SERVER = "server"
"""The server's folder in it."""
_SQL = ".postgres.sql"

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def beside_others(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, with a data folder that `sagagen up` alone does not use."""
    return {DATA_DIR: FOLDER, **environment}


@contextmanager
def private_postgres(root: Path, settings: Settings) -> Generator[dict[str, str]]:
    """Run a server; gives the environment with the URL of a database for each service that has none of its own.

    Needs the data folder. Raises StartupError, or UsageError where nothing would use the server.
    """
    variables = {f"SAGAGEN_{service.upper()}_DATABASE_URL": service for service in services_with_sql(root)}
    if not variables:
        raise click.UsageError(
            f"--postgres: no service has SQL for PostgreSQL; write handlers/NAME{_SQL}, which makes the tables of "
            "service NAME there, as handlers/NAME.sql does in SQLite (docs/postgres.md)"
        )
    given = settings.environment
    variables = {
        name: service for name, service in variables.items() if not {name, f"{name}_FILE"} & given.keys()
    }
    if not variables:
        yield dict(given)
        return
    try:
        from sagagen.runtime.process.private_postgres import PrivatePostgres  # needs asyncpg
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise click.UsageError(
            "--postgres needs asyncpg, which is not installed: pip install 'sagagen[postgres]'"
        ) from error
    folder = settings.data_dir / SERVER
    if not (folder / "data").exists():
        _logger.info("making a PostgreSQL for this project", folder=_shown(folder))
    with PrivatePostgres.running(folder, variables.values()) as server:
        services = list(variables.values())
        _logger.info(
            f"PostgreSQL {server.version} runs for {', '.join(services)}",
            look=f"psql $(cat {_shown(server.address_file)})/{services[0]}",
        )
        yield {**given, **{name: server.url(service) for name, service in variables.items()}}


def services_with_sql(root: Path) -> list[str]:
    """By name. A module has an underscore at its end where the name alone is a word of Python."""
    return sorted(
        path.name.removesuffix(_SQL).removesuffix("_") for path in (root / "handlers").glob(f"*{_SQL}")
    )


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
