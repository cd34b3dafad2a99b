"""Fields that validation requires and saga.yaml does not set, so that every call would be refused.

They are not read from the rules, but tried out: protovalidate gets a message without any field.
"""

from collections.abc import Iterator, Mapping

import protovalidate
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor

from sagagen.contract.codes import Code
from sagagen.contract.findings import error
from sagagen.diagnostics import Diagnostic
from sagagen.runtime.messages.validation_rules import has_own_rules
from sagagen.source import Mapping as MappingNode
from sagagen.source import Node, Span


class RequiredFields:
    """What messages of one contract must have. A validator knows the types of only one contract."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()
        self._demanded: dict[str, Mapping[str, str]] = {}

    def check(self, what: str, request: Node | None, target: Descriptor, call: Span) -> Iterator[Diagnostic]:
        """`request` as it is written; nothing is reported if one expression gives the whole message."""
        if request is not None and not isinstance(request, MappingNode):
            return
        given = {entry.key.text for entry in request or ()}
        demanded = self.of(target)
        missing = {name: why for name, why in demanded.items() if not given & _members(target, name)}
        if not missing:
            return
        fields = ", ".join(f"{name} ({why})" if why else name for name, why in missing.items())
        message = f"the request of {what} leaves out fields that {target.name} must have: {fields}"
        hint = f"add {', '.join(f'{name}: ...' for name in missing)}"
        at = request.span if request is not None else call
        yield error(at, Code.REQUIRED_FIELD_LEFT_OUT, message, hint)

    def of(self, message: Descriptor) -> Mapping[str, str]:
        """The fields and oneofs that a valid message of this type must have, and why."""
        if message.full_name not in self._demanded:
            self._demanded[message.full_name] = _demanded(self._validator, message)
        return self._demanded[message.full_name]


def _demanded(validator: protovalidate.Validator, message: Descriptor) -> Mapping[str, str]:
    """The fields and oneofs that a valid message of this type must have, and why."""
    if not has_own_rules(message):
        return {}  # trying it out takes milliseconds
    empty = message_factory.GetMessageClass(message)()
    try:
        violations = validator.collect_violations(empty)
    except (protovalidate.CompilationError, protovalidate.EvaluationError):
        return {}  # the linter reports faulty rules
    found: dict[str, str] = {}
    for violation in violations:
        field = violation.proto.field
        path = [element.field_name for element in field.elements] if field else []
        if len(path) == 1:
            found.setdefault(path[0], violation.proto.message)
    return found


def _members(message: Descriptor, name: str) -> set[str]:
    oneof = message.oneofs_by_name.get(name)
    return {field.name for field in oneof.fields} if oneof is not None else {name}
