"""The shapes of messages in JSON, compiled once from their descriptors: what a JSON value must look like to be one.

google.protobuf's own reader takes `[]` for a message, `true` for a number and `customer_id` beside `customerId`, and
says "out of range" without saying where. So a value is first held against its shape, and every departure becomes a
violation with its path. Counts that the contract sets are held here too, before anything is made of what is counted.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from sagagen.runtime.edge.json.findings import EnoughFound, Findings, JsonError, Path, report, shown
from sagagen.runtime.edge.json.scalars import Check, enum_value, float64, map_key, scalar, string
from sagagen.runtime.edge.json.texts import PARSERS, Parse
from sagagen.runtime.messages.fields import entry_fields, is_map
from sagagen.runtime.messages.validation_rules import Counted, most_of

NOT_SHOWN = "does not fit its type; the contract redacts this field, so nothing of it is shown"

_VALUE = "google.protobuf.Value"
WRAPPER = re.compile(r"google\.protobuf\.(?:Double|Float|U?Int(?:32|64)|Bool|String|Bytes)Value")


class _Twice(dict[str, object]):
    """An object with a repeated key; json.loads alone would keep the last and say nothing."""

    repeated: str = ""


def strict_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Hook for json.loads: an object that remembers a repeated key, for its shape to report."""
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    twice = _Twice(members)
    twice.repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return twice


class JsonValidators:
    """Turns descriptors into checks; messages are kept by name, since they may contain themselves."""

    def __init__(self) -> None:
        self._messages: dict[str, Check] = {}

    def message(self, descriptor: Descriptor) -> Check:
        name = descriptor.full_name
        if name not in self._messages:
            self._messages[name] = self._well_known(descriptor) or self._regular(descriptor)
        return self._messages[name]

    def _well_known(self, descriptor: Descriptor) -> Check | None:
        name = descriptor.full_name
        if name in PARSERS:
            return _textual(name, PARSERS[name])
        if WRAPPER.fullmatch(name):
            return self.single(descriptor.fields_by_name["value"])
        if name in ("google.protobuf.Struct", "google.protobuf.Any"):
            return _free_object
        if name == "google.protobuf.ListValue":
            return _free_list
        return _free if name == _VALUE else None

    def _regular(self, descriptor: Descriptor) -> Check:
        shape = _MessageShape(descriptor.full_name)
        self._messages[descriptor.full_name] = shape
        for field in descriptor.fields:
            check = self._field(field)
            shape.add(field, _silent(check) if is_redacted(field) else check)
        return shape

    def _field(self, field: FieldDescriptor) -> Check:
        check = self._unbounded(field)
        return _counted(check, most) if (most := most_of(field)) else check

    def _unbounded(self, field: FieldDescriptor) -> Check:
        if is_map(field):
            key, value = entry_fields(field)
            return _map(map_key(key), self.single(value))
        return _list(self.single(field)) if field.is_repeated else self.single(field)

    def single(self, field: FieldDescriptor) -> Check:
        if field.message_type:
            return self.message(field.message_type)
        if field.enum_type:
            return enum_value(field.enum_type)
        return scalar(field)


@dataclass(frozen=True, slots=True)
class _Member:
    """A field, as a member of its message's JSON."""

    name: str
    json_name: str
    check: Check
    takes_null: bool
    """Null is a value of it; anywhere else it means that the field is absent."""
    oneof: str
    """Name of the oneof that it belongs to, or empty."""


