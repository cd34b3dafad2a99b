"""What a gateway writes, and how many writes become the one statement `schema.WRITE`."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.postgres_log.sealing import KeptRows, SagaSeal, Sealing
from sagagen.runtime.saga.codec import encode
from sagagen.runtime.saga.events import Accepted, EventTaken, LogEvent, OperatorRow, SagaStatus
from sagagen.runtime.saga.journal import UNCHANGED

IndexValues = Sequence[tuple[str, str | int]]
_AUDITED = (OperatorRow, EventTaken)


@dataclass(frozen=True, slots=True)
class NewSaga:
    """A row of the table of sagas, and the saga's first batch."""

    saga_id: str
    name: str
    version: int
    digest: str
    run: str
    caller: str
    fingerprint: bytes
    trace_id: str
    started_ms: int
    found_by: str | None
    """JSON."""
    rows: bytes
    sealed: bytes | None
    digests: bytes | None
    kek: str | None
    wrapped: bytes | None
    subject: int | None

    @classmethod
    def of(cls, row: Accepted, index: IndexValues, sealing: Sealing, seal: SagaSeal | None) -> "NewSaga":
        kept, stored = sealing.kept(seal, [row]), seal.stored if seal else None
        return cls(
            saga_id=row.saga_id,
            name=row.saga,
            version=row.version,
            digest=row.digest,
            run=row.run,
            caller=row.caller,
            fingerprint=sealing.fingerprint(row.saga_id, row.fingerprint),
            trace_id=row.trace.trace_id,
            started_ms=row.at_ms,
            found_by=_json(dict(index)) if index else None,
            rows=kept.rows,
            sealed=kept.sealed,
            digests=kept.digests,
            kek=stored.kek if stored else None,
            wrapped=stored.wrapped if stored else None,
            subject=stored.subject if stored else None,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are added to a saga."""

    number: int
    """The saga's."""
    answers: bool
    """One of them has the saga's result."""
    rows: bytes
    part: int | None
    sealed: bytes | None
    digests: bytes | None


@dataclass(slots=True)
class Change:
    """How a saga stands from now on; None: as before."""

    number: int
    status: str | None = None
    updated_ms: int | None = None
    sets_wake: bool = False
    wake_ms: int | None = None
    at_steps: str | None = None
    kek: str | None = None
    wrapped: bytes | None = None
    """The key of a saga that had none."""

    @property
    def is_any(self) -> bool:
        return self.sets_wake or not (self.status is None and self.at_steps is None and self.wrapped is None)

    def followed_by(self, later: "Change") -> None:
        """Both, as one."""
        self.status = later.status or self.status
        self.updated_ms = later.updated_ms or self.updated_ms
        self.at_steps = self.at_steps if later.at_steps is None else later.at_steps
        if self.wrapped is None:
            self.kek, self.wrapped = later.kek, later.wrapped
        if later.sets_wake:
            self.sets_wake, self.wake_ms = True, later.wake_ms


@dataclass(slots=True, eq=False)
class Write:
    """One unit of work: all of it is in the log, or none."""

    last_ms: int
    """Time of its last row."""
    life: int
    """Under which its rows were made: under another one they are not written."""
    new: NewSaga | None = None
    batch: Batch | None = None
    change: Change | None = None
    audits: Sequence[AuditEntry] = ()
    done: "asyncio.Future[int | None] | None" = None
    """None: it rides along, and nobody waits. The result is the number of a new saga; None if there was one."""

    @classmethod
    def accepting(
        cls, life: int, row: Accepted, index: IndexValues, sealing: Sealing, seal: SagaSeal | None
    ) -> "Write":
        """Raises ValueError for what no column holds."""
        return cls(row.at_ms, life, new=NewSaga.of(row, index, sealing, seal))

    @classmethod
    def appending(
        cls,
        number: int,
        life: int,
        rows: Sequence[LogEvent],
        status: SagaStatus | None = None,
        wake_ms: int | None = UNCHANGED,
        at_steps: str = "",
        seal: SagaSeal | None = None,
    ) -> "Write":
        """As `Journal.append` has it. Raises ValueError for what no column holds."""
        last_ms = rows[-1].at_ms if rows else 0
        kept = (seal.next(rows) if seal else KeptRows(encode(rows))) if rows else None
        stored = seal.stored if seal else None
        change = Change(
            number,
            status=str(status) if status is not None else None,
            updated_ms=last_ms if status is not None else None,
            sets_wake=wake_ms != UNCHANGED,
            wake_ms=None if wake_ms == UNCHANGED else wake_ms,
            at_steps=at_steps or None,
            kek=stored.kek if stored else None,
            wrapped=stored.wrapped if stored else None,
        )
        answers = any(getattr(row, "result", None) is not None for row in rows)
        return cls(
            last_ms,
            life,
            batch=Batch(number, answers, *kept) if kept else None,
            change=change if change.is_any else None,
            audits=[row.audit for row in rows if isinstance(row, _AUDITED) and row.audit],
        )


@dataclass(slots=True)
class Group:
    """Writes that go together."""

    writes: list[Write] = field(default_factory=list[Write])
    ids: set[str] = field(default_factory=set[str])

    def takes(self, write: Write) -> bool:
        """A saga's id can be accepted only once in a group: which of the two was new could not be told."""
        return write.new is None or write.new.saga_id not in self.ids

    def add(self, write: Write) -> None:
        self.writes.append(write)
        if write.new:
            self.ids.add(write.new.saga_id)

    @property
    def is_awaited(self) -> bool:
        return any(write.done for write in self.writes)

    @property
    def new(self) -> list[NewSaga]:
        """In one order at all gateways: two that accept the same ids would otherwise wait for each other."""
        return sorted((write.new for write in self.writes if write.new), key=lambda new: new.saga_id)

    def arguments(self) -> tuple[Any, ...]:
        """Of `schema.WRITE`, from the new sagas on."""
        new = self.new
        batches = [write.batch for write in self.writes if write.batch]
        changes = self._changes()
        audits = [entry for write in self.writes for entry in write.audits]
        return (
            *([getattr(each, column.name) for each in new] for column in fields(NewSaga)),
            *([getattr(each, column.name) for each in batches] for column in fields(Batch)),
            *([getattr(each, column.name) for each in changes] for column in fields(Change)),
            audits_as_json(audits),
            [entry.order_id for entry in audits if entry.order_id],
        )

    @property
    def last_ms(self) -> int:
        return max(write.last_ms for write in self.writes)

    def _changes(self) -> list[Change]:
        """One for each saga: an UPDATE changes a row once."""
        changes: dict[int, Change] = {}
        for change in (write.change for write in self.writes if write.change):
            if before := changes.get(change.number):
                before.followed_by(change)
            else:
                changes[change.number] = replace(change)
        return list(changes.values())


def audits_as_json(entries: Sequence[AuditEntry]) -> str:
    return _json([asdict(entry) for entry in entries])


def _json(value: object) -> str:
    """A text in PostgreSQL has no NUL."""
    return json.dumps(value).replace("\\u0000", "\\ufffd")
