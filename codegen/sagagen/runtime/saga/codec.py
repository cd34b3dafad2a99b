"""A saga's rows as protobuf bytes and back, for engines that keep them elsewhere than in the saga log.

`history.proto` is what is written, with the same columns as the log's tables. Each batch says its format. What this
code does not know (a format, a kind of row, a field) is refused by a named error, and nothing is guessed: the saga
waits for code that knows it.

One table, `_LAYOUTS`, says of each kind of row which columns its fields become; writing and reading both follow it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from grpclib.const import Status as Code

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    Compensated,
    Done,
    DoneByHand,
    Ended,
    EventTaken,
    Failed,
    GaveUp,
    Held,
    LogEvent,
    LoopPlanned,
    NextRequest,
    Outcome,
    PassedOver,
    Planned,
    RefusedByHand,
    Resolved,
    Resumed,
    Retried,
    SagaStatus,
    Skipped,
    Stuck,
    TimedOut,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.history_messages import Batch, Row
from sagagen.runtime.saga.journal import JournalUnreadable
from sagagen.runtime.saga.result import SagaResult, of_columns, to_columns
from sagagen.runtime.scope import Failure

FORMAT = 1
"""Of the batches that this code writes, and the only one that it reads."""


class UnknownFormat(JournalUnreadable):
    """A batch of a format that this code does not read."""

    def __init__(self, number: int) -> None:
        super().__init__(f"it waits for code that reads rows of format {number}; this one reads {FORMAT}")
        self.number = number


class UnknownKind(JournalUnreadable):
    """A row of a kind that this code does not know."""

    def __init__(self, kind: str) -> None:
        super().__init__(f'it waits for code that knows rows of the kind "{kind}"')
        self.kind = kind


class UnknownFields(JournalUnreadable):
    """A row with fields that this code does not know: they may change what the others mean."""

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__(f"it waits for code that knows the fields {[*numbers]} of its rows")
        self.numbers = tuple(numbers)


def encode(rows: Sequence[LogEvent]) -> bytes:
    """A batch of rows. Raises ValueError for a number or a text that no column holds."""
    return batch_of(rows).SerializeToString(deterministic=True)


def batch_of(rows: Sequence[LogEvent]) -> Any:
    """The message that is written for rows. Raises ValueError for a number or a text that no column holds."""
    return Batch(format=FORMAT, rows=[Row(**_columns(row)) for row in rows])


def decode(data: bytes) -> tuple[LogEvent, ...]:
    """The rows of a batch. Raises UnknownFormat, UnknownKind, or JournalUnreadable for bytes that are no batch."""
    batch = parsed(data)
    if batch.format != FORMAT:
        raise UnknownFormat(batch.format)
    return rows_of(batch)


def parsed(data: bytes) -> Any:
    """The message of a batch, whichever format it has. Raises JournalUnreadable for bytes that are none."""
    try:
        return Batch.FromString(data)
    except DecodeError as error:
        raise JournalUnreadable(f"a batch of rows can't be read: {error}") from error


def rows_of(batch: Any) -> tuple[LogEvent, ...]:
    """The rows of a message whose format is known. Raises UnknownKind, UnknownFields or JournalUnreadable."""
    _check_known(batch)
    return tuple(_row(row) for row in batch.rows)


def _columns(row: LogEvent) -> dict[str, object]:
    layout = _LAYOUT_OF[type(row)]
    columns: dict[str, object] = {"kind": layout.kind, "at_ms": row.at_ms, "span_id": row.span_id}
    for name, field in layout.fields.items():
        columns |= field.write(getattr(row, name))
    return {name: value for name, value in columns.items() if value is not None}


def _row(row: Any) -> LogEvent:
    _check_known(row)
    layout = _LAYOUTS.get(row.kind)
    if layout is None:
        raise UnknownKind(row.kind)
    try:
        values = {name: field.read(row) for name, field in layout.fields.items()}
        return layout.row(at_ms=_present(row, "at_ms"), span_id=row.span_id, **values)
    except (KeyError, TypeError, ValueError) as error:
        raise JournalUnreadable(f"a row of the kind {layout.kind} can't be read: {error}") from error


def _check_known(message: Message) -> None:
    # Protobuf lets unknown fields pass: here they may be what changes the meaning of those that are known.
    if unknown := [field.field_number for field in UnknownFieldSet(message)]:
        raise UnknownFields(unknown)


@dataclass(frozen=True, slots=True)
class _Field:
    """How one field of a row becomes columns, and comes back."""

    write: Callable[[Any], Mapping[str, object]]
    """None: no such column."""
    read: Callable[[Any], object]


def _present(row: Any, column: str) -> Any:
    if not row.HasField(column):
        raise ValueError(f"it has no {column}")
    return getattr(row, column)


def _plain(column: str) -> _Field:
    return _Field(lambda value: {column: value}, lambda row: _present(row, column))


def _optional(column: str, default: object) -> _Field:
    """A column that is not there where the field says nothing."""
    return _Field(
        lambda value: {column: None if value == default else value},
        lambda row: getattr(row, column) if row.HasField(column) else default,
    )


def _result_of(row: Any) -> SagaResult:
    status, body = (getattr(row, name) if row.HasField(name) else None for name in (_ANSWER[0], _ANSWER[2]))
    return of_columns(status, row.answer_headers, body)


def _token(column: str, enum: Callable[[str], object]) -> _Field:
    return _Field(lambda value: {column: str(value)}, lambda row: enum(_present(row, column)))


_STEP, _ATTEMPT = _plain("step"), _plain("attempt")
_DIRECTION = _token("direction", Direction)
_OUTCOME = _token("outcome", Outcome)
_CODE = _Field(lambda code: {"code": code.name}, lambda row: Code[_present(row, "code")])
_FAILURE = _Field(
    lambda failure: {name: getattr(failure, name) for name in ("code", "reason", "message", "step")},
    lambda row: Failure(*(_present(row, name) for name in ("code", "reason", "message", "step"))),
)
_NEXT = _Field(
    lambda request: {
        "next_request": request.body,
        "next_problem": request.problem or None,
        "next_step": request.step or None,
        "until_ms": request.until_ms,
    },
    lambda row: NextRequest(
        row.next_request if row.HasField("next_request") else None,
        row.next_problem,
        row.next_step,
        row.until_ms if row.HasField("until_ms") else None,
    ),
)
_TRACE = _Field(
    lambda trace: {"trace_id": trace.trace_id, "trace_flags": trace.flags, "trace_state": trace.state},
    lambda row: TraceContext(_present(row, "trace_id"), row.span_id, row.trace_flags, row.trace_state),
)
_ANSWER = ("answer_status", "answer_headers", "answer_body")
_RESULT = _Field(
    lambda result: {} if result is None else dict(zip(_ANSWER, to_columns(result), strict=True)),
    lambda row: _result_of(row) if row.HasField("answer_headers") else None,
)
_EVENT_NUMBER = _optional("event_number", None)
_KEYS = _Field(lambda keys: {"keys": list(keys)}, lambda row: tuple(row.keys))
_REQUEST = {
    "caller": _optional("caller", ""),
    "key": _optional("request_key", ""),
    "fingerprint": _optional("fingerprint", b""),
    "claims": _optional("claims", ""),
}
_OPERATOR = {"by": _optional("operator", ""), "note": _optional("note", "")}


@dataclass(frozen=True, slots=True)
class _Layout:
    """A kind of row."""

    kind: str
    row: type[LogEvent]
    fields: Mapping[str, _Field]


_LAYOUTS = {
    layout.kind: layout
    for layout in (
        _Layout(
            "ACCEPTED",
            Accepted,
            {
                "saga_id": _plain("saga_id"),
                "saga": _plain("name"),
                "version": _plain("version"),
                "digest": _plain("digest"),
                "run": _plain("run"),
                "caller": _plain("caller"),
                "key": _plain("idempotency_key"),
                "fingerprint": _plain("fingerprint"),
                "input": _plain("payload"),
                "trace": _TRACE,
                "next": _NEXT,
                "starts_ms": _optional("starts_ms", None),
                "claims": _optional("claims", ""),
            },
        ),
        _Layout(
            "DONE",
            Done,
            {
                "step": _STEP,
                "attempt": _ATTEMPT,
                "response": _plain("payload"),
                "next": _NEXT,
                "result": _RESULT,
                "event": _EVENT_NUMBER,
            },
        ),
        _Layout(
            "FAILED",
            Failed,
            {
                "step": _STEP,
                "direction": _DIRECTION,
                "attempt": _ATTEMPT,
                "outcome": _OUTCOME,
                "code": _CODE,
                "domain": _plain("domain"),
                "reason": _plain("reason"),
                "message": _plain("message"),
                "retry_after_s": _optional("retry_after_s", None),
                "is_other_payload": _optional("is_other_payload", False),
                "owner_run": _optional("owner_run", ""),
                "event": _EVENT_NUMBER,
            },
        ),
        _Layout("TIME_UP", TimeUp, {"step": _STEP, "direction": _DIRECTION}),
        _Layout(
            "TURNED_BACK",
            TurnedBack,
            {"failure": _FAILURE, "outcome": _OUTCOME, "result": _RESULT, "doubt": _KEYS},
        ),
        _Layout("COMPENSATED", Compensated, {"step": _STEP, "attempt": _ATTEMPT}),
        _Layout(
            "PASSED_OVER",
            PassedOver,
            {"step": _STEP, "reason": _plain("reason"), "message": _plain("message")},
        ),
        _Layout("ENDED", Ended, {"status": _token("outcome", SagaStatus), "result": _RESULT}),
        _Layout("STUCK", Stuck, {"direction": _DIRECTION, "failure": _FAILURE}),
        _Layout("RESUMED", Resumed, {}),
        _Layout("RETRIED", Retried, {**_OPERATOR, "step": _STEP, "direction": _DIRECTION}),
        _Layout("RESOLVED", Resolved, {**_OPERATOR, "step": _STEP}),
        _Layout("CANCELLED", Cancelled, {**_OPERATOR, "reason": _optional("reason", ""), **_REQUEST}),
        _Layout("HELD", Held, {**_OPERATOR, "step": _STEP, "direction": _DIRECTION}),
        _Layout(
            "DONE_BY_HAND",
            DoneByHand,
            {**_OPERATOR, "step": _STEP, "response": _plain("payload"), "next": _NEXT, "result": _RESULT},
        ),
        _Layout("REFUSED_BY_HAND", RefusedByHand, {**_OPERATOR, "step": _STEP}),
        _Layout("PLANNED", Planned, {"next": _NEXT}),
        _Layout(
            "LOOP",
            LoopPlanned,
            {"step": _STEP, "keys": _KEYS, "at_once": _plain("at_once"), "result": _RESULT},
        ),
        _Layout("SKIPPED", Skipped, {"step": _STEP, "result": _RESULT}),
        _Layout("TIMED_OUT", TimedOut, {"step": _STEP, "result": _RESULT}),
        _Layout("EVENT", EventTaken, {"event": _plain("event"), "payload": _plain("payload"), **_REQUEST}),
        _Layout("GAVE_UP", GaveUp, {**_OPERATOR, "failure": _FAILURE, "next": _NEXT, "result": _RESULT}),
    )
}
_LAYOUT_OF = {layout.row: layout for layout in _LAYOUTS.values()}
