"""From a request to a saga's first row, and to what its caller learns of the saga."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from sagagen.runtime.engine.port import Acceptance, NotAcceptable, Started
from sagagen.runtime.engine.requests import CannotBuild, built, ends_ms
from sagagen.runtime.model.definition import Start, Step
from sagagen.runtime.rpc.caller_claims import claims_of
from sagagen.runtime.rpc.claim import CLAIM
from sagagen.runtime.rpc.errors import ExpressionError
from sagagen.runtime.saga.claim import needs_claim
from sagagen.runtime.saga.events import Accepted, NextRequest
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.logged import SagaHead
from sagagen.runtime.scope import Scope

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def accepted_row(acceptance: Acceptance, at_ms: int, run: str, *, is_contested: bool = False) -> Accepted:
    """The saga's first row: all that its later ones build on, with what its first step is sent.

    `is_contested` says that another gateway may have a run of it. Raises NotAcceptable if it would start too late.
    """
    saga, trace = acceptance.saga, acceptance.trace
    starts_ms = _starts_ms(acceptance, saga.start, at_ms) if saga.start else None
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
        next=_first(acceptance, at_ms, starts_ms, is_contested=is_contested),
        starts_ms=starts_ms,
        claims=acceptance.claims,
    )


def index_of(acceptance: Acceptance, started_ms: int) -> Sequence[tuple[str, str | int]]:
    """The values by which the saga can be found. One that can't be worked out is left out: the saga is not lost."""
    scope = _opening(acceptance, started_ms)
    found: list[tuple[str, str | int]] = []
    for each in acceptance.saga.index:
        try:
            value = each.value(scope)
            found.append((each.name, value if isinstance(value, str) else int(value)))
        except Exception:
            _logger.exception("a value of the index could not be worked out", saga_id=acceptance.saga_id)
    return found


def subject_of(acceptance: Acceptance, started_ms: int) -> str:
    """The person whose data the saga holds; empty if the contract names none, or the request has none.

    Raises NotAcceptable where it can't be worked out: data that nobody could have erased are not taken on.
    """
    if acceptance.saga.subject is None:
        return ""
    try:
        return acceptance.saga.subject(_opening(acceptance, started_ms))
    except (ExpressionError, TypeError, ValueError, OverflowError) as error:
        raise NotAcceptable(f"whose data the request holds can't be worked out: {error}") from error


def _starts_ms(acceptance: Acceptance, start: Start, at_ms: int) -> int | None:
    """When its first step may begin; None: at once."""
    try:
        starts_ms = ends_ms(start, _opening(acceptance, at_ms), at_ms)
    except CannotBuild as error:
        raise NotAcceptable(f"when the saga starts can't be worked out: {error}") from error
    if starts_ms > at_ms + start.at_most_s * 1000:
        raise NotAcceptable(f"the saga would start later than {start.at_most_s:g} s from now")
    return starts_ms if starts_ms > at_ms else None


def _opening(acceptance: Acceptance, started_ms: int) -> Scope[Any]:
    """What can be read of a saga that has no response yet."""
    return Scope(
        acceptance.saga_id,
        acceptance.saga.trigger.request,
        acceptance.input,
        {},
        caller=acceptance.caller,
        claims=claims_of(acceptance.claims),
        started_ms=started_ms,
    )


def _first(acceptance: Acceptance, at_ms: int, starts_ms: int | None, *, is_contested: bool) -> NextRequest:
    """What the first call is sent, if one is made at once in any case; all else is planned by a row of its own."""
    saga, first = acceptance.saga, acceptance.saga.steps[0]
    if is_contested and needs_claim(saga):
        return NextRequest(acceptance.fingerprint, step=CLAIM)
    if starts_ms is not None or not isinstance(first, Step) or first.when or first.for_each:
        return NextRequest()
    request = built(first, _opening(acceptance, at_ms))
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
