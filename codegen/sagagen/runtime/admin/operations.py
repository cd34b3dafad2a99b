"""What operators see and do. It is the same for a running engine and a log at rest. Payloads are never shown."""

import difflib
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from google.protobuf import json_format
from google.protobuf.message import Message

from sagagen.runtime.clock import rfc3339, rfc3339_or_none
from sagagen.runtime.engine.port import Delivered, Delivery, NotDelivered, RecordedSaga, SagaControl
from sagagen.runtime.identity import fingerprint_of
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction, Event, Saga, Step
from sagagen.runtime.saga.commands import (
    Act,
    AmbiguousSaga,
    CommandRejected,
    Offer,
    OperatorCommand,
    UnknownSaga,
    stuck_places,
)
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import CallNow
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import OperatorRow, SagaStatus
from sagagen.runtime.saga.explain import Explanation, explain
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.saga.search import OpenCount, SagaQuery, UnreadableSaga
from sagagen.runtime.saga.view import StepView, view_of
from sagagen.runtime.saga.where import names_in
from sagagen.runtime.scope import step_name

UNREADABLE = "UNREADABLE"
"""Shown instead of a status."""
AT_REST = (
    "no engine runs on this log, and it is a running engine that takes an event: start the gateway, and send it there "
    "(without --log)"
)
CANDIDATES = 10
"""How many ids are named where a beginning fits several."""
Shown = dict[str, Any]
"""JSON members."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


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


Deliver = Callable[[Delivery], Awaitable[Delivered]]


class BadOrder(ValueError):
    """An order that can't be understood; the message says what would do."""


