"""Messages, enums and their values by the names that expressions write."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, EnumDescriptor, EnumValueDescriptor

from sagagen.diagnostics import did_you_mean
from sagagen.expression.codes import Code
from sagagen.expression.environment import Environment, NamedType
from sagagen.expression.problem import Problem
from sagagen.expression.syntax import Name, Select, spelled

Path = tuple[Name | Select, ...]


def type_named(path: Path, environment: Environment) -> NamedType | None:
    root = path[0]
    if isinstance(root, Name) and root.is_absolute:
        return environment.types.find(spelled(path))
    return environment.types.resolve(spelled(path), environment.package)


def message_named(path: Path, environment: Environment) -> Descriptor | Problem:
    found = type_named(path, environment)
    if isinstance(found, Descriptor):
        return found
    if found is not None:
        value = found.values[-1].name
        return Problem(
            Code.UNKNOWN_TYPE, f"{spelled(path)} is an enum", f"write a value: {spelled(path)}.{value}"
        )
    names = known_names(environment, Descriptor)
    return Problem(
        Code.UNKNOWN_TYPE, f'there is no message "{spelled(path)}"', _hint(spelled(path), names, environment)
    )


def enum_value(path: Path, environment: Environment) -> EnumValueDescriptor | Problem | None:
    """The value that `Order.Status.PENDING` names; None if the path does not lead to an enum at all."""
    owner = type_named(path[:-1], environment) if len(path) > 1 else None
    last = path[len(path) - 1].name
    if isinstance(owner, EnumDescriptor):
        if value := owner.values_by_name.get(last):
            return value
        hint = did_you_mean(last, [value.name for value in owner.values])
        return Problem(Code.UNKNOWN_ENUM_VALUE, f'enum "{owner.full_name}" has no value "{last}"', hint)
    if isinstance(owner, Descriptor):
        return _value_of_message(owner, last, spelled(path[:-1]))
    if any(part.name[:1].isupper() for part in path[:-1]):
        names = known_names(environment, EnumDescriptor)
        name = spelled(path[:-1])
        return Problem(Code.UNKNOWN_TYPE, f'there is no enum "{name}"', _hint(name, names, environment))
    return None


def _value_of_message(message: Descriptor, name: str, written: str) -> Problem:
    enums = [enum for enum in message.enum_types if name in enum.values_by_name]
    hint = (
        f"write {written}.{enums[0].name}.{name}"
        if enums
        else "select a field of a value, or construct a message: Type{...}"
    )
    return Problem(Code.UNKNOWN_ENUM_VALUE, f'message type "{written}" has no value "{name}"', hint)


def known_names(environment: Environment, kind: type[NamedType]) -> Iterator[str]:
    """The names of the types of a kind, as the expression would write them, without google's own."""
    for full_name, named_type in environment.types.items():
        if isinstance(named_type, kind) and not full_name.startswith(("google.", "buf.")):
            yield environment.spelled(full_name)


def _hint(name: str, known: Iterator[str], environment: Environment) -> str:
    """The same simple name in another package, otherwise the closest name."""
    names = list(known)
    simple = name.rpartition(".")[2]
    for candidate in names:
        if candidate.endswith(f".{simple}"):
            return f"write {candidate}"
    return did_you_mean(name, [n for n in names if "." not in n or n.count(".") <= name.count(".")] or names)
