"""Values that keep the rules of one field (buf/validate/validate.proto), as ProtoJSON has them."""

import base64
import datetime
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import EnumDescriptor

from sagagen.runtime.messages.example_pattern import matching

UUID = "8e03978e-40d5-43e8-bc93-6894a57f9324"
_TEXTS: Mapping[str, str] = {
    "email": "ann@example.com",
    "hostname": "example.com",
    "address": "example.com",
    "ip": "192.0.2.1",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "ip_with_prefixlen": "192.0.2.1/24",
    "ipv4_with_prefixlen": "192.0.2.1/24",
    "ipv6_with_prefixlen": "2001:db8::1/64",
    "ip_prefix": "192.0.2.0/24",
    "ipv4_prefix": "192.0.2.0/24",
    "ipv6_prefix": "2001:db8::/64",
    "host_and_port": "example.com:443",
    "uri": "https://example.com/",
    "uri_ref": "/a",
    "uuid": UUID,
    "tuuid": UUID.replace("-", ""),
    "ulid": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "well_known_regex": "x-name",
}
"""Texts of the well-known forms, from the ranges that are reserved for documentation (RFC 2606, 5737, 3849)."""
_INTEGERS = frozenset({
    "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64",
})  # fmt: skip


def value_of(kind: str, rules: Any, name: str, enum: EnumDescriptor | None) -> Any:
    """A value for the field `name`. `kind`: the rules' type, `string` or `timestamp`; its example, if it has one."""
    examples = list(getattr(rules, "example", ()))
    chosen = examples or _named(rules)
    if chosen:
        return _enum_name(enum, chosen[0]) if enum is not None else _json(chosen[0])
    make = _MAKERS.get(kind, _number)
    return _enum_value(rules, enum) if enum is not None else make(kind, rules, name)


def _named(rules: Any) -> list[Any]:
    """The values that the rules themselves name."""
    fields = rules.DESCRIPTOR.fields_by_name
    if "const" in fields and rules.HasField("const"):
        return [rules.const]
    return list(getattr(rules, "in")) if "in" in fields else []


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json_format.MessageToDict(value) if hasattr(value, "DESCRIPTOR") else value


def _enum_name(enum: EnumDescriptor, number: int) -> Any:
    value = enum.values_by_number.get(number)
    return value.name if value is not None else number


def _enum_value(rules: Any, enum: EnumDescriptor) -> str:
    allowed = [value.name for value in enum.values if value.number not in rules.not_in]
    return (allowed or [enum.values[0].name])[-1]


def _text(_kind: str, rules: Any, name: str) -> str:
    form = rules.WhichOneof("well_known")
    if form:
        return _TEXTS.get(form, name)
    if rules.HasField("pattern"):
        try:
            return matching(rules.pattern)
        except (ValueError, KeyError):
            return name
    return _between(rules, f"{rules.prefix}{rules.contains}" or name, rules.suffix)


def _between(rules: Any, start: str, end: str) -> str:
    """`start`, filled up or cut to the length that is asked for, and `end`."""
    exact = rules.len or rules.len_bytes
    least, most = max(rules.min_len, rules.min_bytes) or exact, exact or rules.max_len or rules.max_bytes
    text = start
    while len(text) + len(end) < least:
        text += "a"
    longest = most - len(end) if most else len(text)
    return text[: max(longest, len(f"{rules.prefix}{rules.contains}"))] + end


def _bytes(_kind: str, rules: Any, name: str) -> str:
    exact, least, most = rules.len, rules.min_len, rules.max_len
    count = {"ip": 4, "ipv4": 4, "ipv6": 16, "uuid": 16}.get(rules.WhichOneof("well_known") or "", 0)
    start, end = rules.prefix + rules.contains, rules.suffix
    wanted = exact or least or count or min(len(name), most or len(name))
    filler = name.encode() * (wanted // len(name) + 1)
    return base64.b64encode(start + filler[: max(0, wanted - len(start) - len(end))] + end).decode()


def _number(kind: str, rules: Any, _name: str) -> Any:
    step = 1 if kind in _INTEGERS else 0.5
    refused: list[Any] = list(getattr(rules, "not_in", ()))
    tried = [
        1,
        *_near(rules, step),
        *(each + step for each in refused),
        *(each - step for each in refused),
        0,
    ]
    return next((one for one in tried if _is_within(rules, one) and one not in refused), 1)


def _near(rules: Any, step: float) -> list[float]:
    ends = [getattr(rules, name) for name in ("gte", "gt", "lte", "lt") if _has(rules, name)]
    return [each + by for each in ends for by in (0, step, -step, 2 * step, -2 * step)] + (
        [sum(ends) / 2] if len(ends) > 1 and step != 1 else []
    )


def _is_within(rules: Any, number: float) -> bool:
    """Bounds that exclude each other mean: not between them."""
    above = (not _has(rules, "gt") or number > rules.gt) and (not _has(rules, "gte") or number >= rules.gte)
    below = (not _has(rules, "lt") or number < rules.lt) and (not _has(rules, "lte") or number <= rules.lte)
    lows = [getattr(rules, name) for name in ("gt", "gte") if _has(rules, name)]
    highs = [getattr(rules, name) for name in ("lt", "lte") if _has(rules, name)]
    return (above or below) if lows and highs and lows[0] > highs[0] else (above and below)


def _has(rules: Any, name: str) -> bool:
    return bool(name in rules.DESCRIPTOR.fields_by_name and rules.HasField(name))


def _duration(_kind: str, rules: Any, _name: str) -> str:
    ends = {
        name: getattr(rules, name).ToTimedelta() for name in ("gt", "gte", "lt", "lte") if _has(rules, name)
    }
    low = ends.get("gt") or ends.get("gte")
    high = ends.get("lt") or ends.get("lte")
    second = datetime.timedelta(seconds=1)
    if low is not None and high is not None:
        chosen = low + (high - low) / 2
    else:
        chosen = low + second if low is not None else high - second if high is not None else 1.5 * second
    return f"{chosen.total_seconds():.9f}".rstrip("0").rstrip(".") + "s"


def _timestamp(_kind: str, rules: Any, _name: str) -> str:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    minute = datetime.timedelta(minutes=1)
    low, high = _end(rules, "gt", "gte"), _end(rules, "lt", "lte")
    if _has(rules, "within"):
        chosen = now + (rules.within.ToTimedelta() / 2) * (-1 if rules.lt_now else 1)
    elif low is not None and high is not None:
        chosen = low + (high - low) / 2
    elif low is not None or high is not None:
        chosen = low + minute if low is not None else (high or now) - minute
    else:
        chosen = now - minute if rules.lt_now else now + datetime.timedelta(days=1)
    return chosen.strftime("%Y-%m-%dT%H:%M:%SZ")


def _end(rules: Any, *names: str) -> datetime.datetime | None:
    found = (getattr(rules, name).ToDatetime(tzinfo=datetime.UTC) for name in names if _has(rules, name))
    return next(found, None)


def _true(_kind: str, _rules: Any, _name: str) -> bool:
    return True


_MAKERS: Mapping[str, Callable[[str, Any, str], Any]] = {
    "string": _text, "bytes": _bytes, "bool": _true, "duration": _duration, "timestamp": _timestamp,
}  # fmt: skip
