"""Messages and enums as JSON schemas: canonical ProtoJSON with the proto's field names.

A message has two forms. As a request it may leave fields out, and its rules apply; as an answer it has every field
without presence, and no rules, since nothing checks them. The forms have two names only if both are used.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor

from sagagen.contract.required import RequiredFields
from sagagen.emit.openapi_rules import NON_FINITE, JsonSchema, Rules, is_required_oneof
from sagagen.runtime.edge.json.scalars import INTEGER_RANGES
from sagagen.runtime.edge.json.validators import WRAPPER
from sagagen.runtime.messages.fields import entry_fields, is_map

SCHEMAS = "#/components/schemas/"
INPUT = "-Input"
"""Ends the name of the request form. No proto name has a hyphen."""

_INT64_PATTERN = "^-?(?:0|[1-9][0-9]{0,18})$"
_UINT64_PATTERN = "^(?:0|[1-9][0-9]{0,19})$"
_BOOLEANS: JsonSchema = {"enum": ["true", "false"]}
_WELL_KNOWN: Mapping[str, JsonSchema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?s$",
        "description": "Seconds, with up to nine digits after the point.",
    },
    "google.protobuf.FieldMask": {"type": "string", "description": "Paths of fields, separated by commas."},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Value": {},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    },
}


class Form(Enum):
    SENT = "sent"
    ANSWERED = "answered"


@dataclass(slots=True)
class Schemas:
    """Collects the components that a document refers to."""

    docs: Mapping[str, str]
    used: dict[tuple[str, Form], Descriptor] = field(default_factory=dict[tuple[str, Form], Descriptor])
    enums: dict[str, EnumDescriptor] = field(default_factory=dict[str, EnumDescriptor])
    demands: RequiredFields = field(default_factory=RequiredFields)

    def components(self) -> Iterator[tuple[str, JsonSchema]]:
        """Every message and enum that was referred to, and those that these refer to."""
        done: set[tuple[str, Form]] = set()
        while todo := [key for key in self.used if key not in done]:
            for name, form in todo:
                done.add((name, form))
                yield _component(name, form), self.message(self.used[name, form], form)
        yield from ((name, self.enum(enum)) for name, enum in self.enums.items())

    def message(self, descriptor: Descriptor, form: Form) -> JsonSchema:
        properties = {each.name: self.field(each, form) for each in descriptor.fields}
        required = [each.name for each in descriptor.fields if self._is_required(each, form)]
        oneofs = [_at_most_one(oneof, form) for oneof in descriptor.oneofs if not _is_synthetic(oneof)]
        return {
            "type": "object",
            **self.described(descriptor.full_name),
            "properties": properties,
            **({"required": required} if required else {}),
            **({"additionalProperties": False} if form is Form.SENT else {}),
            **({"allOf": oneofs} if oneofs else {}),
            **({"deprecated": True} if descriptor.GetOptions().deprecated else {}),
        }

    def must_be_sent(self, declared: FieldDescriptor) -> bool:
        """Whether a message without the field breaks rules: it is `required`, or its zero value is refused."""
        return declared.is_required or declared.name in self.demands.of(_owner(declared))

    def _is_required(self, declared: FieldDescriptor, form: Form) -> bool:
        return self.must_be_sent(declared) if form is Form.SENT else not declared.has_presence

    def field(self, declared: FieldDescriptor, form: Form) -> JsonSchema:
        """A field's value, with its description in the contract."""
        rules = Rules.of(declared) if form is Form.SENT else Rules(None)
        examples = Rules.of(declared).examples() if not declared.is_repeated else []
        return {
            **rules.constrain(self._shape(declared, form, rules)),
            **self.described(declared.full_name),
            **({"examples": examples} if examples else {}),
            **({"deprecated": True} if declared.GetOptions().deprecated else {}),
        }

    def value(self, declared: FieldDescriptor, form: Form) -> JsonSchema:
        """A single value of a field, or of a list's items or a map's values."""
        if declared.message_type:
            return self.reference(declared.message_type, form)
        if declared.enum_type:
            return self._enum_reference(declared.enum_type)
        return scalar(declared)

    def reference(self, descriptor: Descriptor, form: Form) -> JsonSchema:
        name = descriptor.full_name
        if name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[name])
        if WRAPPER.fullmatch(name):
            return scalar(descriptor.fields_by_name["value"])
        self.used[name, form] = descriptor
        return {"$ref": SCHEMAS + _component(name, form)}

    def enum(self, enum: EnumDescriptor) -> JsonSchema:
        told = [
            f"- `{value.name}`: {' '.join(doc.split())}"
            for value in enum.values
            if (doc := self.docs.get(f"{enum.full_name}.{value.name}"))
        ]
        described = "\n".join(part for part in (self.docs.get(enum.full_name, ""), *told) if part)
        names = [value.name for value in enum.values]
        return {"type": "string", **({"description": described} if described else {}), "enum": names}

    def described(self, full_name: str) -> JsonSchema:
        doc = self.docs.get(full_name)
        return {"description": doc} if doc else {}

    def _enum_reference(self, enum: EnumDescriptor) -> JsonSchema:
        if enum.full_name == "google.protobuf.NullValue":
            return {"type": "null"}
        self.enums[enum.full_name] = enum
        return {"$ref": f"{SCHEMAS}{enum.full_name}"}

    def _shape(self, declared: FieldDescriptor, form: Form, rules: Rules) -> JsonSchema:
        if is_map(declared):
            key, value = entry_fields(declared)
            names = rules.keys.constrain(_key(key))
            return {
                "type": "object",
                **({"propertyNames": names} if names else {}),
                "additionalProperties": rules.values.constrain(self.value(value, form)),
            }
        if declared.is_repeated:
            return {"type": "array", "items": rules.items.constrain(self.value(declared, form))}
        return self.value(declared, form)


