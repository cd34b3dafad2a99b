"""The contract's messages as google.protobuf sees them: ProtoJSON at the edge, and protovalidate's rules everywhere."""

from collections.abc import Sequence
from typing import Any, cast

import protovalidate
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from grpclib.const import Status as Code

from sagagen.runtime.messages.parts import (
    TOO_MANY_PARTS,
    beginning,
    has_too_many_parts,
    is_within,
    may_have_too_many_parts,
)
from sagagen.runtime.rpc.errors import MAX_VIOLATIONS, FieldViolation, RpcError


class Schema:
    """All message types of a mesh, built once at start from its descriptor set."""

    def __init__(self, descriptors: bytes) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        self.file_names: list[str] = []
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
            self._pool.Add(file)  # pyright: ignore[reportUnknownMemberType] - stub takes Any
            self.file_names.append(file.name)
        self._types: dict[str, type[Message]] = {}
        self._validator = protovalidate.Validator()

    @property
    def pool(self) -> descriptor_pool.DescriptorPool:
        return self._pool

    def message_type(self, full_name: str) -> type[Message]:
        """The class of a message. Raises KeyError for a name that the contract lacks."""
        if full_name not in self._types:
            descriptor = self._pool.FindMessageTypeByName(full_name)
            self._types[full_name] = message_factory.GetMessageClass(descriptor)
        return self._types[full_name]

    def descriptor(self, full_name: str) -> Descriptor:
        return self._pool.FindMessageTypeByName(full_name)

    def service(self, full_name: str) -> ServiceDescriptor:
        return self._pool.FindServiceByName(full_name)

    def file(self, name: str) -> FileDescriptor:
        return self._pool.FindFileByName(name)

    def violations(self, message: Message) -> Sequence[FieldViolation]:
        """The rules of the contract that the message breaks, `required` of proto2 among them; empty if it is valid.

        No more than a problem document lists. Of a message with more than a few elements, those of the first elements,
        and in any case one: each violation costs a thousand times the bytes that break the rule.
        """
        first = self._validator.collect_violations(message, fail_fast=True)
        if not first and message.IsInitialized():
            return ()
        part, shortened = beginning(message, _ELEMENTS_REPORTED)
        all_of_part = [*_missing(part), *map(_as_ours, self._validator.collect_violations(part))]
        found = [
            violation
            for violation in all_of_part
            if not any(is_within(violation.field, path) for path in shortened)
        ]
        surely = [violation for violation in map(_as_ours, first) if violation not in found]
        return ([*surely, *found] or _missing(message))[:MAX_VIOLATIONS]

    def check_bytes(self, full_name: str, data: bytes) -> None:
        """Parse and validate an encoded message. Raises RpcError INVALID_ARGUMENT with a violation for each rule."""
        try:
            message = self.message_type(full_name).FromString(data)
        except DecodeError as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"the request is no encoded {full_name}") from error
        if may_have_too_many_parts(len(data)) and has_too_many_parts(message):
            raise RpcError(Code.INVALID_ARGUMENT, TOO_MANY_PARTS)
        if violations := self.violations(message):
            raise RpcError(
                Code.INVALID_ARGUMENT,
                "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations),
                violations=violations,
            )


_ELEMENTS_REPORTED = 40
"""Elements of a message's lists and maps, all together, whose violations are looked for once one was found."""


def _missing(message: Message) -> list[FieldViolation]:
    """Fields that are `required` in proto2's sense, and not set."""
    paths: list[str] = cast(Any, message).FindInitializationErrors()
    return [FieldViolation(path, "is required", "required") for path in paths]


def _as_ours(violation: protovalidate.Violation) -> FieldViolation:
    return FieldViolation(field_path(violation), violation.proto.message, violation.proto.rule_id)


def field_path(violation: protovalidate.Violation) -> str:
    """`items[0].quantity`, in proto field names."""
    path = ""
    for element in violation.proto.field.elements if violation.proto.field else ():
        path += f".{element.field_name}" if path else element.field_name
        subscript = element.subscript
        if subscript is not None:
            path += f"[{subscript.value!r}]" if isinstance(subscript.value, str) else f"[{subscript.value}]"
    return path
