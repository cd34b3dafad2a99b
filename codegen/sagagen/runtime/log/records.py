"""Rows of a saga, as columns of the log and back."""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

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
    OperatorRow,
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
from sagagen.runtime.saga.logged import SagaHead, SagaRef
from sagagen.runtime.saga.result import Hidden, SagaResult, of_columns, to_columns
from sagagen.runtime.scope import Failure
from sagagen.runtime.sqlite.database import blob

KINDS: dict[type[LogEvent], str] = {
    Accepted: "ACCEPTED",
    Done: "DONE",
    Failed: "FAILED",
    TimeUp: "TIME_UP",
    TurnedBack: "TURNED_BACK",
    Compensated: "COMPENSATED",
    PassedOver: "PASSED_OVER",
    Ended: "ENDED",
    Stuck: "STUCK",
    Resumed: "RESUMED",
    Retried: "RETRIED",
    Resolved: "RESOLVED",
    Cancelled: "CANCELLED",
    Held: "HELD",
    DoneByHand: "DONE_BY_HAND",
    RefusedByHand: "REFUSED_BY_HAND",
    GaveUp: "GAVE_UP",
    Planned: "PLANNED",
    LoopPlanned: "LOOP",
    Skipped: "SKIPPED",
    TimedOut: "TIMED_OUT",
    EventTaken: "EVENT",
}


def event_values(ref: SagaRef, row: LogEvent) -> dict[str, object]:
    """The columns of a row's event that have a value."""
    values: dict[str, object] = {
        "saga": ref.number,
        "at_ms": row.at_ms,
        "kind": KINDS[type(row)],
        "trace_id": ref.trace_id,
        "span_id": row.span_id,
        **_details(row),
    }
    return {column: value for column, value in values.items() if value is not None}


def _details(row: LogEvent) -> dict[str, object]:
    match row:
        case Accepted():
            return {"payload": blob(row.input), **_next(row.next), "starts_ms": row.starts_ms}
        case Done():
            details = {"step": row.step, "attempt": row.attempt, "payload": blob(row.response)}
            return {**details, **_next(row.next), **_result(row.result), "event_number": row.event}
        case Failed():
            return _failed(row)
        case TurnedBack():
            details = {"outcome": str(row.outcome), "keys": _keys(row.doubt) if row.doubt else None}
            return {**details, **_failure(row.failure), **_result(row.result)}
        case Ended():
            return {"outcome": str(row.status), **_result(row.result)}
        case Stuck():
            return {"direction": str(row.direction), **_failure(row.failure)}
        case PassedOver():
            return {"step": row.step, "reason": row.reason, "message": row.message}
        case Compensated():
            return {"step": row.step, "attempt": row.attempt}
        case TimeUp():
            return {"step": row.step, "direction": str(row.direction)}
        case Retried() | Held():
            return {"step": row.step, "direction": str(row.direction), **_operator(row)}
        case Resolved() | RefusedByHand():
            return {"step": row.step, **_operator(row)}
        case DoneByHand():
            details = {"step": row.step, "payload": blob(row.response), **_operator(row)}
            return {**details, **_next(row.next), **_result(row.result)}
        case GaveUp():
            details = {**_failure(row.failure), **_operator(row)}
            return {**details, **_next(row.next), **_result(row.result)}
        case Cancelled():
            return {**_operator(row), "reason": row.reason or None, **_request_of(row)}
        case _:
            return _structure(row)


def _structure(row: LogEvent) -> dict[str, object]:
    match row:
        case Planned():
            return _next(row.next)
        case LoopPlanned():
            details = {"step": row.step, "keys": _keys(row.keys), "at_once": row.at_once}
            return {**details, **_result(row.result)}
        case Skipped() | TimedOut():
            return {"step": row.step, **_result(row.result)}
        case EventTaken():
            return {"event": row.event, "payload": blob(row.payload), **_request_of(row)}
        case _:
            return {}


def _request_of(row: EventTaken | Cancelled) -> dict[str, object]:
    """What a client sent, apart from its message."""
    fingerprint = blob(row.fingerprint) if row.fingerprint else None
    return {
        "caller": row.caller or None,
        "request_key": row.key or None,
        "fingerprint": fingerprint,
        "claims": row.claims or None,
    }


