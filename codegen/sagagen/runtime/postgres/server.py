"""What a PostgreSQL server has to promise before anything is kept on it."""

import structlog

from sagagen.runtime.postgres.connection import PgConnection
from sagagen.runtime.startup import StartupError

OLDEST = 140000
"""Version of the server, as PostgreSQL numbers it."""
_MUST_BE_ON = ("fsync", "full_page_writes")
_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class PostgresError(StartupError):
    """A PostgreSQL database can't be used as it is; the message says why and what to do, and never the password."""


async def check_server(connection: PgConnection, what: str) -> None:
    """Refuse a server on which a crash would lose what was committed. `what` is kept there. Raises PostgresError."""
    version = int(await connection.fetchval("SELECT current_setting('server_version_num')"))
    if version < OLDEST:
        raise PostgresError(f"{what}: PostgreSQL {version // 10000} is too old; 14 or later will do")
    for name in _MUST_BE_ON:
        if await connection.fetchval("SELECT current_setting($1)", name) != "on":
            raise PostgresError(
                f"{what}: the server's `{name}` is off, so a crash would lose what was committed: turn it on"
            )
    if await connection.fetchval("SELECT current_setting('synchronous_commit')") == "off":
        raise PostgresError(
            f"{what}: `synchronous_commit` is off, so a crash would lose what was committed: leave "
            "it on for this database (ALTER DATABASE ... SET synchronous_commit = on)"
        )
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise PostgresError(f"{what}: this server is a standby, which takes no writes: name the primary")
    standbys = await connection.fetchval("SELECT count(*) FROM pg_stat_replication")
    if standbys and not await connection.fetchval("SELECT current_setting('synchronous_standby_names')"):
        _logger.warning(
            "standbys are attached, and no commit waits for one (synchronous_standby_names is empty): a fail-over may "
            "lose calls that were answered as done, which promise P7 rules out",
            of=what,
            standbys=standbys,
        )
