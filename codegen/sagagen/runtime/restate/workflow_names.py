"""How the workflows of a project are called, and what Restate is told of them."""

from collections.abc import Iterable, Sequence
from typing import Any

from sagagen.runtime.audit.trail import STRANGERS_S
from sagagen.runtime.model.definition import Saga, longest_timeout_s

RUN, HEAD, ORDER = "run", "head", "order"
"""The handlers, whatever the contract says: a change of it needs no new registration."""
LOOK, CLOSE = "look", "close"
"""Further handlers of an order that waits for a second person."""
_KNOWN_S = 24 * 3600
"""How long, in seconds, it is known of such an order that it waits no more."""
FOR_EVER = 2_000_000_000
"""Attempts of an invocation."""


def service_name(project: str, saga: str) -> str:
    return f"{project}.{saga}"


def audit_service(project: str, *, is_stranger: bool) -> str:
    """No saga's name has a point in it. What strangers are refused is kept for a shorter time."""
    return f"{project}.operators.{'strangers' if is_stranger else 'audit'}"


def orders_service(project: str) -> str:
    return f"{project}.operators.orders"


def manifest(project: str, sagas: Sequence[Saga], audit_s: float) -> dict[str, Any]:
    """What the endpoint answers to Restate's discovery, in the format of version 4."""
    return {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 7,
        "services": [
            _service(project, name, [saga for saga in sagas if saga.name == name])
            for name in dict.fromkeys(saga.name for saga in sagas)
        ]
        + [
            _workflow(audit_service(project, is_stranger=False), audit_s),
            _workflow(audit_service(project, is_stranger=True), min(audit_s, STRANGERS_S)),
            _workflow(orders_service(project), _KNOWN_S, LOOK, CLOSE),
        ],
    }


def _service(project: str, name: str, versions: Iterable[Saga]) -> dict[str, Any]:
    kept = list(versions)
    inactive_ms = round((max(map(longest_timeout_s, kept)) + 60) * 1000)
    retention_s = max(saga.retention_s for saga in kept)
    return _workflow(service_name(project, name), retention_s, HEAD, ORDER, inactive_ms=inactive_ms)


def _workflow(name: str, retention_s: float, *shared: str, inactive_ms: int = 60_000) -> dict[str, Any]:
    return {
        "name": name,
        "ty": "WORKFLOW",
        "handlers": [
            {**_handler(RUN, "WORKFLOW"), "workflowCompletionRetention": round(retention_s * 1000)},
            *(_handler(each, "SHARED") for each in shared),
        ],
        "inactivityTimeout": inactive_ms,
        "abortTimeout": inactive_ms + 600_000,
        "journalRetention": 0,
        "retryPolicyInitialInterval": 100,
        "retryPolicyMaxInterval": 10_000,
        "retryPolicyExponentiationFactor": 2.0,
        "retryPolicyMaxAttempts": FOR_EVER,
        "retryPolicyOnMaxAttempts": "PAUSE",
    }


def _handler(name: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "ty": kind,
        "input": {"required": False, "contentType": "*/*"},
        "output": {"setContentTypeIfEmpty": False, "contentType": "application/octet-stream"},
    }
