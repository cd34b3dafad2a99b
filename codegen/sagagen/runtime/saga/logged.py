"""Sagas as a log gives them back, whichever log that is."""

from dataclasses import dataclass
from typing import Any, Protocol

from sagagen.runtime.saga.events import Accepted, LogEvent, SagaStatus
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.saga.search import UnreadableSaga


class Record(Protocol):
    """A row of a database's table, by its columns."""

    def __getitem__(self, column: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class SagaRef:
    """A saga's place in the log; only the log looks into it."""

    number: int
    trace_id: str


@dataclass(frozen=True, slots=True)
class SagaHead:
    """Where a saga stands, without its rows."""

    saga_id: str
    saga: str
    version: int
    digest: str
    caller: str
    fingerprint: bytes
    trace_id: str
    started_ms: int
    status: SagaStatus
    result: SagaResult | None
    is_elsewhere: bool = False
    """Another gateway on the same log drives it, if it is open."""

    @classmethod
    def of(cls, record: Record, result: SagaResult | None, *, is_elsewhere: bool = False) -> "SagaHead":
        """From a row of a log's table of sagas. Raises ValueError for a status that later code has written."""
        return cls(
            saga_id=record["saga_id"],
            saga=record["name"],
            version=record["version"],
            digest=record["digest"],
            caller=record["caller"],
            fingerprint=record["fingerprint"],
            trace_id=record["trace_id"],
            started_ms=record["started_ms"],
            status=SagaStatus(record["status"]),
            result=result,
            is_elsewhere=is_elsewhere,
        )


@dataclass(frozen=True, slots=True)
class LoggedSaga:
    """A saga as it stands in the log."""

    ref: SagaRef
    rows: tuple[LogEvent, ...]
    wake_ms: int | None = None
    """When it has something to do again; None: it does not wait. 0: it goes on, though a step of it is stuck."""
    hidden: str = ""
    """Why what is encrypted of it can't be read: payloads are empty then. Empty if it can, or nothing is."""
    is_elsewhere: bool = False
    """Another gateway on the same log drives it."""

    @property
    def waiting_for(self) -> str:
        """Nothing that the definitions of this process would not tell: it drives the saga itself."""
        return ""

    @property
    def is_parked(self) -> bool:
        """It only waits: no process has a task for it."""
        return bool(self.wake_ms)

    @property
    def accepted(self) -> Accepted:
        first = self.rows[0]
        assert isinstance(first, Accepted), "a log reads nothing else first"
        return first

    @property
    def cursor(self) -> str:
        """Its place in the log, for `SagaQuery.before`."""
        return str(self.ref.number)


Found = LoggedSaga | UnreadableSaga
