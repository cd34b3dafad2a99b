"""The routes by which sagas get events, and requests to cancel them, while they run.

No service answers these: an event is in the saga's log before its answer leaves, and a repeat gets the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.entry import Entry
from sagagen.runtime.edge.exchange import SAGA, Exchange, traceparent
from sagagen.runtime.edge.json.protojson import AnswerNotWritten, JsonWriter
from sagagen.runtime.edge.key import idempotency_key, missing_key
from sagagen.runtime.edge.problem import RETRY_AFTER_S, Problem, ProblemError, retry_after
from sagagen.runtime.edge.responder import JSON, accepted, key_reused, not_written
from sagagen.runtime.edge.shared_answers import SharedAnswers
from sagagen.runtime.edge.start import REPLAYED
from sagagen.runtime.edge.transcoding.request import RequestReader, RouteError
from sagagen.runtime.engine.port import CANCEL as CANCELS
from sagagen.runtime.engine.port import (
    Delivered,
    Delivery,
    JournalUnavailable,
    NotDelivered,
    Overloaded,
    Refusal,
    SagaRuntime,
)
from sagagen.runtime.identity import fingerprint_of, is_saga_id
from sagagen.runtime.model.definition import Cancel, Event, Method, Route, Saga
from sagagen.runtime.rpc.caller_claims import claims_of
from sagagen.runtime.scope import EventScope
from sagagen.runtime.telemetry.spans import saga_attributes

CANCEL = "cancel"
"""`Route.event` of a request to cancel. No event has such a name."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventOf:
    """An event as a saga's newest definition has it."""

    saga: Saga
    event: Event


@dataclass(frozen=True, slots=True)
class CancelOf:
    saga: Saga
    cancel: Cancel


def events_of(route: Route, sagas: Sequence[Saga]) -> Sequence[EventOf]:
    """The events that come by a route. Raises RouteError if there is none: the mesh does not fit together."""
    found = [
        EventOf(saga, event)
        for saga in sagas
        for event in saga.events
        if event.name == route.event and event.method.path == route.method.path
    ]
    if not found:
        raise RouteError(f"{route.template}: saga {route.target} has no event {route.event} by this rpc")
    return found


def cancels_of(route: Route, sagas: Sequence[Saga]) -> Sequence[CancelOf]:
    """As `events_of`, of requests to cancel."""
    found = [
        CancelOf(saga, saga.cancel)
        for saga in sagas
        if saga.cancel and saga.cancel.method.path == route.method.path
    ]
    if not found:
        raise RouteError(f"{route.template}: saga {route.target} can't be cancelled by this rpc")
    return found


@dataclass(frozen=True, slots=True)
class Message:
    """What a request brings, before it is known whether a saga takes it."""

    method: Method[Any, Any]
    data: bytes
    caller: str
    claims: str
    """Of the caller, canonical."""
    key: str

    @property
    def scope(self) -> EventScope[Any, Any]:
        """What tells which saga it is for: there is no saga yet."""
        return EventScope(self.method.request, self.data, caller=self.caller, claims=claims_of(self.claims))

    def delivery(self, saga: Saga, saga_id: str, event: str) -> Delivery:
        return Delivery(
            saga=saga.name,
            saga_id=saga_id,
            event=event,
            key=self.key,
            fingerprint=fingerprint_of(self.method.path, self.data),
            payload=self.data,
            caller=self.caller,
            claims=self.claims,
        )


