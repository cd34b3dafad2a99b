"""The contract's messages as google.protobuf sees them: ProtoJSON at the edge, and protovalidate's rules everywhere."""

from collections.abc import Sequence

import protovalidate
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import FieldViolation, RpcError


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
        """Every buf.validate rule that the message breaks; empty if it is valid."""
        return [
            FieldViolation(field_path(violation), violation.proto.message, violation.proto.rule_id)
            for violation in self._validator.collect_violations(message)
        ]

    def check_bytes(self, full_name: str, data: bytes) -> None:
        """Parse and validate an encoded message. Raises RpcError INVALID_ARGUMENT with a violation for each rule."""
        try:
            message = self.message_type(full_name).FromString(data)
        except DecodeError as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"the request is no encoded {full_name}") from error
        if violations := self.violations(message):
            raise RpcError(
                Code.INVALID_ARGUMENT,
                "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations),
                violations=violations,
            )


def field_path(violation: protovalidate.Violation) -> str:
    """`items[0].quantity`, in proto field names."""
    path = ""
    for element in violation.proto.field.elements if violation.proto.field else ():
        path += f".{element.field_name}" if path else element.field_name
        subscript = element.subscript
        if subscript is not None:
            path += f"[{subscript.value!r}]" if isinstance(subscript.value, str) else f"[{subscript.value}]"
    return path