def _keys(keys: tuple[str, ...]) -> str:
    return json.dumps(keys, ensure_ascii=False, separators=(",", ":"))


def _failed(row: Failed) -> dict[str, object]:
    return {
        "step": row.step,
        "direction": str(row.direction),
        "attempt": row.attempt,
        "outcome": str(row.outcome),
        "code": row.code.name,
        "domain": row.domain,
        "reason": row.reason,
        "message": row.message,
        "retry_after_s": row.retry_after_s,
        "is_other_payload": row.is_other_payload,
        "owner_run": row.owner_run or None,
        "event_number": row.event,
    }


def _operator(row: OperatorRow) -> dict[str, object]:
    return {"operator": row.by or None, "note": row.note or None}


def _failure(failure: Failure) -> dict[str, object]:
    return {
        "step": failure.step,
        "code": failure.code,
        "reason": failure.reason,
        "message": failure.message,
    }


def _next(request: NextRequest) -> dict[str, object]:
    body = None if request.body is None else blob(request.body)
    columns: dict[str, object] = {"next_request": body, "next_problem": request.problem or None}
    if request.step:
        columns |= {"next_step": request.step, "until_ms": request.until_ms}
    return columns


def _result(result: SagaResult | None) -> dict[str, object]:
    if result is None:
        return {}
    status, text, body = to_columns(result)
    answer_body = None if body is None else blob(body)
    return {"answer_status": status, "answer_headers": text, "answer_body": answer_body}


_IN_THE_CLEAR = (None, None, None, None)
"""What INSERT_SAGA has of encryption."""


def saga_values(row: Accepted) -> tuple[object, ...]:
    """The values of INSERT_SAGA, in the clear."""
    return (
        row.saga_id,
        row.saga,
        row.version,
        row.digest,
        row.run,
        row.caller,
        row.key,
        blob(row.fingerprint),
        row.trace.trace_id,
        row.trace.flags,
        row.trace.state,
        row.at_ms,
        row.at_ms,
        row.claims or None,
        *_IN_THE_CLEAR,
    )


Record = Mapping[str, Any] | sqlite3.Row
"""A row of a table, by its columns."""


def head_of(record: Record, result: Record | None) -> SagaHead:
    """From SELECT_HEAD. `result` has the columns of its result; None if they can't be read any more."""
    return SagaHead.of(record, Hidden() if result is None else _result_of(result))


def rows_of(saga: Record, events: Sequence[Record]) -> tuple[LogEvent, ...]:
    """A saga's rows, in the order of the log. Raises KeyError or ValueError for a row that no version of ours wrote."""
    first, *others = events
    return (_accepted_of(saga, first), *(_READERS[event["kind"]](event, _common(event)) for event in others))


def _common(event: Record) -> dict[str, Any]:
    return {"at_ms": event["at_ms"], "span_id": event["span_id"]}


def _accepted_of(saga: Record, event: Record) -> Accepted:
    if event["kind"] != KINDS[Accepted]:
        raise ValueError(f"the first row is {event['kind']}")
    return Accepted(
        **_common(event),
        saga_id=saga["saga_id"],
        saga=saga["name"],
        version=saga["version"],
        digest=saga["digest"],
        run=saga["run"],
        caller=saga["caller"],
        key=saga["idempotency_key"],
        fingerprint=saga["fingerprint"],
        input=event["payload"],
        trace=TraceContext(saga["trace_id"], event["span_id"], saga["trace_flags"], saga["trace_state"]),
        next=_next_of(event),
        starts_ms=event["starts_ms"],
        claims=saga["claims"] or "",
    )


def _done_of(event: Record, common: dict[str, Any]) -> Done:
    return Done(
        **common,
        step=event["step"],
        attempt=event["attempt"],
        response=event["payload"],
        next=_next_of(event),
        result=_result_of(event),
        event=event["event_number"],
    )


def _failed_of(event: Record, common: dict[str, Any]) -> Failed:
    return Failed(
        **common,
        step=event["step"],
        direction=Direction(event["direction"]),
        attempt=event["attempt"],
        outcome=Outcome(event["outcome"]),
        code=Code[event["code"]],
        domain=event["domain"],
        reason=event["reason"],
        message=event["message"],
        retry_after_s=event["retry_after_s"],
        is_other_payload=bool(event["is_other_payload"]),
        owner_run=event["owner_run"] or "",
        event=event["event_number"],
    )


