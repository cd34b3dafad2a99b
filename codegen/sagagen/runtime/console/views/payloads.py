"""*Payloads* of one saga, as ProtoJSON. That they were read is kept in the audit before they are shown."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from markupsafe import Markup, escape

from sagagen.runtime.admin.redaction import redacted
from sagagen.runtime.audit.entry import Result
from sagagen.runtime.clock import rfc3339
from sagagen.runtime.console.page import Page, View, Visit
from sagagen.runtime.console.rendering import shown_lines
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.saga.events import Accepted, Done, DoneByHand, EventTaken, LogEvent, NextRequest
from sagagen.runtime.saga.result import Succeeded
from sagagen.runtime.scope import step_name
from sagagen.runtime.wire import REDACTED

_BLACK = Markup('<span class="redacted" title="redacted by the contract">redacted</span>')


@dataclass(frozen=True, slots=True)
class Payload:
    what: str
    """`input`, `request`, `response`, `event`, `answer`."""
    of: str
    """A step, or an event; empty for the saga itself."""
    at: str
    """When it was written, RFC 3339."""
    message_type: str
    json: Markup


async def look(visit: Visit) -> Page:
    operations = visit.desk.operations
    recorded = await operations.find(visit.request.path_params["id"])
    saga = operations.definitions.of(recorded.accepted)
    visit.deed.saga_id = recorded.accepted.saga_id
    visit.deed.trace_id = recorded.accepted.trace.trace_id
    await visit.desk.orders.auditor.keep(visit.deed.entry(Result.DONE, "its payloads were shown"))
    values = {
        "id": recorded.accepted.saga_id,
        "name": recorded.accepted.saga,
        "version": recorded.accepted.version,
        "hidden": recorded.hidden,
        "is_known": saga is not None,
        "payloads": []
        if saga is None or recorded.hidden
        else list(payloads_of(recorded.rows, saga, visit.desk.schema())),
    }
    return Page(f"Payloads of {recorded.accepted.saga_id}", values)


def payloads_of(rows: Sequence[LogEvent], saga: Saga, schema: Schema) -> Iterator[Payload]:
    """What rows hold, each read as the message that it is: so it is redacted by the contract of that one."""
    for row in rows:
        at = rfc3339(row.at_ms)
        match row:
            case Accepted():
                yield _shown(schema, "input", "", at, saga.trigger.request_name, row.input)
            case Done() | DoneByHand() if response := _response_type(saga, row.step):
                yield _shown(schema, "response", row.step, at, response, row.response)
            case EventTaken():
                event = next((event for event in saga.events if event.name == row.event), None)
                if event:
                    yield _shown(schema, "event", row.event, at, event.method.request_name, row.payload)
            case _:
                pass
        yield from _request(row, saga, schema, at)
        result = getattr(row, "result", None)
        if isinstance(result, Succeeded):
            yield _shown(schema, "answer", "", at, result.message_type, result.message)


def _request(row: LogEvent, saga: Saga, schema: Schema, at: str) -> Iterator[Payload]:
    following: NextRequest | None = getattr(row, "next", None)
    if following is None or following.body is None:
        return
    step = following.step or _after(saga, row)
    call = next((each for each in saga.calls if each.name == step_name(step)), None)
    if call:
        yield _shown(schema, "request", step, at, call.action.method.request_name, following.body)


def _after(saga: Saga, row: LogEvent) -> str:
    """The step that a row plans without naming it: in a straight line it is the next one."""
    if isinstance(row, Accepted):
        return saga.calls[0].name if saga.calls else ""
    after = saga.following.get(step_name(str(getattr(row, "step", ""))))
    return after.name if after else ""


def _response_type(saga: Saga, step: str) -> str:
    call = next((each for each in saga.calls if each.name == step_name(step)), None)
    return call.action.method.response_name if call else ""


def _shown(schema: Schema, what: str, of: str, at: str, message_type: str, data: bytes) -> Payload:
    try:
        message = schema.message_type(message_type).FromString(data)
    except (DecodeError, KeyError):
        text = Markup("<em>this code can't read it</em>")
    else:
        text = as_html(json.dumps(redacted(message), indent=2, ensure_ascii=False))
    return Payload(what, of, at, message_type, text)


def as_html(document: str) -> Markup:
    """JSON with what the contract redacts in black."""
    parts = shown_lines(document).split(json.dumps(REDACTED))
    return _BLACK.join(escape(part) for part in parts)


VIEW = View(
    "payloads",
    "Payloads",
    "/sagas/{id}/payloads",
    look,
    is_listed=False,
    is_live=False,
    is_for_operators=True,
)
