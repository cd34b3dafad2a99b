"""How the workflows of a project are called, and what Restate is told of them."""

from collections.abc import Iterable, Sequence
from typing import Any

from sagagen.runtime.model.definition import Saga, longest_timeout_s

RUN, HEAD, ORDER = "run", "head", "order"
"""The handlers, whatever the contract says: a change of it needs no new registration."""
FOR_EVER = 2_000_000_000
"""Attempts of an invocation."""


def service_name(project: str, saga: str) -> str:
    return f"{project}.{saga}"


def manifest(project: str, sagas: Sequence[Saga]) -> dict[str, Any]:
    """What the endpoint answers to Restate's discovery, in the format of version 4."""
    return {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 7,
        "services": [
            _service(project, name, [saga for saga in sagas if saga.name == name])
            for name in dict.fromkeys(saga.name for saga in sagas)
        ],
    }


def _service(project: str, name: str, versions: Iterable[Saga]) -> dict[str, Any]:
    kept = list(versions)
    inactive_ms = round((max(map(longest_timeout_s, kept)) + 60) * 1000)
    return {
        "name": service_name(project, name),
        "ty": "WORKFLOW",
        "handlers": [
            {
                **_handler(RUN, "WORKFLOW"),
                "workflowCompletionRetention": round(max(saga.retention_s for saga in kept) * 1000),
            },
            _handler(HEAD, "SHARED"),
            _handler(ORDER, "SHARED"),
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
