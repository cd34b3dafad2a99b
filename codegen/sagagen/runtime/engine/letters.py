"""What gateways on one log write to each other: what comes for a saga that another one drives, and the answers.

JSON, since gateways of two releases may share a log. One that does not know a letter's format says so.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.engine.port import Delivered, Delivery, NotDelivered, Refusal
from sagagen.runtime.saga.commands import Act, CommandRejected, OperatorCommand, UnknownSaga
from sagagen.runtime.saga.events import Outcome
from sagagen.runtime.saga.journal import JournalUnavailable

FORMAT = 1
_RETRY_S = 1.0
Sent = Delivery | tuple[str, OperatorCommand]


def delivery_letter(delivery: Delivery) -> bytes:
    return _json({"format": FORMAT, "delivery": _members(delivery)})


def command_letter(saga_id: str, command: OperatorCommand) -> bytes:
    return _json({"format": FORMAT, "saga_id": saga_id, "command": _members(command)})


def read_letter(body: bytes) -> Sent | None:
    """A delivery, or a command and its saga; None: later code wrote it."""
    letter: Any = json.loads(body)
    if letter["format"] != FORMAT:
        return None
    if members := letter.get("delivery"):
        known = _known(Delivery, members)
        known |= {name: _bytes(known[name]) for name in ("fingerprint", "payload")}
        return Delivery(**known)
    known = _known(OperatorCommand, letter["command"])
    known["act"] = Act(known["act"])
    known["outcome"] = Outcome(known["outcome"]) if known["outcome"] else None
    known["response"] = None if known["response"] is None else _bytes(known["response"])
    return letter["saga_id"], OperatorCommand(**known)


def answer(outcome: Delivered | Exception | None) -> bytes:
    """Of a delivery, of a command that was carried out (None), or of what was raised instead."""
    match outcome:
        case None:
            return _json({"done": True})
        case Delivered():
            return _json({"delivered": _members(outcome)})
        case NotDelivered():
            members = {
                "refusal": str(outcome.refusal),
                "said": str(outcome),
                "retry_s": outcome.retry_after_s,
            }
            return _json({"not_delivered": members})
        case CommandRejected():
            return _json({"rejected": str(outcome)})
        case UnknownSaga():
            return _json({"unknown": outcome.saga_id})
        case JournalUnavailable():
            return _json({"unavailable": str(outcome)})
        case _:
            return _json(
                {"unavailable": f"the gateway that drives the saga failed: {type(outcome).__name__}"}
            )


def read_answer(body: bytes) -> Delivered | None:
    """What came of it; raises what the other gateway raised."""
    said: Any = json.loads(body)
    if members := said.get("delivered"):
        known = _known(Delivered, members)
        known["input"] = _bytes(known["input"])
        return Delivered(**known)
    if members := said.get("not_delivered"):
        raise NotDelivered(Refusal(members["refusal"]), members["said"], members["retry_s"])
    if (why := said.get("rejected")) is not None:
        raise CommandRejected(why)
    if saga_id := said.get("unknown"):
        raise UnknownSaga(saga_id)
    if (why := said.get("unavailable")) is not None:
        raise JournalUnavailable(why)
    return None


def unreadable() -> NotDelivered:
    """What is said to a letter of later code."""
    said = "the gateway that drives the saga is of an earlier release: send the same again"
    return NotDelivered(Refusal.NOT_READY, said, _RETRY_S)


def _members(value: Any) -> Mapping[str, object]:
    """A dataclass without what is in it but an audit's entry."""
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    if found.get("audit"):
        found["audit"] = asdict(found["audit"])
    return found


def _known(kind: Any, members: Mapping[str, Any]) -> dict[str, Any]:
    """Members that this release knows."""
    found: dict[str, Any] = {each.name: members[each.name] for each in fields(kind) if each.name in members}
    if entry := found.get("audit"):
        entry["result"] = Result(entry["result"])
        found["audit"] = AuditEntry(**entry)
    return found


def _json(letter: Mapping[str, object]) -> bytes:
    return json.dumps(letter, default=lambda data: base64.b64encode(data).decode()).encode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
