"""buf.validate's rules as JSON schema keywords, where both mean exactly the same. Rules without an equivalent are left
out: a document that asks for less is true, one that asks for something else is not."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor

from sagagen.emit.openapi_ranges import pattern_between
from sagagen.runtime.messages.fields import entry_fields, is_map

JsonSchema: TypeAlias = dict[str, Any]

NON_FINITE = ("NaN", "Infinity", "-Infinity")
"""Numbers that ProtoJSON writes as strings."""
_LENGTHS = {
    "string": (
        ("min_len", "minLength"),
        ("max_len", "maxLength"),
        ("len", "minLength"),
        ("len", "maxLength"),
    ),
    "repeated": (("min_items", "minItems"), ("max_items", "maxItems")),
    "map": (("min_pairs", "minProperties"), ("max_pairs", "maxProperties")),
}
_BOUNDS = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum"}
_NUMBERS = frozenset({"float", "double", "int32", "uint32", "sint32", "fixed32", "sfixed32"})
_SIGNED_64 = frozenset({"int64", "sint64", "sfixed64"})
_WIDE = _SIGNED_64 | {"uint64", "fixed64"}
"""64-bit integers are strings in JSON, to which no bound applies, but a pattern."""
_LONGEST = {True: 10**19 - 1, False: 10**20 - 1}
"""By whether it has a sign: the largest number with as many digits as a 64-bit integer. Its `format` says the rest."""
_FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uuid": "uuid",
}
_RE2_ALONE = re.compile(r"\(\?(?!:)|\[\[|\\[pPAzZCQExa]|\*\+|\+\+")
"""Syntax that RE2 has, but not ECMA-262, which JSON schema uses."""


class Rules:
    """The rules of one field."""

    def __init__(self, message: Any, enum: EnumDescriptor | None = None) -> None:
        self._message = message
        self._enum = enum

    @classmethod
    def of(cls, field: FieldDescriptor) -> "Rules":
        value = entry_fields(field)[1] if is_map(field) else field
        return cls(_extension(field, "google.protobuf.FieldOptions", "buf.validate.field"), value.enum_type)

    @property
    def is_required(self) -> bool:
        return self._applies and bool(self._message.required)

    @property
    def items(self) -> "Rules":
        return self._nested("repeated", "items")

    @property
    def keys(self) -> "Rules":
        return self._nested("map", "keys")

    @property
    def values(self) -> "Rules":
        return self._nested("map", "values")

    def constrain(self, schema: JsonSchema) -> JsonSchema:
        """The schema of a value, with the keywords that its rules add."""
        kind = self._message.WhichOneof("type") if self._applies else None
        if kind is None:
            return schema
        rules = getattr(self._message, kind)
        return {
            **_narrowed(schema, kind, rules),
            **_wide(kind, rules),
            **_lengths(kind, rules),
            **_values(kind, rules),
            **_enum_names(self._enum, kind, rules),
            **_text(kind, rules),
        }

    def examples(self) -> list[Any]:
        """The contract's own examples, as JSON has them."""
        kind = self._message.WhichOneof("type") if self._message is not None else None
        rules = getattr(self._message, kind) if kind else None
        if rules is None or "example" not in rules.DESCRIPTOR.fields_by_name:
            return []
        if kind in _NUMBERS or kind in ("string", "bool"):
            return [*rules.example]
        return [str(example) for example in rules.example] if kind in _WIDE else []

    @property
    def _applies(self) -> bool:
        """`ignore` makes rules conditional, which keywords side by side can't express."""
        return self._message is not None and not self._message.ignore

    def _nested(self, kind: str, name: str) -> "Rules":
        has_rules = self._applies and self._message.WhichOneof("type") == kind
        rules = getattr(self._message, kind) if has_rules else None
        has_nested = rules is not None and rules.HasField(name)
        return Rules(getattr(rules, name) if has_nested else None, self._enum if name != "keys" else None)


def is_required_oneof(oneof: OneofDescriptor) -> bool:
    rules = _extension(oneof, "google.protobuf.OneofOptions", "buf.validate.oneof")
    return rules is not None and bool(rules.required)


def _extension(declared: FieldDescriptor | OneofDescriptor, options_name: str, name: str) -> Any:
    """The option, read with the contract's own copy of buf/validate; None where it is not set."""
    if not declared.has_options:
        return None
    pool = cast(Descriptor, declared.containing_type).file.pool
    try:
        extension = cast(Any, pool).FindExtensionByName(name)
        options_type = message_factory.GetMessageClass(pool.FindMessageTypeByName(options_name))
    except KeyError:  # the contract never imports it
        return None
    options = cast(Any, options_type.FromString(declared.GetOptions().SerializeToString()))
    return options.Extensions[extension] if options.HasExtension(extension) else None


def _narrowed(schema: JsonSchema, kind: str, rules: Any) -> JsonSchema:
    """A number with its bounds. If a bound or `finite` excludes words like NaN, only the number is left."""
    if kind not in _NUMBERS:
        return schema
    bounds = {_BOUNDS[name]: getattr(rules, name) for name in _BOUNDS if rules.HasField(name)}
    if _is_outside(bounds):
        return schema
    if "anyOf" not in schema:
        return _tightest(schema, bounds)
    number, _ = schema["anyOf"]
    words = _words(bounds, is_finite=rules.finite)
    narrowed = {**number, **bounds}
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**rest, "anyOf": [narrowed, {"enum": words}]} if words else {**rest, **narrowed}


