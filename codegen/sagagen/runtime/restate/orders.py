"""What reaches a saga through any gateway, and what is said to it: events, cancellations and operators' commands.

Both travel as JSON through promises of the saga's workflow: `order-n` brings the n-th, `ordered-n` answers it.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import asdict
from typing import Any

from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.engine.port import CommandRejected, Delivery, NotDelivered, OperatorCommand, Refusal
from sagagen.runtime.saga.commands import Act
from sagagen.runtime.saga.events import Outcome
from sagagen.runtime.saga.journal import JournalUnreadable

Order = OperatorCommand | Delivery
_BYTES = ("fingerprint", "payload", "response")


def order_to_bytes(order: Order) -> bytes:
    values: dict[str, Any] = {
        name: b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in asdict(order).items()
    }
    kind = "command" if isinstance(order, OperatorCommand) else "delivery"
    return json.dumps({"kind": kind, **values}, separators=(",", ":")).encode()


def order_from_bytes(data: bytes) -> Order:
    """Raises JournalUnreadable."""
    try:
        values: dict[str, Any] = json.loads(data)
        kind = values.pop("kind")
        values |= {name: b64decode(values[name]) for name in _BYTES if values.get(name) is not None}
        if (audit := values.get("audit")) is not None:
            audit["result"] = Result(audit["result"])
            values["audit"] = AuditEntry(**audit)
        if kind == "command":
            values["act"] = Act(values["act"])
            values["outcome"] = Outcome(values["outcome"]) if values["outcome"] else None
            return OperatorCommand(**values)
        if kind == "delivery":
            return Delivery(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise JournalUnreadable(f"an order can't be read: {error}") from error
    raise JournalUnreadable(f'it waits for code that knows orders of the kind "{kind}"')


DONE, REPEATED = b'{"is_new":true}', b'{"is_new":false}'


def refusal_to_bytes(error: Exception) -> bytes:
    match error:
        case NotDelivered():
            said = {
                "refusal": str(error.refusal),
                "message": str(error),
                "retry_after_s": error.retry_after_s,
            }
        case CommandRejected():
            said = {"rejected": str(error)}
        case _:
            said = {"again": str(error)}
    return json.dumps(said, separators=(",", ":")).encode()


def is_new_of(reply: bytes) -> bool:
    """What was said to an order. Raises what refused it: NotDelivered, CommandRejected."""
    said: dict[str, Any] = json.loads(reply)
    if "is_new" in said:
        return bool(said["is_new"])
    if "rejected" in said:
        raise CommandRejected(said["rejected"])
    if "refusal" in said:
        raise NotDelivered(Refusal(said["refusal"]), said["message"], said["retry_after_s"])
    raise NotDelivered(Refusal.NOT_READY, said["again"], 1.0)