def _component(full_name: str, form: Form) -> str:
    return full_name + INPUT if form is Form.SENT else full_name


def _owner(declared: FieldDescriptor) -> Descriptor:
    assert declared.containing_type, "extensions are no fields of JSON"
    return declared.containing_type


def scalar(declared: FieldDescriptor) -> JsonSchema:
    """ProtoJSON's canonical form of a scalar."""
    kind = declared.cpp_type
    match kind:
        case FieldDescriptor.CPPTYPE_INT64:
            return {"type": "string", "format": "int64", "pattern": _INT64_PATTERN}
        case FieldDescriptor.CPPTYPE_UINT64:
            return {"type": "string", "format": "uint64", "pattern": _UINT64_PATTERN}
        case FieldDescriptor.CPPTYPE_INT32 | FieldDescriptor.CPPTYPE_UINT32:
            least, most = INTEGER_RANGES[kind]
            name = "int32" if kind == FieldDescriptor.CPPTYPE_INT32 else "uint32"
            return {"type": "integer", "format": name, "minimum": least, "maximum": most}
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            name = "double" if kind == FieldDescriptor.CPPTYPE_DOUBLE else "float"
            return {"anyOf": [{"type": "number", "format": name}, {"enum": [*NON_FINITE]}]}
        case FieldDescriptor.CPPTYPE_BOOL:
            return {"type": "boolean"}
        case _:
            is_bytes = declared.type == FieldDescriptor.TYPE_BYTES
            return {"type": "string", **({"contentEncoding": "base64"} if is_bytes else {})}


def _key(key: FieldDescriptor) -> JsonSchema:
    """Names in JSON are strings, whatever the map's keys are."""
    if key.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return {}
    if key.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return dict(_BOOLEANS)
    is_signed = INTEGER_RANGES[key.cpp_type][0] < 0
    return {"pattern": _INT64_PATTERN if is_signed else _UINT64_PATTERN}


def _is_synthetic(oneof: OneofDescriptor) -> bool:
    """To protobuf, proto3's `optional` is a oneof with one member; to people it is not a oneof."""
    return len(oneof.fields) == 1 and oneof.name == f"_{oneof.fields[0].name}"


def _at_most_one(oneof: OneofDescriptor, form: Form) -> JsonSchema:
    each: list[JsonSchema] = [{"required": [member.name]} for member in oneof.fields]
    if form is Form.SENT and is_required_oneof(oneof):
        return {"oneOf": each}
    return {"oneOf": [*each, {"not": {"anyOf": each}}]}
