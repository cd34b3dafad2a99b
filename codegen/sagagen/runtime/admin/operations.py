"""What operators see and do. It is the same for a running engine and a log at rest. Payloads are never shown."""

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from google.protobuf import json_format
from google.protobuf.message import Message

from sagagen.runtime.clock import rfc3339, rfc3339_or_none
from sagagen.runtime.engine.port import RecordedSaga, SagaControl
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.saga.commands import (
    Act,
    AmbiguousSaga,
    CommandRejected,
    Offer,
    OperatorCommand,
    UnknownSaga,
)
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import OperatorRow, SagaStatus
from sagagen.runtime.saga.explain import Explanation, explain
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.saga.search import OpenCount, SagaQuery, UnreadableSaga
from sagagen.runtime.saga.view import StepView, view_of

UNREADABLE = "UNREADABLE"
"""Shown instead of a status."""
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


class BadOrder(ValueError):
    """An order that can't be understood; the message says what would do."""


class SagaOperations:
    """Lists, shows and commands sagas."""

    def __init__(self, sagas: SagaControl, schema: Callable[[], Schema] | None = None) -> None:
        """`schema` has the contract's messages, for responses that operators give; None: they can't give any."""
        self._sagas = sagas
        self._definitions = sagas.definitions
        self._schema = schema

    @property
    def definitions(self) -> Definitions:
        """All versions of all sagas that the code keeps."""
        return self._definitions

    async def list(
        self, query: SagaQuery, *, step: str = "", service: str = "", act: Act | None = None
    ) -> list[Shown]:
        """Sagas that match, newest first; `step` and `service` are those of its current call, or the stuck one.

        `act`: only those that would carry it out now. One that can't be read is listed as that.
        """
        found: list[Shown] = []
        while len(found) < query.limit and (page := await self._sagas.search(query)):
            for recorded in page:
                if isinstance(recorded, UnreadableSaga):
                    shown, acts = _unreadable(recorded), set[Act]()
                else:
                    shown, acts = self._listed(recorded, act)
                is_there = step in ("", shown["step"]) and service in ("", shown["service"])
                if is_there and (act is None or act in acts):
                    found.append(shown)
            query = replace(query, before=page[-1].cursor)
        return found[: query.limit]

    def _listed(self, recorded: RecordedSaga, act: Act | None) -> tuple[Shown, Collection[Act]]:
        """A saga in a list, and the commands that it would take (if `act` asks for one)."""
        try:
            acts = {offer.act for offer in self._sagas.offers(recorded)} if act else set[Act]()
            return self._summary(recorded), acts
        except Exception as error:
            # A mistake of ours, or rows that fit together in no way: one saga must not hide the others.
            _logger.exception("a saga can't be shown", saga_id=recorded.accepted.saga_id)
            return _unreadable(_as_unreadable(recorded, error)), ()

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
        }

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
        found = next((each for each in saga.calls if each.name == step), None)
        if found is None:
            raise CommandRejected(f"the saga has no step {step}")
        return _encoded(self._schema().message_type(found.action.method.response_name), given)

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


def _encoded(message_type: type[Message], given: object) -> bytes:
    try:
        # As text, since any JSON may be given: Parse says itself what is no message.
        message = json_format.Parse(json.dumps(given), message_type())
    except json_format.ParseError as error:
        raise BadOrder(f"the response is no {message_type.DESCRIPTOR.full_name}: {error}") from error
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