def _wide(kind: str, rules: Any) -> JsonSchema:
    """Rules of a 64-bit integer, as patterns and values of the text that it is in JSON."""
    if kind not in _WIDE:
        return {}
    if rules.HasField("const"):
        return {"enum": [str(rules.const)]}
    allowed, refused = [str(each) for each in getattr(rules, "in")], [str(each) for each in rules.not_in]
    return {
        **_between(rules, is_signed=kind in _SIGNED_64),
        **({"enum": allowed} if allowed else {}),
        **({"not": {"enum": refused}} if refused else {}),
    }


def _between(rules: Any, *, is_signed: bool) -> JsonSchema:
    longest = _LONGEST[is_signed]
    least, most = -longest if is_signed else 0, longest
    if rules.HasField("gt") or rules.HasField("gte"):
        least = rules.gt + 1 if rules.HasField("gt") else rules.gte
    if rules.HasField("lt") or rules.HasField("lte"):
        most = rules.lt - 1 if rules.HasField("lt") else rules.lte
    has_bound = abs(least) not in (longest, 0) or (is_signed and least == 0) or most != longest
    return {"pattern": pattern_between(least, most)} if has_bound and least <= most else {}


def _is_outside(bounds: Mapping[str, float]) -> bool:
    """protovalidate reads bounds that exclude each other as 'not between them'."""
    low = bounds.get("minimum", bounds.get("exclusiveMinimum"))
    high = bounds.get("maximum", bounds.get("exclusiveMaximum"))
    return low is not None and high is not None and low > high


def _tightest(schema: JsonSchema, bounds: Mapping[str, float]) -> JsonSchema:
    """A rule's bound makes the type's own bound at that end superfluous."""
    superfluous = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
    dropped = {superfluous[name] for name in bounds if name in superfluous}
    return {name: value for name, value in schema.items() if name not in dropped} | dict(bounds)


def _words(bounds: Mapping[str, float], *, is_finite: bool) -> list[str]:
    has_low = "minimum" in bounds or "exclusiveMinimum" in bounds
    has_high = "maximum" in bounds or "exclusiveMaximum" in bounds
    refused = {"NaN": has_low or has_high, "Infinity": has_high, "-Infinity": has_low}
    return [] if is_finite else [word for word in NON_FINITE if not refused[word]]


def _lengths(kind: str, rules: Any) -> JsonSchema:
    if kind == "bytes":
        return _lengths_of_base64(rules)
    return {
        keyword: int(getattr(rules, name)) for name, keyword in _LENGTHS.get(kind, ()) if rules.HasField(name)
    } | ({"uniqueItems": True} if kind == "repeated" and rules.unique else {})


def _lengths_of_base64(rules: Any) -> JsonSchema:
    """Three bytes are four characters; the padding may be left out."""
    least = rules.len if rules.HasField("len") else rules.min_len
    most = rules.len if rules.HasField("len") else rules.max_len if rules.HasField("max_len") else None
    return ({"minLength": -(-least * 4 // 3)} if least else {}) | (
        {"maxLength": -(-most // 3) * 4} if most is not None else {}
    )


def _enum_names(enum: EnumDescriptor | None, kind: str, rules: Any) -> JsonSchema:
    """An enum has the names of its own values; rules name them by number."""
    if enum is None or kind != "enum":
        return {}
    allowed = [rules.const] if rules.HasField("const") else list(getattr(rules, "in"))
    names = [value.name for value in enum.values if value.number in allowed]
    refused = [value.name for value in enum.values if value.number in rules.not_in]
    return ({"enum": names} if names else {}) | ({"not": {"enum": refused}} if refused else {})


def _values(kind: str, rules: Any) -> JsonSchema:
    """`const`, `in` and `not_in` of values that JSON writes unchanged."""
    if kind not in ("string", "bool", "int32", "uint32", "sint32", "fixed32", "sfixed32"):
        return {}
    if rules.HasField("const"):
        return {"enum": [rules.const]}
    if kind == "bool":
        return {}
    allowed, refused = list(getattr(rules, "in")), list(rules.not_in)
    return ({"enum": allowed} if allowed else {}) | ({"not": {"enum": refused}} if refused else {})


def _text(kind: str, rules: Any) -> JsonSchema:
    if kind != "string":
        return {}
    known = rules.WhichOneof("well_known")
    format_of = {"format": _FORMATS[known]} if known in _FORMATS and getattr(rules, known) else {}
    patterns = list(_patterns(rules))
    if len(patterns) == 1:
        return {**format_of, "pattern": patterns[0]}
    return {**format_of, "allOf": [{"pattern": each} for each in patterns]} if patterns else format_of


def _patterns(rules: Any) -> Sequence[str]:
    found = [rules.pattern] if rules.HasField("pattern") and not _RE2_ALONE.search(rules.pattern) else []
    prefix = [f"^{_literal(rules.prefix)}"] if rules.HasField("prefix") else []
    suffix = [f"{_literal(rules.suffix)}$"] if rules.HasField("suffix") else []
    return [*found, *prefix, *suffix, *([_literal(rules.contains)] if rules.HasField("contains") else [])]


def _literal(text: str) -> str:
    return re.sub(r"([\\^$.|?*+()\[\]{}/])", r"\\\1", text)