def _turned_back_of(event: Record, common: dict[str, Any]) -> TurnedBack:
    outcome = Outcome(event["outcome"])
    doubt = _keys_of(event) if event["keys"] else ()
    return TurnedBack(
        **common, failure=_failure_of(event), outcome=outcome, result=_result_of(event), doubt=doubt
    )


def _keys_of(event: Record) -> tuple[str, ...]:
    keys = json.loads(event["keys"])
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in cast(list[object], keys)):
        raise ValueError(f"keys are no list of texts: {event['keys']}")
    return tuple(cast(list[str], keys))


def _request_columns(event: Record) -> dict[str, Any]:
    return {
        "caller": event["caller"] or "",
        "key": event["request_key"] or "",
        "fingerprint": event["fingerprint"] or b"",
        "claims": event["claims"] or "",
    }


def _failure_of(event: Record) -> Failure:
    return Failure(event["code"], event["reason"], event["message"], event["step"])


def _operator_of(event: Record) -> dict[str, Any]:
    return {"by": event["operator"] or "", "note": event["note"] or ""}


def _next_of(event: Record) -> NextRequest:
    return NextRequest(
        event["next_request"], event["next_problem"] or "", event["next_step"] or "", event["until_ms"]
    )


def _result_of(record: Record) -> SagaResult | None:
    text = record["answer_headers"]
    return None if text is None else of_columns(record["answer_status"], text, record["answer_body"])


_READERS: dict[str, Callable[[Record, dict[str, Any]], LogEvent]] = {
    KINDS[Done]: _done_of,
    KINDS[Failed]: _failed_of,
    KINDS[TurnedBack]: _turned_back_of,
    KINDS[TimeUp]: lambda e, c: TimeUp(**c, step=e["step"], direction=Direction(e["direction"])),
    KINDS[Compensated]: lambda e, c: Compensated(**c, step=e["step"], attempt=e["attempt"]),
    KINDS[PassedOver]: lambda e, c: PassedOver(**c, step=e["step"], reason=e["reason"], message=e["message"]),
    KINDS[Ended]: lambda e, c: Ended(**c, status=SagaStatus(e["outcome"]), result=_result_of(e)),
    KINDS[Stuck]: lambda e, c: Stuck(**c, direction=Direction(e["direction"]), failure=_failure_of(e)),
    KINDS[Resumed]: lambda e, c: Resumed(**c),
    KINDS[Retried]: lambda e, c: Retried(
        **c, **_operator_of(e), step=e["step"], direction=Direction(e["direction"])
    ),
    KINDS[Resolved]: lambda e, c: Resolved(**c, **_operator_of(e), step=e["step"]),
    KINDS[Cancelled]: lambda e, c: Cancelled(
        **c, **_operator_of(e), reason=e["reason"] or "", **_request_columns(e)
    ),
    KINDS[Planned]: lambda e, c: Planned(**c, next=_next_of(e)),
    KINDS[LoopPlanned]: lambda e, c: LoopPlanned(
        **c, step=e["step"], keys=_keys_of(e), at_once=e["at_once"], result=_result_of(e)
    ),
    KINDS[Skipped]: lambda e, c: Skipped(**c, step=e["step"], result=_result_of(e)),
    KINDS[TimedOut]: lambda e, c: TimedOut(**c, step=e["step"], result=_result_of(e)),
    KINDS[EventTaken]: lambda e, c: EventTaken(
        **c, event=e["event"], payload=e["payload"], **_request_columns(e)
    ),
    KINDS[Held]: lambda e, c: Held(
        **c, **_operator_of(e), step=e["step"], direction=Direction(e["direction"])
    ),
    KINDS[DoneByHand]: lambda e, c: DoneByHand(
        **c,
        **_operator_of(e),
        step=e["step"],
        response=e["payload"],
        next=_next_of(e),
        result=_result_of(e),
    ),
    KINDS[RefusedByHand]: lambda e, c: RefusedByHand(**c, **_operator_of(e), step=e["step"]),
    KINDS[GaveUp]: lambda e, c: GaveUp(
        **c, **_operator_of(e), failure=_failure_of(e), next=_next_of(e), result=_result_of(e)
    ),
}
