"""The sagas of a log that no engine runs on, for operators: what they command, the next engine acts on."""

import time
from collections.abc import Mapping, Sequence

from sagagen.runtime.engine.log_port import SagasInLog
from sagagen.runtime.engine.port import DiskUse, RecordedSaga
from sagagen.runtime.engine.requests import Requests
from sagagen.runtime.saga.commands import Offer, OperatorCommand, UnknownSaga, offers, row_for
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import LogEvent, Resumed, SagaStatus
from sagagen.runtime.saga.figures import SagaFigures
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.saga.logged import LoggedSaga
from sagagen.runtime.saga.search import OpenCount, SagaQuery, UnreadableSaga


class SagasAtRest:
    """Implements `SagaControl` on a log. `definitions` may be empty: then steps are known by name only."""

    def __init__(self, log: SagasInLog, definitions: Definitions) -> None:
        self._log = log
        self._definitions = definitions

    @property
    def definitions(self) -> Definitions:
        return self._definitions

    async def find(self, saga_id: str) -> LoggedSaga | None:
        return await self._log.find(saga_id)

    async def ids(self, beginning: str, at_most: int) -> Sequence[str]:
        return await self._log.ids(beginning, at_most)

    async def search(self, query: SagaQuery) -> Sequence[LoggedSaga | UnreadableSaga]:
        return await self._log.search(query)

    async def open_counts(self) -> Sequence[OpenCount]:
        return await self._log.open_counts()

    async def ended_counts(self) -> Mapping[tuple[str, SagaStatus], int]:
        return await self._log.ended_counts()

    @property
    def figures(self) -> SagaFigures:
        return self._log.figures

    def disk_use(self) -> DiskUse | None:
        return disk_use_of(self._log)

    async def command(self, saga_id: str, command: OperatorCommand) -> None:
        """Write the row that says it was done; the next engine to open the log goes on from there."""
        logged = await self._log.find(saga_id)
        if logged is None:
            raise UnknownSaga(saga_id)
        now_ms = max(round(time.time() * 1000), await self._log.last_ms())
        history, seen = fold(logged.rows), _seen(logged.rows)
        saga = self._definitions.of(logged.accepted)
        row = row_for(command, saga, seen, now_ms)
        if row is None:
            return
        if saga:
            row = Requests(saga, history).complete(row)
        status = history.with_row(row).status
        if logged.wake_ms is None:
            await self._log.append(logged.ref, [row], status)
        else:
            # Not when its wait ends: the next engine goes on with it at once, also where another step is stuck still.
            wake_ms = 0 if status is SagaStatus.STUCK else None
            await self._log.append(logged.ref, [row], status, wake_ms)

    def offers(self, recorded: RecordedSaga) -> Sequence[Offer]:
        return tuple(offers(self._definitions.of(recorded.accepted), _seen(recorded.rows)))


def _seen(rows: Sequence[LogEvent]) -> History:
    """As the next process finds it: the one that ran the saga has gone, so what it was doing is in doubt."""
    history = fold(rows)
    return history.with_row(Resumed(at_ms=history.updated_ms)) if history.status.is_active else history


def disk_use_of(log: SagasInLog) -> DiskUse | None:
    size_bytes = log.size_bytes
    return None if size_bytes is None else DiskUse(size_bytes, log.is_disk_full)
