"""A mesh as real processes on a PostgreSQL that `sagagen up --postgres` starts, for tests."""

import asyncio
from pathlib import Path
from typing import Any, cast

import asyncpg
from stack import Stack

LOG = "saga-log"


class PostgresStack(Stack):
    """Its services keep their data in the server that belongs to the processes."""

    @property
    def server_folder(self) -> Path:
        return self.data_dir / "server"

    def database(self, service: str) -> str:
        """The URL of a service's database, while the server runs."""
        return f"{(self.server_folder / 'url').read_text().strip()}/{service}"

    def command(self, name: str) -> list[str]:
        return [*super().command(name), "--postgres"]

    def rows(self, database: str, query: str) -> list[Any]:
        return (
            super().rows(database, query) if database == LOG else asyncio.run(self._fetched(database, query))
        )

    async def _fetched(self, service: str, query: str) -> list[Any]:
        connection = await cast(Any, asyncpg).connect(self.database(service))
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()
