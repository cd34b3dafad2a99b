"""The digest by which a running saga recognizes its definition after a deployment (P8).

It covers what the log of a running saga relies on: the steps, their order and kinds, what they call with which request,
and the answer. It does not cover pace (timeouts, backoff, deadline, retention; how long a wait or a delay lasts; how
many items are under way at once; when a saga starts), nor who may send an event: that may change while sagas run, and
they go on with the new values, as far as the old ones are not logged. Nor does it cover names that nothing reads: of
branches, and of loops' variables. See docs/decisions/010-what-a-digest-covers.md and 188.

What the language did not have at first has a key only where it is used, so that older contracts keep their digests.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import Branch, Call, Delay, Element, Event, ForEach, Parallel, Respond, Step, Wait

FORMAT = 1
"""Raised when the rules below change, so that an old digest never fits by accident."""


def digest(
    name: str,
    version: int,
    trigger: MethodDescriptor,
    respond: Respond,
    steps: Sequence[Element],
    events: Sequence[Event] = (),
) -> str:
    """Hex SHA-256."""
    meaning = {
        "format": FORMAT,
        "saga": name,
        "version": version,
        "trigger": trigger.full_name,
        "respond": _respond(respond),
        "steps": [_element(step) for step in steps],
    }
    if events:
        meaning["events"] = {event.name: event.rpc.full_name for event in events}
    return hashlib.sha256(_text(meaning).encode("ascii")).hexdigest()


def _respond(respond: Respond) -> dict[str, Any]:
    body = respond.body.canonical() if respond.body is not None else None
    return {"after": respond.after, "status": respond.status, "body": body}


def _element(element: Element) -> dict[str, Any]:
    said: dict[str, Any] = {"name": element.name, "kind": element.kind.value}
    match element:
        case Step():
            said |= _step(element)
        case Wait():
            said |= _wait(element)
        case Delay():
            said["delay"] = _delay(element)
        case Parallel():
            said["parallel"] = sorted(map(_branch, element.branches), key=_text)
    if element.when is not None:
        said["when"] = element.when.canonical()
    return said


def _branch(branch: Branch) -> Sequence[Mapping[str, Any]]:
    """Nothing reads its name, and branches begin together."""
    return [_element(element) for element in branch.steps]


def _text(meaning: object) -> str:
    return json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _step(step: Step) -> dict[str, Any]:
    said: dict[str, Any] = {
        "action": _call(step.action),
        "compensation": _call(step.compensation) if step.compensation is not None else None,
    }
    if step.for_each is not None:
        said["for_each"] = _for_each(step.for_each)
    if step.gives_up:
        said["on_give_up"] = "continue"
    return said


def _for_each(loop: ForEach) -> Mapping[str, Any]:
    key = loop.key.canonical() if loop.key is not None else None
    return {"in": loop.items.canonical(), "key": key}


def _wait(wait: Wait) -> Mapping[str, Any]:
    decline = wait.decline
    said = None if decline is None else {"when": decline.when.canonical(), "reason": decline.reason}
    return {"wait": wait.event, "decline": said, "on_timeout": wait.on_timeout}


def _delay(delay: Delay) -> Mapping[str, Any]:
    """Which expression says how long; a fixed time is pace."""
    after = delay.after.canonical() if delay.after is not None else None
    return {"after": after, "at": delay.at.canonical() if delay.at is not None else None}


def _call(call: Call) -> dict[str, Any]:
    method = call.method
    return {
        "service": call.service.name,
        "rpc": method.descriptor.full_name,
        "is_read": method.is_read,
        "request": call.request.canonical(),
    }
