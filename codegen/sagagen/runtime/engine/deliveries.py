"""Whether a saga takes what comes from outside, and the row that keeps it.

Pure, and asked of all that the saga has, whether on disk or not: so of two things that come at once, the first is taken
and the second sees it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sagagen.runtime.engine.port import CANCEL, Delivery, NotDelivered, Refusal
from sagagen.runtime.model.definition import Cancel, Element, Event, Parallel, Saga, Wait
from sagagen.runtime.rpc.caller_claims import claims_of
from sagagen.runtime.saga.claim import claim_service, has_written
from sagagen.runtime.saga.commands import point_of_no_return
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import End
from sagagen.runtime.saga.events import Cancelled, EventTaken, SagaStatus
from sagagen.runtime.saga.history import History
from sagagen.runtime.scope import EventScope

RETRY_AFTER_S = 1.0
"""Seconds after which the same may be sent again."""


def row_of(
    delivery: Delivery, saga: Saga, history: History, now_ms: int, *, is_alone: bool
) -> EventTaken | Cancelled | None:
    """The row that keeps it; None if it was kept before. Raises NotDelivered.

    `is_alone` says that no other gateway can have a run of the saga.
    """
    if delivery.saga != saga.name:
        raise NotDelivered(Refusal.UNKNOWN_SAGA, f"there is no saga {delivery.saga_id}", RETRY_AFTER_S)
    if _is_repeated(delivery, history):
        return None
    if history.ended and history.ended.status is SagaStatus.SUPERSEDED:
        raise NotDelivered(Refusal.SAGA_ELSEWHERE, "another gateway's run owns the saga", RETRY_AFTER_S)
    if not (is_alone or claim_service(saga) is None or has_written(saga, history)):
        # Whatever this run is told, another one may go on: also where an operator has cancelled it.
        raise NotDelivered(Refusal.NOT_READY, "the saga has not made itself known yet", RETRY_AFTER_S)
    _check_allowed(delivery, saga, history)
    if delivery.event == CANCEL and history.cancelled:
        return None  # a second request asks for what is done, under whatever key
    _check_expected(delivery, saga, history)
    return _kept(delivery, saga, now_ms)


def was_kept_or_over(delivery: Delivery, saga: Saga | None, history: History) -> None:
    """For a saga that is over: the delivery was kept before. Raises NotDelivered if it was not.

    `saga` is None where its definition is missing.
    """
    if _is_repeated(delivery, history):
        return
    if history.status is SagaStatus.SUPERSEDED:
        raise NotDelivered(Refusal.SAGA_ELSEWHERE, "another gateway's run owns the saga", RETRY_AFTER_S)
    if saga:
        _check_allowed(delivery, saga, history)
        if delivery.event == CANCEL and history.cancelled:
            return
    raise NotDelivered(Refusal.SAGA_OVER, f"the saga is over ({history.status})")


def _kept(delivery: Delivery, saga: Saga, now_ms: int) -> EventTaken | Cancelled:
    request: dict[str, Any] = {
        "caller": delivery.caller,
        "key": delivery.key,
        "fingerprint": delivery.fingerprint,
        "claims": delivery.claims,
        "audit": delivery.audit,
    }
    if delivery.event == CANCEL:
        assert saga.cancel, "its route leads here"
        return Cancelled(at_ms=now_ms, reason=saga.cancel.reason, **request)
    return EventTaken(at_ms=now_ms, event=delivery.event, payload=delivery.payload, **request)


def _is_repeated(delivery: Delivery, history: History) -> bool:
    """Looked up first: a repeat of a request gets its answer also after the end."""
    row = history.cancelled
    cancelled = (row,) if row is not None and row.reason else ()
    kept = cancelled if delivery.event == CANCEL else history.events
    for each in kept:
        is_same = isinstance(each, Cancelled) or each.event == delivery.event
        if is_same and (each.caller, each.key) == (delivery.caller, delivery.key):
            if each.fingerprint != delivery.fingerprint:
                raise NotDelivered(Refusal.KEY_REUSED, "the key was used with another payload")
            return True
    return False


def _check_allowed(delivery: Delivery, saga: Saga, history: History) -> None:
    # Checked before anything else is said of the saga: a stranger learns only that it exists.
    if not delivery.is_operator and not _is_allowed(delivery, saga, history):
        raise NotDelivered(Refusal.NOT_ALLOWED, "the caller may not do that")


def _is_allowed(delivery: Delivery, saga: Saga, history: History) -> bool:
    target = _target(delivery, saga)
    if target is None:
        return True
    if target.allow is None:
        return isinstance(target, Event) or delivery.caller == history.accepted.caller
    accepted = history.accepted
    scope: EventScope[Any, Any] = EventScope(
        target.method.request,
        delivery.payload,
        caller=delivery.caller,
        claims=claims_of(delivery.claims),
        saga_id=accepted.saga_id,
        started_ms=accepted.started_ms,
        input_type=saga.trigger.request,
        input=accepted.input,
    )
    return bool(target.allow(scope))


def _target(delivery: Delivery, saga: Saga) -> Event | Cancel | None:
    if delivery.event == CANCEL:
        return saga.cancel
    return next((event for event in saga.events if event.name == delivery.event), None)


def _check_expected(delivery: Delivery, saga: Saga, history: History) -> None:
    if history.ended or history.turned_back or history.cancelled:
        raise NotDelivered(Refusal.SAGA_OVER, f"the saga is over, or turns back ({history.status})")
    if _target(delivery, saga) is None:
        raise NotDelivered(Refusal.NOT_EXPECTED, "the saga's version knows nothing of it")
    if delivery.event == CANCEL:
        if past := point_of_no_return(saga, history):
            raise NotDelivered(Refusal.TOO_LATE, f"from step {past} on the saga only goes forward")
        # The last outcome and the saga's end are two rows, and a request may come between them.
        if decide(saga, history) == End(SagaStatus.COMPLETED):
            raise NotDelivered(Refusal.TOO_LATE, "all steps of the saga are done")
        return
    expected = sum(wait.event == delivery.event for wait in waits_to_come(saga.steps, history))
    kept = sum(event.event == delivery.event for event in history.unconsumed)
    if kept >= expected:
        raise NotDelivered(Refusal.NOT_EXPECTED, "no wait for it can still come, or each has its event")


def waits_to_come(elements: Sequence[Element], history: History) -> Iterator[Wait]:
    """Waits that are under way, or may come: those in a block that is skipped can't."""
    for element in elements:
        if history.is_over(element.name):
            continue
        if isinstance(element, Wait):
            yield element
        elif isinstance(element, Parallel):
            for branch in element.branches:
                yield from waits_to_come(branch.steps, history)
