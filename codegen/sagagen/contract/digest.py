"""The digest by which a running saga recognizes its definition after a deployment (P8).

It covers what the log of a running saga relies on: the steps, their order and kinds, what they call with which request,
and the answer. It does not cover timing (timeouts, backoff, deadline, retention): that may change while sagas run, and
they go on with the new values. See docs/decisions/010-what-a-digest-covers.md.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import Call, Respond, Step

FORMAT = 1
"""Raised when the rules below change, so that an old digest never fits by accident."""


def digest(
    name: str, version: int, trigger: MethodDescriptor, respond: Respond, steps: Sequence[Step]
) -> str:
    """Hex SHA-256."""
    meaning = {
        "format": FORMAT,
        "saga": name,
        "version": version,
        "trigger": trigger.full_name,
        "respond": _respond(respond),
        "steps": [_step(step) for step in steps],
    }
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _respond(respond: Respond) -> dict[str, Any]:
    body = respond.body.canonical() if respond.body is not None else None
    return {"after": respond.after, "status": respond.status, "body": body}


def _step(step: Step) -> dict[str, Any]:
    compensation = _call(step.compensation) if step.compensation is not None else None
    return {
        "name": step.name,
        "kind": step.kind.value,
        "action": _call(step.action),
        "compensation": compensation,
    }


def _call(call: Call) -> dict[str, Any]:
    method = call.method
    return {
        "service": call.service.name,
        "rpc": method.descriptor.full_name,
        "is_read": method.is_read,
        "request": call.request.canonical(),
    }
