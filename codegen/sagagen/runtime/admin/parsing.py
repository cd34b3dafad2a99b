"""What operators send, as values: orders, and what they look for."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex

from sagagen.runtime.audit.entry import AuditQuery
from sagagen.runtime.model.definition import MAX_KEY_LENGTH
from sagagen.runtime.saga.commands import BOUND, Act, OperatorCommand
from sagagen.runtime.saga.events import Outcome, SagaStatus
from sagagen.runtime.saga.search import OPEN, SagaQuery
from sagagen.runtime.saga.where import Where, where_of

MAX_LISTED = 10_000
"""Most sagas that one answer lists, and most entries of the audit."""

Members = Mapping[str, object]
"""JSON members of an order."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command as an operator gives it."""

    command: OperatorCommand
    response: object = None
    """JSON of a step's response; None: none is given."""


@dataclass(frozen=True, slots=True)
class EventOrder:
    """An event that an operator sends in the place of whoever should have."""

    event: str
    by: str
    payload: object
    """JSON of the event's message."""
    key: str
    """Of the event, as an idempotency key: sent again, it has no second effect."""


class BadOrder(ValueError):
    """An order that can't be understood; the message says what would do."""


def query_of(asked: Mapping[str, str]) -> SagaQuery:
    """From `saga`, `where` (as `where_of` reads it), `status` (comma-separated, or `ALL`), `older_than_s`,
    `ended_since_s` (how long ago) and `limit`.

    Raises BadOrder.
    """
    older_than_s = _seconds(asked, "older_than_s")
    ended_since_s = _seconds(asked, "ended_since_s")
    return SagaQuery(
        where=_where(asked.get("where", "")),
        saga=asked.get("saga", ""),
        statuses=_statuses(asked.get("status", "")),
        started_before_ms=round((time.time() - older_than_s) * 1000) if older_than_s else None,
        ended_since_ms=round((time.time() - ended_since_s) * 1000) if ended_since_s else None,
        limit=_limit(asked),
    )


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What a list is narrowed to, beyond what the log is asked for."""

    step: str = ""
    """Of a call under way, or of a stuck one: its key, or its name for whichever item of a loop."""
    service: str = ""
    """Of such a call."""
    act: Act | None = None
    """Only those that would carry it out now."""
    waiting: str = ""
    """Only those that wait for this event."""
    error: str = ""
    """Only those of which `trouble_of` says this error."""
    failed_step: str = ""
    """Only those of which `trouble_of` says this step."""
    text: str = ""
    """Only those whose last error has this in it, in whichever case."""

    @property
    def is_narrow(self) -> bool:
        return self != ALL


ALL = Narrowed()


def narrowed_of(asked: Mapping[str, str]) -> Narrowed:
    """From `step`, `service`, `act`, `waiting`, `error`, `failed_step` and `text`. Raises BadOrder."""
    names = ("step", "service", "waiting", "error", "failed_step", "text")
    texts = {name: asked.get(name, "") for name in names}
    act = asked.get("act", "")
    return Narrowed(act=act_of(act) if act else None, **texts)


def audit_query_of(asked: Mapping[str, str]) -> AuditQuery:
    """From `saga` (an id, or how it begins), `by`, `since_s` (how long ago) and `limit`. Raises BadOrder."""
    since_s = _seconds(asked, "since_s")
    since_ms = round((time.time() - since_s) * 1000) if since_s else 0
    return AuditQuery(asked.get("saga", ""), asked.get("by", ""), since_ms, _limit(asked))


def _seconds(asked: Mapping[str, str], name: str) -> float:
    try:
        seconds = float(asked.get(name) or 0.0)
    except ValueError as error:
        raise BadOrder(f"{name} is a number: {error}") from error
    if not 0.0 <= seconds < 1e10:
        raise BadOrder(f"{name} is 0 or more")
    return seconds


def _limit(asked: Mapping[str, str]) -> int:
    try:
        limit = int(asked.get("limit") or 100)
    except ValueError as error:
        raise BadOrder(f"limit is a number: {error}") from error
    if not 1 <= limit <= MAX_LISTED:
        raise BadOrder(f"limit is from 1 to {MAX_LISTED}")
    return limit


def _where(text: str) -> Where | None:
    if not text:
        return None
    try:
        return where_of(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise BadOrder(f'`where` is a condition as JSON, like [">", "total", 5000]: {error}') from error


def _statuses(text: str) -> tuple[SagaStatus, ...]:
    if not text:
        return OPEN
    if text.upper() == "ALL":
        return tuple(SagaStatus)
    try:
        return tuple(SagaStatus(name.strip().upper()) for name in text.split(","))
    except ValueError as error:
        raise BadOrder(f"{error}; there are: {', '.join(SagaStatus)}, ALL") from error


def event_order_of(members: Members) -> EventOrder:
    """From `event`, `by`, `key` (made up where there is none) and `payload` (JSON). Raises BadOrder."""
    texts = {name: members.get(name) or "" for name in ("event", "by", "key")}
    event, by, key = (str(text).strip() for text in texts.values())
    if not all(isinstance(text, str) for text in texts.values()) or not event or not by:
        raise BadOrder("an event is sent with `event` and `by`, strings that are not empty, and `payload`")
    if unknown := members.keys() - {*texts, "payload"}:
        raise BadOrder(f"an event is sent without the member {', '.join(sorted(unknown))}")
    if len(key) > MAX_KEY_LENGTH:
        raise BadOrder(f"a key has at most {MAX_KEY_LENGTH} characters; this one has {len(key)}")
    payload = members.get("payload")
    return EventOrder(event, by, {} if payload is None else payload, key or token_hex(16))


def order_of(act: str, members: Members) -> Order:
    """From `by`, `note`, `step`, `as` (done, refused) and `response` (JSON). Raises BadOrder."""
    texts = {name: members.get(name) or "" for name in ("by", "note", "step", "as")}
    by, note, step, outcome = (str(text).strip() for text in texts.values())
    if not all(isinstance(text, str) for text in texts.values()) or not by:
        raise BadOrder(
            "a command says who gives it: `by`, `note`, `step` and `as` are strings, `by` is not empty"
        )
    if unknown := members.keys() - {*texts, "response"}:
        raise BadOrder(f"a command has no member {', '.join(sorted(unknown))}")
    command = OperatorCommand(act_of(act), by, note, step, _outcome(outcome))
    response = members.get("response")
    _check_bound(command, response)
    return Order(command, response)


def act_of(text: str) -> Act:
    """Raises BadOrder, which names those that there are."""
    try:
        return Act(text)
    except ValueError as error:
        raise BadOrder(f"{error}; there are: {', '.join(Act)}") from error


def _outcome(text: str) -> Outcome | None:
    match text.lower():
        case "":
            return None
        case "done":
            return Outcome.DONE
        case "refused":
            return Outcome.REFUSED
        case _:
            raise BadOrder(f'"{text}" is no outcome; `as` is done or refused')


def _check_bound(command: OperatorCommand, response: object) -> None:
    if command.act in BOUND and not command.step:
        raise BadOrder(f"{command.act} names the step that it vouches for: send `step`")
    if command.act is not Act.RESOLVE and (command.outcome or response is not None):
        raise BadOrder(f"`as` and `response` are for resolve, not for {command.act}")
    if command.outcome is Outcome.REFUSED and response is not None:
        raise BadOrder("a step that is refused has no response")
