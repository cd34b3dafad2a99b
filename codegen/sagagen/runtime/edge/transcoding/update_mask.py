"""The mask of an update that came without one: AIP-134, "Partial updates".

A PATCH whose body is one field of the request changes what the body names and nothing else. Where the request has an
`update_mask` that the client left out, it is filled with the body's members, as grpc-gateway does: a handler can then
tell a field that was set to its default from one that was not sent.
"""

from collections.abc import Iterable
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from sagagen.runtime.model.definition import Route

_MASK = "google.protobuf.FieldMask"
_NAME = "update_mask"


class UpdateMask:
    """Fills the mask of one route's requests."""

    def __init__(self, resource: Descriptor) -> None:
        self._resource = resource

    def fill(self, message: Message, body: object) -> None:
        """Give the request its mask, unless it has one; `body` is the JSON that was read."""
        if not message.HasField(_NAME) and isinstance(body, dict):
            mask = getattr(cast(Any, message), _NAME)
            mask.paths.extend(_paths(self._resource, cast(dict[str, object], body), ""))


def update_mask(route: Route, request: Descriptor) -> UpdateMask | None:
    """None for a route that is no PATCH of one field, or whose request has no `update_mask`."""
    mask, resource = request.fields_by_name.get(_NAME), request.fields_by_name.get(route.body)
    is_mask = mask and mask.message_type and mask.message_type.full_name == _MASK and not mask.is_repeated
    if route.verb != "PATCH" or not is_mask or not resource or not _is_merged(resource):
        return None
    assert resource.message_type, "only messages are merged"
    return UpdateMask(resource.message_type)


def _is_merged(field: FieldDescriptor) -> bool:
    """Whether parts of its value can be named: lists, maps, and messages that JSON writes as values are replaced."""
    return (
        bool(field.message_type)
        and not field.is_repeated
        and not field.message_type.full_name.startswith("google.protobuf.")
    )


def _paths(message: Descriptor, members: dict[str, object], before: str) -> Iterable[str]:
    for name, value in members.items():
        field = _field(message, name)
        path = before + field.name
        if value and isinstance(value, dict) and field.message_type and _is_merged(field):
            yield from _paths(field.message_type, cast(dict[str, object], value), f"{path}.")
        else:
            yield path


def _field(message: Descriptor, name: str) -> FieldDescriptor:
    by_name = message.fields_by_name.get(name)
    return by_name or next(field for field in message.fields if field.json_name == name)
