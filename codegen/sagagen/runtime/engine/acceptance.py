"""From a request to a saga's first row, and to what its caller learns of the saga."""

from dataclasses import replace
from typing import Any

from sagagen.runtime.engine.port import Acceptance, Started
from sagagen.runtime.engine.requests import built
from sagagen.runtime.log.store import SagaHead
from sagagen.runtime.model.definition import Saga, Step
from sagagen.runtime.saga.events import Accepted, NextRequest
from sagagen.runtime.saga.history import History
from sagagen.runtime.scope import Scope


def accepted_row(acceptance: Acceptance, at_ms: int, run: str) -> Accepted:
    """The saga's first row: all that its later ones build on, with what its first step is sent."""
    saga, trace = acceptance.saga, acceptance.trace
    scope = Scope(
        acceptance.saga_id,
        saga.trigger.request,
        acceptance.input,
        {},
        caller=acceptance.caller,
        started_ms=at_ms,
    )
    return Accepted(
        at_ms=at_ms,
        span_id=trace.span_id,
        saga_id=acceptance.saga_id,
        saga=saga.name,
        version=saga.version,
        digest=saga.digest,
        run=run,
        caller=acceptance.caller,
        key=acceptance.key,
        fingerprint=acceptance.fingerprint,
        input=acceptance.input,
        trace=trace,
        next=_first(saga, scope),
    )


def _first(saga: Saga, scope: Scope[Any]) -> NextRequest:
    """What the first step is sent, if that is a call that is always made; all else is planned by a row of its own."""
    first = saga.steps[0]
    if not isinstance(first, Step) or first.when or first.for_each:
        return NextRequest()
    request = built(first, scope)
    return request if saga.is_line else replace(request, step=first.name)


def started_of(found: History | SagaHead, *, is_new: bool) -> Started:
    """What a caller learns of a saga: from its history while it runs here, from its head otherwise."""
    if isinstance(found, SagaHead):
        return Started(
            saga_id=found.saga_id,
            is_new=False,
            caller=found.caller,
            fingerprint=found.fingerprint,
            result=found.result,
            trace_id=found.trace_id,
            started_ms=found.started_ms,
            status=found.status,
        )
    accepted = found.accepted
    return Started(
        saga_id=accepted.saga_id,
        is_new=is_new,
        caller=accepted.caller,
        fingerprint=accepted.fingerprint,
        result=found.result,
        trace_id=accepted.trace.trace_id,
        started_ms=accepted.at_ms,
        status=found.status,
    )
