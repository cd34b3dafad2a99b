"""A mesh whose services are on PostgreSQL, as real processes."""

import json
from pathlib import Path
from typing import Any

from postgres_server import PostgresServer
from stack import Stack


class MovingStack(Stack):
    """As Stack, but each service has a database of its own on `server` while `is_on_postgres`."""

    def __init__(self, data_dir: Path, server: PostgresServer) -> None:
        super().__init__(data_dir)
        self.server = server
        self.is_on_postgres = True

    def database(self, service: str) -> str:
        """The URL of a service's database; made if it is not there."""
        return self.server.database(f"shop_{service}")

    def environment(self, name: str) -> dict[str, str]:
        urls = {
            f"SAGAGEN_{service.upper()}_DATABASE_URL": self.database(service) for service in self.services
        }
        return {**super().environment(name), **(urls if self.is_on_postgres else {})}

    def rows(self, database: str, query: str) -> list[Any]:
        if database not in self.services or not self.is_on_postgres:
            return super().rows(database, query)
        said = self.server.sql(f"SELECT coalesce(json_agg(t), '[]') FROM ({query}) t", f"shop_{database}")
        return json.loads(said)