class SagaOperations:
    """Lists, shows and commands sagas."""

    def __init__(
        self,
        sagas: SagaControl,
        schema: Callable[[], Schema] | None = None,
        deliver: Deliver | None = None,
    ) -> None:
        """`schema` has the contract's messages, for what operators give as JSON; None: they can't give any.

        `deliver` is that of an engine that runs: a log at rest has none.
        """
        self._sagas = sagas
        self._deliver = deliver
        self._definitions = sagas.definitions
        self._schema = schema

    @property
    def definitions(self) -> Definitions:
        """All versions of all sagas that the code keeps."""
        return self._definitions

    async def list(
        self,
        query: SagaQuery,
        *,
        step: str = "",
        service: str = "",
        act: Act | None = None,
        waiting: str = "",
    ) -> list[Shown]:
        """Sagas that match, newest first; `step` and `service` are those of a call under way, or of a stuck one.

        `step` is a step's key, or its name for whichever item of a loop. `act`: only those that would carry it out now.
        `waiting`: only those that wait for this event. One that can't be read is listed as that.
        """
        self._check_indexed(query)
        self._check_event(waiting)
        asked = _Asked(step, service, act, waiting)
        if waiting and self._definitions.names:
            query = replace(query, waiting_at=tuple(self._definitions.waits_for(waiting)))
        found: list[Shown] = []
        while len(found) < query.limit and (page := await self._sagas.search(query)):
            for recorded in page:
                shown = self._listed(recorded, asked)
                if shown is not None:
                    found.append(shown)
            query = replace(query, before=page[-1].cursor)
        return found[: query.limit]

    def _check_indexed(self, query: SagaQuery) -> None:
        """Raises BadOrder for a name that no saga of the contract can be found by: it would find nothing, for ever."""
        known = self._definitions.index_names
        asked = dict.fromkeys(names_in(query.where)) if query.where and known else ()
        if unknown := [name for name in asked if name not in known]:
            raise BadOrder(
                f"no saga can be found by {unknown[0]}; the contract's index has {', '.join(known)}"
            )

    def _check_event(self, name: str) -> None:
        """As `_check_indexed`, for the name of an event."""
        known = self._definitions.events
        if name and self._definitions.names and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(known) or 'none'}"
            raise BadOrder(f'no saga of the contract waits for an event "{name}"; {hint}')

    def _listed(self, recorded: RecordedSaga | UnreadableSaga, asked: "_Asked") -> Shown | None:
        """A saga in a list; None if it does not belong there."""
        if isinstance(recorded, UnreadableSaga):
            return None if asked.is_narrow else _unreadable(recorded)
        try:
            return self._summary(recorded) if self._is_asked_for(recorded, asked) else None
        except Exception as error:
            # A mistake of ours, or rows that fit together in no way: one saga must not hide the others.
            _logger.exception("a saga can't be shown", saga_id=recorded.accepted.saga_id)
            return None if asked.is_narrow else _unreadable(_as_unreadable(recorded, error))

    def _is_asked_for(self, recorded: RecordedSaga, asked: "_Asked") -> bool:
        if not asked.is_narrow:
            return True
        if asked.act and all(offer.act is not asked.act for offer in self._sagas.offers(recorded)):
            return False
        history, saga = fold(recorded.rows), self._definitions.of(recorded.accepted)
        if asked.waiting and asked.waiting not in _waited_for(history, saga):
            return False
        places = _places(history, saga)
        return any(
            (not asked.step or asked.step in (key, step_name(key))) and asked.service in ("", service)
            for key, service in places
        ) or not (asked.step or asked.service)

    async def show(self, saga_id: str) -> Shown:
        """Everything that is known of a saga but its payloads.

        `saga_id` may be the beginning of an id that no other begins with. Raises UnknownSaga, AmbiguousSaga or
        JournalUnreadable.
        """
        recorded = await self._sagas.find(await self._whole(saga_id))
        if recorded is None:
            raise UnknownSaga(saga_id)
        history = fold(recorded.rows)
        view = view_of(history, self._definitions.of(recorded.accepted))
        return {
            **self._summary(recorded),
            "caller": view.caller,
            "trace_id": view.trace_id,
            "starts_at": rfc3339_or_none(view.starts_ms),
            "incomplete": list(view.incomplete),
            "unconsumed": list(view.unconsumed),
            "steps": [_step(step) for step in view.steps],
            "commands": [_offer(offer) for offer in self._sagas.offers(recorded)],
            "operators": [_operator(row) for row in recorded.rows if isinstance(row, OperatorRow)],
            "events": list(_events(history)),
        }

    async def send(self, saga_id: str, order: EventOrder) -> Shown:
        """Bring an event to a saga that an engine runs, and show the saga. `saga_id` is as in `show`.

        `allow` is not asked. Raises UnknownSaga, AmbiguousSaga, BadOrder, CommandRejected or JournalUnavailable.
        """
        whole = await self._whole(saga_id)
        recorded = await self._sagas.find(whole)
        if recorded is None:
            raise UnknownSaga(saga_id)
        if self._deliver is None:
            raise CommandRejected(AT_REST)
        event = self._event(recorded, order.event)
        payload = self._message("event", event.method.request_name, order.payload)
        delivery = Delivery(
            saga=recorded.accepted.saga,
            saga_id=whole,
            event=event.name,
            key=order.key,
            fingerprint=fingerprint_of(event.method.path, payload),
            payload=payload,
            caller=order.by,
            is_operator=True,
        )
        try:
            await self._deliver(delivery)
        except NotDelivered as error:
            raise CommandRejected(f"the event was not taken: {error.refusal}: {error}") from error
        return await self.show(whole)

    def _event(self, recorded: RecordedSaga, name: str) -> Event:
        saga = self._definitions.of(recorded.accepted)
        if saga is None:
            raise CommandRejected(self._definitions.missing(recorded.accepted))
        found = next((event for event in saga.events if event.name == name), None)
        if found is None:
            known = ", ".join(event.name for event in saga.events) or "none"
            raise CommandRejected(
                f'saga {saga.name} version {saga.version} has no event "{name}"; it has: {known}'
            )
        return found

    def _message(self, what: str, name: str, given: object) -> bytes:
        """A valid message, encoded. Raises BadOrder for JSON that is none."""
        if self._schema is None:
            raise CommandRejected("this code lacks the contract's messages, so it can't read the JSON")
        schema = self._schema()
        data = _encoded(what, schema.message_type(name), given)
        if broken := schema.violations(schema.message_type(name).FromString(data)):
            raise BadOrder("; ".join(f"{each.field}: {each.description}" for each in broken[:3]))
        return data

    async def command(self, saga_id: str, order: Order) -> Shown:
        """Carry it out, durably, and show the saga. `saga_id` is as in `show`.

        Raises UnknownSaga, AmbiguousSaga, BadOrder, CommandRejected or JournalUnavailable.
        """
        whole = await self._whole(saga_id)
        command = order.command
        if order.response is not None:
            command = replace(command, response=await self._response(whole, command.step, order.response))
        await self._sagas.command(whole, command)
        return await self.show(whole)

    async def _response(self, saga_id: str, step: str, given: object) -> bytes:
        """A step's response, encoded. Raises UnknownSaga, CommandRejected, or BadOrder for JSON that does not fit."""
        recorded = await self._sagas.find(saga_id)
        if recorded is None:
            raise UnknownSaga(saga_id)
        saga = self._definitions.of(recorded.accepted)
        if saga is None or self._schema is None:
            raise CommandRejected("this code lacks the saga's definition, so it can't read a response")
        found = next((each for each in saga.calls if each.name == step_name(step)), None)
        if found is None:
            raise CommandRejected(f"the saga has no step {step}")
        return _encoded("response", self._schema().message_type(found.action.method.response_name), given)

    async def _whole(self, beginning: str) -> str:
        """The one id that begins like this, or is this. Raises UnknownSaga or AmbiguousSaga."""
        found = await self._sagas.ids(beginning, CANDIDATES + 1) if beginning else ()
        if not found:
            raise UnknownSaga(beginning)
        # In order, so an id that is itself the beginning of others comes first: then it is meant.
        if len(found) > 1 and found[0] != beginning:
            more = ("...",) if len(found) > CANDIDATES else ()
            raise AmbiguousSaga(beginning, (*found[:CANDIDATES], *more))
        return found[0]

    async def stats(self) -> Shown:
        """How many sagas there are, by name and status; and the size of the log, if it is on this machine."""
        open_counts = await self._sagas.open_counts()
        ended = await self._sagas.ended_counts()
        sagas: dict[str, Shown] = {}
        for name in sorted(
            {*self._definitions.names, *(each.saga for each in open_counts), *(n for n, _ in ended)}
        ):
            own = [each for each in open_counts if each.saga == name]
            sagas[name] = {
                "in_flight": sum(each.count for each in own if each.status.is_active),
                "stuck": sum(each.count for each in own if each.status is SagaStatus.STUCK),
                "oldest_unfinished_age_s": _age_s(min((each.oldest_ms for each in own), default=None)),
                "versions": self._versions(name, own),
                "ended": {str(status): count for (n, status), count in ended.items() if n == name},
            }
        disk = self._sagas.disk_use()
        return {
            "sagas": sagas,
            **({"log": {"size_bytes": disk.size_bytes, "is_disk_full": disk.is_full}} if disk else {}),
        }

    def _versions(self, name: str, own: Sequence[OpenCount]) -> Shown:
        """For each version that is kept or has open sagas: how many those are, and whether the code can drop it."""
        counts = Counter(dict.fromkeys(self._definitions.versions(name), 0))
        for each in own:
            counts[each.version] += each.count
        newest = max(self._definitions.versions(name), default=0)
        return {
            str(version): {"unfinished": count, "can_go": count == 0 and version < newest}
            for version, count in sorted(counts.items())
        }

    def _summary(self, recorded: RecordedSaga) -> Shown:
        history = fold(recorded.rows)
        saga = self._definitions.of(recorded.accepted)
        # A log at rest may be far from its project: where no definition is known, none is missing.
        missing = self._definitions.missing(recorded.accepted) if self._definitions.names else ""
        waiting_for = missing if history.status.is_active else ""
        return _members(history, waiting_for, explain(saga, history, waiting_for))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a list is narrowed to, beyond what the log is asked for."""

    step: str
    service: str
    act: Act | None
    waiting: str

    @property
    def is_narrow(self) -> bool:
        return bool(self.step or self.service or self.act or self.waiting)


def _waited_for(history: History, saga: Saga | None) -> Collection[str]:
    """The events that a saga waits for."""
    return {step.event for step in view_of(history, saga).steps if step.event}


def _places(history: History, saga: Saga | None) -> Sequence[tuple[str, str]]:
    """Steps that are stuck, called or waited for, and the services of their calls."""
    if history.stuck and saga is not None:
        steps = {step.name: step for step in saga.calls}
        return [
            (key, _service(steps.get(step_name(key)), direction))
            for key, direction in stuck_places(saga, history)
        ]
    going = decide(saga, history) if saga else None
    if isinstance(going, CallNow) and not history.stuck:
        calls = [(call.key, call.action.service) for call in going.calls]
        return [*calls, *((pause.key, "") for pause in going.pauses)]
    explanation = explain(saga, history, "")
    return [(explanation.step, explanation.service)]


def _events(history: History) -> Iterator[Shown]:
    for number, event in enumerate(history.events):
        yield {
            "at": rfc3339(event.at_ms),
            "event": event.event,
            "caller": event.caller,
            "step": history.used.get(number),
        }


def _encoded(what: str, message_type: type[Message], given: object) -> bytes:
    try:
        # As text, since any JSON may be given: Parse says itself what is no message.
        message = json_format.Parse(json.dumps(given), message_type())
    except json_format.ParseError as error:
        raise BadOrder(f"the {what} is no {message_type.DESCRIPTOR.full_name}: {error}") from error
    return message.SerializeToString(deterministic=True)


def _step(step: StepView) -> Shown:
    return {
        "name": step.name,
        "path": list(step.path),
        "status": str(step.status),
        "action": None if step.action is None else str(step.action),
        "attempts": step.attempts,
        "compensation_attempts": step.compensation_attempts,
        "error": step.error or None,
        "event": step.event or None,
        "since": rfc3339_or_none(step.since_ms),
        "until": rfc3339_or_none(step.until_ms),
    }


def _service(step: Step | None, direction: Direction) -> str:
    action = None if step is None else step.action if direction is Direction.ACTION else step.compensation
    return action.service if action else ""


def _offer(offer: Offer) -> Shown:
    outcome = None if offer.outcome is None else offer.outcome.lower()
    return {"act": str(offer.act), "step": offer.step or None, "as": outcome}


def _members(history: History, waiting_for: str, explanation: Explanation) -> Shown:
    accepted = history.accepted
    return {
        "id": accepted.saga_id,
        "saga": accepted.saga,
        "version": accepted.version,
        "status": str(history.status),
        "age_s": _age_s(accepted.at_ms),
        "created_at": rfc3339(accepted.at_ms),
        "updated_at": rfc3339(history.updated_ms),
        "step": explanation.step or None,
        "service": explanation.service or None,
        "under_way": list(explanation.under_way),
        "waiting_for": waiting_for or None,
        "explanation": explanation.text,
        "until": rfc3339_or_none(explanation.until_ms),
        "then": explanation.then or None,
        "error": explanation.error or None,
    }


def _as_unreadable(recorded: RecordedSaga, error: Exception) -> UnreadableSaga:
    accepted = recorded.accepted
    why = f"saga {accepted.saga_id} can't be shown: {type(error).__name__}: {error}"
    return UnreadableSaga(
        saga_id=accepted.saga_id,
        saga=accepted.saga,
        version=accepted.version,
        status="recorded",
        started_ms=accepted.at_ms,
        why=why,
        cursor=recorded.cursor,
    )


def _unreadable(saga: UnreadableSaga) -> Shown:
    """With the members of a saga that can be read."""
    return {
        **dict.fromkeys(("updated_at", "step", "service", "waiting_for", "until", "then")),
        "under_way": [],
        "id": saga.saga_id,
        "saga": saga.saga,
        "version": saga.version,
        "status": UNREADABLE,
        "age_s": _age_s(saga.started_ms),
        "created_at": rfc3339(saga.started_ms),
        "explanation": f"It was {saga.status}. It is left as it is, and all others go on.",
        "error": saga.why,
    }


def _operator(row: OperatorRow) -> Mapping[str, object]:
    return {
        "at": rfc3339(row.at_ms),
        "act": row.did,
        "step": getattr(row, "step", "") or None,
        "by": row.by or None,
        "note": row.note or None,
    }


def _age_s(since_ms: int | None) -> float | None:
    return None if since_ms is None else max(0.0, round(time.time() - since_ms / 1000, 3))
