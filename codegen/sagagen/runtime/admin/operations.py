"""What operators see and do. It is the same for a running engine and a log at rest. Payloads are never shown."""

import difflib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

import structlog
from google.protobuf import json_format
from google.protobuf.message import Message

from sagagen.runtime.admin.history_shown import history_shown
from sagagen.runtime.admin.parsing import (
    ALL,
    BadOrder,
    EventOrder,
    Narrowed,
    Order,
    narrowed_of,
    query_of,
)
from sagagen.runtime.admin.redaction import redacted
from sagagen.runtime.admin.shown import (
    Shown,
    age_s,
    as_unreadable,
    events_shown,
    leaving_shown,
    offer_shown,
    operator_shown,
    saga_shown,
    step_shown,
    unreadable_shown,
)
from sagagen.runtime.audit.entry import AuditEntry
from sagagen.runtime.clock import rfc3339_or_none
from sagagen.runtime.engine.port import (
    Delivered,
    Delivery,
    Leaving,
    NotDelivered,
    RecordedSaga,
    SagaControl,
)
from sagagen.runtime.identity import fingerprint_of
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Direction, Event, Saga, Step
from sagagen.runtime.rpc.caller_claims import claims_of
from sagagen.runtime.saga.commands import (
    AmbiguousSaga,
    CommandRejected,
    UnknownSaga,
    row_for,
    stuck_places,
)
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import CallNow
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import LogEvent, OperatorRow, SagaStatus
from sagagen.runtime.saga.explain import explain
from sagagen.runtime.saga.figures import SagaFigures, trouble_of
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.saga.index_values import index_values
from sagagen.runtime.saga.search import OpenCount, SagaQuery, UnreadableSaga
from sagagen.runtime.saga.view import view_of
from sagagen.runtime.saga.where import names_in
from sagagen.runtime.scope import step_name