class Mailbox:
    """Reads what comes by one route, and hands it to the engine."""

    def __init__(
        self, engine: SagaRuntime, reader: RequestReader, entry: Entry, shared: SharedAnswers | None
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._entry = entry
        self._shared = shared

    async def read(self, exchange: Exchange, method: Method[Any, Any]) -> Message:
        """The valid message of a request. Raises ProblemError, 400 without a key."""
        identity = await self._entry(exchange)
        key = idempotency_key(exchange.request.headers)
        if not key:
            raise missing_key()
        body = await exchange.body(self._reader.max_body_bytes)
        data = await self._reader.read(exchange.values, exchange.query, body)
        self._entry.check_request(identity, data)
        return Message(method, data, identity.caller, identity.told_claims, key)

    async def deliver(self, exchange: Exchange, deliveries: Sequence[Delivery]) -> tuple[int, Delivered]:
        """Which of these, one for each saga that it may be, was taken. Raises ProblemError if none was."""
        saga_id = deliveries[0].saga_id
        if not is_saga_id(saga_id):  # nobody is asked for what is none: it may be as long as a request
            raise ProblemError(_unknown())
        for number, delivery in enumerate(deliveries):
            try:
                delivered = await self._engine.deliver(delivery)
            except NotDelivered as error:
                if error.refusal is not Refusal.UNKNOWN_SAGA:
                    raise ProblemError(_refused(error, saga_id)) from error
            except (Overloaded, JournalUnavailable) as error:
                raise ProblemError(_nothing_taken(error)) from error
            else:
                attributes = saga_attributes(saga_id, delivery.saga, delivered.version)
                exchange.request.scope[SAGA] = attributes
                return number, delivered
        if self._shared and await self._shared.is_elsewhere(saga_id, exchange.trace):
            raise ProblemError(_elsewhere().of_saga(saga_id, ""))
        raise ProblemError(_unknown())


class EventEndpoint:
    """Brings an event to the saga that it is for."""

    def __init__(self, events: Sequence[EventOf], writer: JsonWriter, mailbox: Mailbox) -> None:
        self._events = events
        self._writer = writer
        self._mailbox = mailbox

    async def __call__(self, exchange: Exchange) -> Answer:
        event = self._events[0].event
        message = await self._mailbox.read(exchange, event.method)
        saga_id = event.saga_id(message.scope)
        deliveries = [message.delivery(each.saga, saga_id, event.name) for each in self._events]
        number, delivered = await self._mailbox.deliver(exchange, deliveries)
        body = self._written(_response(self._events[number], message, saga_id, delivered))
        replayed = () if delivered.is_new else (REPLAYED,)
        return Answer(200, (*JSON, *replayed, traceparent(exchange.trace, delivered.trace_id)), body)

    def _written(self, response: bytes) -> bytes:
        try:
            return self._writer.write(response)
        except AnswerNotWritten as error:
            raise ProblemError(not_written("the saga has the event", error)) from error


class CancelEndpoint:
    """Turns a saga back, as long as its pivot was not attempted."""

    def __init__(self, cancels: Sequence[CancelOf], mailbox: Mailbox) -> None:
        self._cancels = cancels
        self._mailbox = mailbox

    async def __call__(self, exchange: Exchange) -> Answer:
        cancel = self._cancels[0].cancel
        message = await self._mailbox.read(exchange, cancel.method)
        saga_id = cancel.saga_id(message.scope)
        deliveries = [message.delivery(each.saga, saga_id, CANCELS) for each in self._cancels]
        number, delivered = await self._mailbox.deliver(exchange, deliveries)
        saga = self._cancels[number].saga
        answer = accepted(saga.name, delivered.version or saga.version, saga_id, delivered.trace_id)
        return replace(answer, headers=(*answer.headers, traceparent(exchange.trace, delivered.trace_id)))


def _response(taken: EventOf, message: Message, saga_id: str, delivered: Delivered) -> bytes:
    """The rpc's response, encoded. Its default if it can't be built: that the saga has the event stays true."""
    if taken.event.body is None:
        return b""
    scope: EventScope[Any, Any] = EventScope(
        message.method.request,
        message.data,
        caller=message.caller,
        claims=claims_of(message.claims),
        saga_id=saga_id,
        started_ms=delivered.started_ms,
        input_type=taken.saga.trigger.request,
        input=delivered.input,
    )
    try:
        return bytes(taken.event.body(scope))
    except Exception:
        _logger.exception("an answer could not be built; the default one is given", saga_id=saga_id)
        return b""


def _unknown() -> Problem:
    detail = (
        "no saga of this id is known here; if it has just been accepted, or by another gateway, send the same request "
        "with the same key again after Retry-After"
    )
    reason = Refusal.UNKNOWN_SAGA.value
    return Problem(404, "NOT_FOUND", reason, detail, headers=(retry_after(),))


def _elsewhere() -> Problem:
    detail = "another gateway has this saga, and this one took nothing: send the same request with the same key there"
    reason = Refusal.SAGA_ELSEWHERE.value
    return Problem(409, "ABORTED", reason, detail, headers=(retry_after(),))


def _nothing_taken(error: Overloaded | JournalUnavailable) -> Problem:
    return Problem(
        503,
        "UNAVAILABLE",
        "NOT_ACCEPTED",
        f"nothing was taken ({error}); send the same request with the same key again",
        headers=(retry_after(error.retry_after_s),),
    )


def _refused(error: NotDelivered, saga_id: str) -> Problem:
    reason, detail = error.refusal.value, str(error)
    match error.refusal:
        case Refusal.KEY_REUSED:
            problem = key_reused()
        case Refusal.SAGA_ELSEWHERE:
            problem = _elsewhere()
        case Refusal.NOT_ALLOWED:
            problem = Problem(403, "PERMISSION_DENIED", reason, "this caller may not send this to that saga")
        case Refusal.NOT_READY:
            again = retry_after(error.retry_after_s or RETRY_AFTER_S)
            problem = Problem(503, "UNAVAILABLE", reason, detail, headers=(again,))
        case _:
            problem = Problem(409, "ABORTED", reason, detail)
    return problem.of_saga(saga_id, "")
