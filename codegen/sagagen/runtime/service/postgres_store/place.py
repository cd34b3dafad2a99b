"""Which server a database is on, and whether another one took its place.

A standby that was promoted, or a backup that was restored, begins a new timeline. It may lack what the old server had
committed last. So what is remembered of the old one's commits answers nothing any more: the barrier is asked, and what
is lost is done again. Each connection is looked at once, when it is made: none survives the change of its server. And
while there is no connection at all, nobody can tell who has the database now: what is remembered is forgotten then.
"""

from collections.abc import Callable

import structlog

from sagagen.runtime.postgres.connection import PgConnection

_PLACE = """
SELECT CASE WHEN pg_is_in_recovery() THEN ''
       ELSE system_identifier || ' ' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END
  FROM pg_control_system()
"""
_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Place:
    """The server and timeline that a process works on."""

    def __init__(self, service: str) -> None:
        self.moved: Callable[[], None] = _ignore
        """Called when it is another one than before, or may be."""
        self._service = service
        self._known = ""
        self._connections = 0

    async def look(self, connection: PgConnection) -> None:
        """At a connection that was made just now."""
        connection.add_termination_listener(self._ended)
        self._connections += 1
        found: str = await connection.fetchval(_PLACE)
        if not found:  # a standby takes no writes, and has nothing to say
            return
        if self._known and found != self._known:
            _logger.warning(
                "another server took the place of the database's, and may lack what was committed last: nothing is "
                "answered from memory any more",
                service=self._service,
                was=self._known,
                now=found,
            )
            self.moved()
        self._known = found

    def _ended(self, _connection: object) -> None:
        self._connections -= 1
        if not self._connections:
            self.moved()


def _ignore() -> None:
    pass