AT_REST = (
    "no engine runs on this log, and it is a running engine that takes an event: start the gateway, and send it there "
    "(without --log)"
)
LOOKED_AT = 500
"""Sagas that one page is made from, at most: whoever asks for what is rare gets a page in time all the same."""
CANDIDATES = 10
"""How many ids are named where a beginning fits several."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


Deliver = Callable[[Delivery], Awaitable[Delivered]]


class SagaOperations:
    """Lists, shows and commands sagas."""

    def __init__(
        self,
        sagas: SagaControl,
        schema: Callable[[], Schema] | None = None,
        deliver: Deliver | None = None,
        leaving: Callable[[], Awaitable[Leaving]] | None = None,
    ) -> None:
        """`schema` has the contract's messages, for what operators give as JSON; None: they can't give any.

        `deliver` is that of an engine that runs: a log at rest has none. `leaving` tells what remains in the engine
        that the project leaves; None: it leaves none.
        """
        self._sagas = sagas
        self._deliver = deliver
        self._leaving = leaving
        self._definitions = sagas.definitions
        self._schema = schema

    @property
    def definitions(self) -> Definitions:
        """All versions of all sagas that the code keeps."""
        return self._definitions

    @property
    def figures(self) -> SagaFigures:
        """What is known of many sagas at once."""
        return self._sagas.figures

    async def listed_by(self, asked: Mapping[str, str]) -> list[Shown]:
        """As `list`, by what a request asks for: as `query_of` and `narrowed_of` read it. Raises BadOrder."""
        return await self.list(query_of(asked), narrowed_of(asked))

    async def list(self, query: SagaQuery, narrowed: Narrowed = ALL) -> list[Shown]:
        """Sagas that match, newest first. One that can't be read is listed as that."""
        query = self._checked(query, narrowed)
        found: list[Shown] = []
        while len(found) < query.limit and (page := await self._sagas.search(query)):
            for recorded in page:
                shown = self._listed(recorded, narrowed)
                if shown is not None:
                    found.append(shown)
            query = replace(query, before=page[-1].cursor)
        return found[: query.limit]

    async def page(self, asked: Mapping[str, str]) -> Shown:
        """As `listed_by`, a page at a time: `before` is the `next` of the page before, which is null after the last.

        It looks at LOOKED_AT sagas at most, so that a page may have few of them, or none, though there are more. Each
        saga has its `index`: the values by which it can be found; and `commands`, as `show` has them. Raises BadOrder.
        """
        narrowed = narrowed_of(asked)
        query = self._checked(replace(query_of(asked), before=asked.get("before", "")), narrowed)
        found: list[Shown] = []
        looked_at = 0
        while looked_at < LOOKED_AT:
            page = await self._searched(query)
            for recorded in page:
                looked_at += 1
                query = replace(query, before=recorded.cursor)
                shown = self._listed(recorded, narrowed)
                if shown is None:
                    continue
                found.append({**shown, "index": self._index_of(recorded), "commands": self._offers(recorded)})
                if len(found) == query.limit:
                    return {"sagas": found, "next": query.before}
            if not page:
                return {"sagas": found, "next": None}
        return {"sagas": found, "next": query.before}

    async def _searched(self, query: SagaQuery) -> Sequence[RecordedSaga | UnreadableSaga]:
        try:
            return await self._sagas.search(query)
        except ValueError as error:
            raise BadOrder(f"before={query.before} is no page: it is the `next` of another one") from error

    def _offers(self, recorded: RecordedSaga | UnreadableSaga) -> Sequence[Shown]:
        if isinstance(recorded, UnreadableSaga):
            return ()
        return [offer_shown(offer) for offer in self._sagas.offers(recorded)]

    def _index_of(self, recorded: RecordedSaga | UnreadableSaga) -> Mapping[str, str | int]:
        if isinstance(recorded, UnreadableSaga) or recorded.hidden:
            return {}
        return index_values(self._definitions.of(recorded.accepted), recorded.accepted)

    def _checked(self, query: SagaQuery, narrowed: Narrowed) -> SagaQuery:
        self._check_indexed(query)
        self._check_event(narrowed.waiting)
        if narrowed.waiting and self._definitions.names:
            return replace(query, waiting_at=tuple(self._definitions.waits_for(narrowed.waiting)))
        return query

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

    def _listed(self, recorded: RecordedSaga | UnreadableSaga, asked: Narrowed) -> Shown | None:
        """A saga in a list; None if it does not belong there."""
        if isinstance(recorded, UnreadableSaga):
            return None if asked.is_narrow else unreadable_shown(recorded)
        try:
            if not self._is_asked_for(recorded, asked):
                return None
            shown = self._summary(recorded)
            return shown if asked.text.lower() in (shown["error"] or "").lower() else None
        except Exception as error:
            # A mistake of ours, or rows that fit together in no way: one saga must not hide the others.
            _logger.exception("a saga can't be shown", saga_id=recorded.accepted.saga_id)
            return None if asked.is_narrow else unreadable_shown(as_unreadable(recorded, error))

    def _is_asked_for(self, recorded: RecordedSaga, asked: Narrowed) -> bool:
        if not asked.is_narrow:
            return True
        if asked.act and all(offer.act is not asked.act for offer in self._sagas.offers(recorded)):
            return False
        history, saga = fold(recorded.rows), self._definitions.of(recorded.accepted)
        if asked.waiting and asked.waiting not in _waited_for(history, saga):
            return False
        if not _is_in_trouble(recorded.rows, history, asked):
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
        return self.shown(await self.find(saga_id))

    async def find(self, saga_id: str) -> RecordedSaga:
        """As `show`."""
        recorded = await self._sagas.find(await self._whole(saga_id))
        if recorded is None:
            raise UnknownSaga(saga_id)
        return recorded

    def shown(self, recorded: RecordedSaga) -> Shown:
        """As `show`, of a saga that was found."""
        history = fold(recorded.rows)
        view = view_of(history, self._definitions.of(recorded.accepted))
        return {
            **self._summary(recorded),
            "caller": view.caller,
            "claims": sorted(claims_of(recorded.accepted.claims)),
            "trace_id": view.trace_id,
            "starts_at": rfc3339_or_none(view.starts_ms),
            "hidden": recorded.hidden or None,
            "incomplete": list(view.incomplete),
            "unconsumed": list(view.unconsumed),
            "steps": [step_shown(step) for step in view.steps],
            "commands": [offer_shown(offer) for offer in self._sagas.offers(recorded)],
            "operators": [operator_shown(row) for row in recorded.rows if isinstance(row, OperatorRow)],
            "events": list(events_shown(history)),
        }

    async def history(self, saga_id: str) -> Shown:
        """What happened to a saga, row by row, without payloads. `saga_id`, and what is raised, are as in `show`."""
        recorded = await self.find(saga_id)
        return {"id": recorded.accepted.saga_id, "rows": list(history_shown(recorded.rows))}

    async def send(self, saga_id: str, order: EventOrder, audit: AuditEntry | None = None) -> Shown:
        """Bring an event to a saga that an engine runs, and show the saga. `saga_id` is as in `show`.

        `allow` is not asked. `audit` is kept with it. Raises UnknownSaga, AmbiguousSaga, BadOrder, CommandRejected or
        JournalUnavailable.
        """
        recorded = await self.find(saga_id)
        whole = recorded.accepted.saga_id
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
            audit=audit,
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

    async def command(self, saga_id: str, order: Order, audit: AuditEntry | None = None) -> Shown:
        """Carry it out, durably, and show the saga. `saga_id` is as in `show`; `audit` is kept with it, in one commit.

        Raises UnknownSaga, AmbiguousSaga, BadOrder, CommandRejected or JournalUnavailable.
        """
        recorded = await self.find(saga_id)
        whole = recorded.accepted.saga_id
        response = None if order.response is None else self._response(recorded, order)
        await self._sagas.command(whole, replace(order.command, response=response, audit=audit))
        return await self.show(whole)

    def changes(self, recorded: RecordedSaga, order: Order) -> bool:
        """Whether the command would do something, as the saga is recorded: it may have been done before.

        Raises BadOrder or CommandRejected.
        """
        response = None if order.response is None else self._response(recorded, order)
        saga = self._definitions.of(recorded.accepted)
        command = replace(order.command, response=response)
        return row_for(command, saga, fold(recorded.rows), 0) is not None

    def _response(self, recorded: RecordedSaga, order: Order) -> bytes:
        """A step's response, encoded. Raises CommandRejected, or BadOrder for JSON that does not fit."""
        return _encoded("response", self._response_type(recorded, order.command.step), order.response)

    def _response_type(self, recorded: RecordedSaga, step: str) -> type[Message]:
        saga = self._definitions.of(recorded.accepted)
        if saga is None or self._schema is None:
            raise CommandRejected("this code lacks the saga's definition, so it can't read a response")
        found = next((each for each in saga.calls if each.name == step_name(step)), None)
        if found is None:
            raise CommandRejected(f"the saga has no step {step}")
        return self._schema().message_type(found.action.method.response_name)

    def response_shown(self, recorded: RecordedSaga, order: Order) -> object:
        """The response that an order gives, as JSON, without what the contract redacts. Raises as `changes`."""
        message_type = self._response_type(recorded, order.command.step)
        return redacted(message_type.FromString(self._response(recorded, order)))

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
        """How many sagas there are, by name and status; the size of the log, if it is on this machine; what is left."""
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
                "oldest_unfinished_age_s": age_s(min((each.oldest_ms for each in own), default=None)),
                "versions": self._versions(name, own),
                "ended": {str(status): count for (n, status), count in ended.items() if n == name},
            }
        disk = self._sagas.disk_use()
        leaving = await self._leaving() if self._leaving else None
        return {
            "sagas": sagas,
            **({"leaving": leaving_shown(leaving)} if leaving else {}),
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
        waiting_for = (missing or recorded.waiting_for) if history.status.is_active else ""
        return saga_shown(history, waiting_for, explain(saga, history, waiting_for))


def _is_in_trouble(rows: Sequence[LogEvent], history: History, asked: Narrowed) -> bool:
    """In that which is asked for, if any is."""
    if not (asked.error or asked.failed_step):
        return True
    trouble = trouble_of(rows, history.status)
    return (
        trouble is not None and asked.error in ("", trouble.error) and asked.failed_step in ("", trouble.step)
    )


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


def _encoded(what: str, message_type: type[Message], given: object) -> bytes:
    try:
        # As text, since any JSON may be given: Parse says itself what is no message.
        message = json_format.Parse(json.dumps(given), message_type())
    except json_format.ParseError as error:
        raise BadOrder(f"the {what} is no {message_type.DESCRIPTOR.full_name}: {error}") from error
    return message.SerializeToString(deterministic=True)


def _service(step: Step | None, direction: Direction) -> str:
    action = None if step is None else step.action if direction is Direction.ACTION else step.compensation
    return action.service if action else ""
