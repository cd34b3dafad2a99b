"""The messages of `history.proto`, made without protoc."""

from typing import Any, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = descriptor_pb2.FieldDescriptorProto
_ROW_COLUMNS = (
    ("kind", _TYPES.TYPE_STRING),
    ("at_ms", _TYPES.TYPE_INT64),
    ("span_id", _TYPES.TYPE_STRING),
    ("step", _TYPES.TYPE_STRING),
    ("direction", _TYPES.TYPE_STRING),
    ("attempt", _TYPES.TYPE_INT32),
    ("outcome", _TYPES.TYPE_STRING),
    ("code", _TYPES.TYPE_STRING),
    ("domain", _TYPES.TYPE_STRING),
    ("reason", _TYPES.TYPE_STRING),
    ("message", _TYPES.TYPE_STRING),
    ("retry_after_s", _TYPES.TYPE_DOUBLE),
    ("is_other_payload", _TYPES.TYPE_BOOL),
    ("owner_run", _TYPES.TYPE_STRING),
    ("payload", _TYPES.TYPE_BYTES),
    ("next_request", _TYPES.TYPE_BYTES),
    ("next_problem", _TYPES.TYPE_STRING),
    ("answer_status", _TYPES.TYPE_INT32),
    ("answer_headers", _TYPES.TYPE_STRING),
    ("answer_body", _TYPES.TYPE_BYTES),
    ("operator", _TYPES.TYPE_STRING),
    ("note", _TYPES.TYPE_STRING),
    ("saga_id", _TYPES.TYPE_STRING),
    ("name", _TYPES.TYPE_STRING),
    ("version", _TYPES.TYPE_INT32),
    ("digest", _TYPES.TYPE_STRING),
    ("run", _TYPES.TYPE_STRING),
    ("caller", _TYPES.TYPE_STRING),
    ("idempotency_key", _TYPES.TYPE_STRING),
    ("fingerprint", _TYPES.TYPE_BYTES),
    ("trace_id", _TYPES.TYPE_STRING),
    ("trace_flags", _TYPES.TYPE_INT32),
    ("trace_state", _TYPES.TYPE_STRING),
    ("starts_ms", _TYPES.TYPE_INT64),
    ("next_step", _TYPES.TYPE_STRING),
    ("until_ms", _TYPES.TYPE_INT64),
    ("keys", _TYPES.TYPE_STRING),
    ("at_once", _TYPES.TYPE_INT32),
    ("event", _TYPES.TYPE_STRING),
    ("event_number", _TYPES.TYPE_INT32),
    ("request_key", _TYPES.TYPE_STRING),
    ("claims", _TYPES.TYPE_STRING),
)
_LISTS = frozenset({"keys"})
"""The fields of `Row`, in the order of their numbers, from 1 on."""


def descriptor() -> descriptor_pb2.FileDescriptorProto:
    """What `history.proto` says."""
    file = descriptor_pb2.FileDescriptorProto(
        name="history.proto",
        package="sagagen.history",
        syntax="editions",
        edition=descriptor_pb2.EDITION_2023,
    )
    batch, row = file.message_type.add(name="Batch"), file.message_type.add(name="Row")
    _add(batch, "format", 1, _TYPES.TYPE_UINT32)
    _add(
        batch, "rows", 2, _TYPES.TYPE_MESSAGE, label=_TYPES.LABEL_REPEATED
    ).type_name = ".sagagen.history.Row"
    for number, (name, kind) in enumerate(_ROW_COLUMNS, start=1):
        label = _TYPES.LABEL_REPEATED if name in _LISTS else _TYPES.LABEL_OPTIONAL
        _add(row, name, number, kind, label=label)
    return file


def _add(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    kind: "descriptor_pb2.FieldDescriptorProto.Type.ValueType",
    label: "descriptor_pb2.FieldDescriptorProto.Label.ValueType" = _TYPES.LABEL_OPTIONAL,
) -> descriptor_pb2.FieldDescriptorProto:
    return message.field.add(name=name, number=number, type=kind, label=label)


def _message_types() -> tuple[Any, Any]:
    # A pool of its own: a name that other code puts into the default one can't collide.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor().SerializeToString())
    types = (pool.FindMessageTypeByName(f"sagagen.history.{name}") for name in ("Batch", "Row"))
    batch, row = (cast(Any, message_factory.GetMessageClass(each)) for each in types)
    return batch, row


Batch, Row = _message_types()
