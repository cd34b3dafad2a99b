"""Fields that a message must have and saga.yaml does not set, so that every call would be refused.

A proto may require them (proto2's `required`, LEGACY_REQUIRED of editions), or rules of buf.validate. Rules are not
read, but tried out: protovalidate gets a message without any field.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import protovalidate
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from sagagen.contract.codes import Code
from sagagen.contract.findings import error
from sagagen.diagnostics import Diagnostic
from sagagen.expression import MessageExpr
from sagagen.expression.tree import Build, Expr, children
from sagagen.runtime.messages.validation_rules import has_own_rules
from sagagen.source import Mapping as MappingNode
from sagagen.source import Node, Span


class RequiredFields:
    """What messages of one contract must have. A validator knows the types of only one contract."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()
        self._demanded: dict[str, Mapping[str, str]] = {}

    def check(
        self, what: str, request: Node | None, expression: MessageExpr, call: Span
    ) -> Iterator[Diagnostic]:
        """`request` as it is written, and what it means; `call` is the place where nothing is written."""
        for built in _built(expression.root, None, ()):
            given = {field.name for field, _ in built.message.fields}
            type_ = built.message.type.descriptor
            demanded = {**_required(type_), **self._ruled(built)}
            missing = {name: why for name, why in demanded.items() if not given & _members(type_, name)}
            if missing:
                at = call if request is None else _place(request, built.path)
                yield _left_out(what, type_, missing, at)

    def of(self, message: Descriptor) -> Mapping[str, str]:
        """The fields and oneofs that a message of this type must have by its rules, and why."""
        return self._tried(message, None)

    def _ruled(self, built: "_Built") -> Mapping[str, str]:
        """Within a field, its rules say whether those of its type hold."""
        if built.field is None:
            return self.of(built.message.type.descriptor) if built.is_root else {}
        owner = built.field.containing_type
        is_of_this_type = built.field.message_type is built.message.type.descriptor
        return self._tried(owner, built.field) if is_of_this_type and owner is not None else {}

    def _tried(self, message: Descriptor, field: FieldDescriptor | None) -> Mapping[str, str]:
        name = message.full_name if field is None else field.full_name
        if name not in self._demanded:
            self._demanded[name] = _demanded(self._validator, message, field)
        return self._demanded[name]


@dataclass(frozen=True, slots=True)
class _Built:
    """A message that an expression builds."""

    message: Build
    field: FieldDescriptor | None
    """Of another message that is built, whose value or element it becomes."""
    path: tuple[str, ...]
    """The fields that lead to it."""
    is_root: bool


def _built(expr: Expr, field: FieldDescriptor | None, path: tuple[str, ...]) -> Iterator[_Built]:
    if not isinstance(expr, Build):
        for child in children(expr):
            yield from _built(child, field, path)
        return
    yield _Built(expr, field, path, is_root=not path)
    for inner, value in expr.fields:
        yield from _built(value, inner, (*path, inner.name))


def _left_out(what: str, type_: Descriptor, missing: Mapping[str, str], at: Span) -> Diagnostic:
    fields = ", ".join(f"{name} ({why})" if why else name for name, why in missing.items())
    message = f"the request of {what} leaves out fields that {type_.name} must have: {fields}"
    hint = f"add {', '.join(f'{name}: ...' for name in missing)}"
    return error(at, Code.REQUIRED_FIELD_LEFT_OUT, message, hint)


def _place(node: Node, path: tuple[str, ...]) -> Span:
    """Of the mapping that sets the last of these fields, as far as it is written as mappings."""
    for name in path:
        inner = node.get(name) if isinstance(node, MappingNode) else None
        if inner is None:
            break
        node = inner
    return node.span


def _required(message: Descriptor) -> dict[str, str]:
    return {field.name: "required by its proto" for field in message.fields if field.is_required}


def _demanded(
    validator: protovalidate.Validator, message: Descriptor, field: FieldDescriptor | None
) -> Mapping[str, str]:
    """The fields and oneofs that a valid message must have, and why; or the message in this field of it."""
    inner = message if field is None else field.message_type
    if inner is None or not has_own_rules(inner):
        return {}  # trying it out takes milliseconds
    empty = message_factory.GetMessageClass(message)()
    if field is not None:
        value = getattr(empty, field.name)
        value.add() if field.is_repeated else value.SetInParent()
    try:
        violations = validator.collect_violations(empty)
    except (protovalidate.CompilationError, protovalidate.EvaluationError):
        return {}  # the linter reports faulty rules
    found: dict[str, str] = {}
    for violation in violations:
        place = violation.proto.field
        path = [element.field_name for element in place.elements] if place else []
        *outer, last = path or [""]
        if last and outer == ([] if field is None else [field.name]):
            found.setdefault(last, violation.proto.message)
    return found


def _members(message: Descriptor, name: str) -> set[str]:
    oneof = message.oneofs_by_name.get(name)
    return {field.name for field in oneof.fields} if oneof is not None else {name}
