"""A saga log in PostgreSQL, for the tests of engines and journals. The same folder again is the same log."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import postgres_server
import pytest

from sagagen.runtime.clock import Clock
from sagagen.runtime.postgres_log.log import PostgresLog
from sagagen.runtime.vault.vault import FileKeys


def log_url(folder: Path) -> str:
    """Of the folder's own database. Skips the test where there is no server."""
    if why := postgres_server.missing():
        pytest.skip(why)
    name = f"log_{sha256(str(folder).encode()).hexdigest()[:24]}"
    return postgres_server.shared_server().database(name)


@asynccontextmanager
async def shared_log(
    folder: Path, *, lease_s: float = 6.0, keys: FileKeys | None = None, clock: Clock | None = None
) -> AsyncGenerator[PostgresLog]:
    async with PostgresLog.open(log_url(folder), "test", lease_s=lease_s, keys=keys, clock=clock) as log:
        yield log