class _MessageShape:
    """The check of one message type."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._members: dict[str, _Member] = {}

    def add(self, field: FieldDescriptor, check: Check) -> None:
        oneof = field.containing_oneof
        member = _Member(field.name, field.json_name, check, takes_null(field), oneof.name if oneof else "")
        self._members[field.name] = self._members[field.json_name] = member

    def __call__(self, value: object, path: Path, findings: Findings) -> None:
        findings.enter()
        seen: dict[str, str] = {}
        for name, item in _members(value, path, findings).items():
            if member := self._members.get(name):
                where = (path, member.name)
                _check_once(member, item is None, where, seen, findings)
                if item is not None or member.takes_null:
                    member.check(item, where, findings)
            else:
                report(findings, (path, name), f"{self._name} has no such field")
        findings.leave()


def _check_once(
    member: _Member, is_null: bool, where: Path, seen: dict[str, str], findings: Findings
) -> None:
    """Neither twice, in both spellings of its name, nor beside another field of its oneof."""
    if member.name in seen:
        report(findings, where, f"is given twice, as {member.name} and {member.json_name}")
    seen[member.name] = member.name
    if member.oneof and (not is_null or member.takes_null):
        other = seen.setdefault(f"oneof {member.oneof}", member.name)
        if other != member.name:
            report(findings, where, f"excludes {other}: at most one field of {member.oneof} can be set")


def is_redacted(field: FieldDescriptor) -> bool:
    """Its values are shown nowhere, not even to who sent them: a problem document may end in a log."""
    return field.GetOptions().debug_redact


def _silent(check: Check) -> Check:
    def check_silently(value: object, path: Path, findings: Findings) -> None:
        before = len(findings.violations)
        with suppress(EnoughFound):
            check(value, path, findings)
        if len(findings.violations) > before:
            del findings.violations[before:]
            report(findings, path, NOT_SHOWN)

    return check_silently


def _counted(check: Check, most: Counted) -> Check:
    """Nothing that is in a list, map or text is looked at once it has too much: that ends the reading."""

    def check_counted(value: object, path: Path, findings: Findings) -> None:
        if _size(value) > most.limit:
            findings.add(path, most.description, most.rule)
            raise JsonError(findings.violations)
        check(value, path, findings)

    return check_counted


def _size(value: Any) -> int:
    return len(value) if type(value) in (list, dict, str) or isinstance(value, _Twice) else 0


def takes_null(field: FieldDescriptor) -> bool:
    """Whether null is a value of it."""
    if field.is_repeated:
        return False
    if field.message_type:
        return field.message_type.full_name == _VALUE
    return bool(field.enum_type) and field.enum_type.full_name == "google.protobuf.NullValue"


def _list(check: Check) -> Check:
    def check_list(value: object, path: Path, findings: Findings) -> None:
        if isinstance(value, list):
            for index, item in enumerate(cast(list[object], value)):
                check(item, (path, index), findings)
        else:
            report(findings, path, f"must be a list, not {shown(value)}")

    return check_list


def _map(check_key: Callable[[str], str], check: Check) -> Check:
    def check_map(value: object, path: Path, findings: Findings) -> None:
        members = _members(value, path, findings)
        findings.count(len(members))
        for key, item in members.items():
            where = (path, (key,))
            if wrong := check_key(key):
                report(findings, where, wrong)
            check(item, where, findings)

    return check_map


def _textual(name: str, parse: Parse) -> Check:
    def check_textual(value: object, path: Path, findings: Findings) -> None:
        if not isinstance(value, str) or parse(value) is None:
            report(findings, path, f"must be a {name} as a string, not {shown(value)}")

    return check_textual


_LIST_LEVELS = 2
"""Messages that a list in a Value is on the wire: the ListValue, and the Value of each element."""
_OBJECT_LEVELS = 3
"""The Struct, the entry of each member, and its Value."""


def _free_object(value: object, path: Path, findings: Findings) -> None:
    findings.enter(_OBJECT_LEVELS)
    for name, member in _members(value, path, findings).items():
        if not name.isascii():
            string(name, (path, name), findings)
        _free(member, (path, name), findings)
    findings.leave(_OBJECT_LEVELS)


def _free_list(value: object, path: Path, findings: Findings) -> None:
    findings.enter(_LIST_LEVELS)
    _list(_free)(value, path, findings)
    findings.leave(_LIST_LEVELS)


def _free(value: object, path: Path, findings: Findings) -> None:
    """Any JSON, as Struct and Value take it."""
    if isinstance(value, dict):
        _free_object(cast(object, value), path, findings)
    elif isinstance(value, list):
        _free_list(cast(object, value), path, findings)
    else:
        findings.enter()
        if isinstance(value, str):
            string(value, path, findings)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            float64(value, path, findings)
        findings.leave()


def _members(value: object, path: Path, findings: Findings) -> Mapping[str, object]:
    """The members of an object; none, and a finding, if it is no object or has a key twice."""
    if isinstance(value, _Twice):
        report(findings, (path, value.repeated), "stands twice in its object")
    elif isinstance(value, dict):
        return cast(dict[str, object], value)
    else:
        report(findings, path, f"must be an object, not {shown(value)}")
    return {}
