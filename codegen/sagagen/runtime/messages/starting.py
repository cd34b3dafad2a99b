"""A request that starts a saga, and starts it now: what is tried at once has to show something at once."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor

from sagagen.runtime.messages.example import example
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Saga, Start
from sagagen.runtime.scope import Scope

_TIMESTAMP = "google.protobuf.Timestamp"


def starting_example(schema: Schema, saga: Saga, now_ms: int) -> dict[str, Any] | None:
    """A valid ProtoJSON object of the trigger's request; None if none was found.

    Without the times by which it would start later than `now_ms` (milliseconds since the epoch), as far as it may do
    without them.
    """
    message = schema.descriptor(saga.trigger.request_name)
    made = example(schema, message)
    start = saga.start
    if made is None or start is None:
        return made
    for field in message.fields:
        if not _starts_later(schema, saga, start, made, now_ms):
            break
        if field.message_type and field.message_type.full_name == _TIMESTAMP and field.name in made:
            shorter = {name: value for name, value in made.items() if name != field.name}
            made = shorter if _is_valid(schema, message, shorter) else made
    return made


def _starts_later(schema: Schema, saga: Saga, start: Start, made: dict[str, Any], now_ms: int) -> bool:
    if start.at is None:
        return False
    message = schema.descriptor(saga.trigger.request_name)
    data = _filled(schema, message, made).SerializeToString()
    try:
        return start.at(Scope("", saga.trigger.request, data, {})) > now_ms
    except Exception:  # noqa: BLE001 - an expression of the contract, over what is made up: then it says nothing
        return False


def _is_valid(schema: Schema, message: Descriptor, made: dict[str, Any]) -> bool:
    return not list(schema.violations(_filled(schema, message, made)))


def _filled(schema: Schema, message: Descriptor, made: dict[str, Any]) -> Any:
    filled = schema.message_type(message.full_name)()
    json_format.ParseDict(made, filled, descriptor_pool=schema.pool)
    return filled
