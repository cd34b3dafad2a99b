"""What the conformance suite needs of a journal, and one entry for each journal that there is.

A second implementation is one more entry in JOURNALS: `test_journal_conformance.py` runs over all of them. A journal
gives nothing back, so an entry also says how a saga begins there, and how a new process would read it.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from shared_log import shared_log

from sagagen.runtime.engine.log_port import EngineLog
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.saga.events import Accepted, LogEvent, SagaStatus
from sagagen.runtime.saga.journal import Journal
from sagagen.runtime.vault.vault import FileKeys


class JournalInUse(Protocol):
    """A journal, and what surrounds it in an engine."""

    @property
    def journal(self) -> Journal[Any]: ...

    async def begin(self, row: Accepted) -> Any:
        """What the journal knows the new saga by."""
        ...

    async def durable(self, saga_id: str) -> tuple[SagaStatus, Sequence[LogEvent]]:
        """Where a saga stands, and its rows, as a process that starts now would find them."""
        ...


class JournalFactory(Protocol):
    """Opens a journal; on leaving, it is closed."""

    def __call__(self, folder: Path) -> AbstractAsyncContextManager[JournalInUse]: ...


class _LogInUse:
    def __init__(self, log: EngineLog) -> None:
        self.journal = log

    async def begin(self, row: Accepted) -> Any:
        ref = await self.journal.accept(row)
        assert ref
        return ref

    async def durable(self, saga_id: str) -> tuple[SagaStatus, Sequence[LogEvent]]:
        # Its readers are connections of their own: they see what is committed, and nothing else.
        head, logged = await self.journal.head(saga_id), await self.journal.find(saga_id)
        assert head
        assert logged
        return head.status, logged.rows


@asynccontextmanager
async def _saga_log(folder: Path) -> AsyncGenerator[JournalInUse]:
    async with SagaLog.open(folder / "saga-log.db") as log:
        yield _LogInUse(log)


@asynccontextmanager
async def _encrypted_log(folder: Path) -> AsyncGenerator[JournalInUse]:
    async with SagaLog.open(folder / "saga-log.db", FileKeys([("k1", b"k" * 32)])) as log:
        yield _LogInUse(log)


@asynccontextmanager
async def _postgres_log(folder: Path) -> AsyncGenerator[JournalInUse]:
    async with shared_log(folder) as log:
        yield _LogInUse(log)


@asynccontextmanager
async def _encrypted_postgres_log(folder: Path) -> AsyncGenerator[JournalInUse]:
    async with shared_log(folder, keys=FileKeys([("k1", b"k" * 32)])) as log:
        yield _LogInUse(log)


JOURNALS: dict[str, JournalFactory] = {
    "saga log": _saga_log,
    "encrypted saga log": _encrypted_log,
    "postgres log": _postgres_log,
    "encrypted postgres log": _encrypted_postgres_log,
}
