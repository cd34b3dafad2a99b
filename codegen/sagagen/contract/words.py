"""The scalar types of saga.yaml for pydantic: each reads one YAML scalar, keeps its place, knows its JSON schema."""

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Annotated, Any

from grpclib.const import Status as Code
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from sagagen.contract import codes
from sagagen.contract.located import Block, Items, Key, Located, node_of
from sagagen.diagnostics import did_you_mean
from sagagen.runtime.model.definition import LARGEST_BODY_BYTES
from sagagen.source import Node, Scalar

NAME = re.compile(r"[a-z][a-z0-9_]*")
PROJECT_NAME = re.compile(r"[a-z][a-z0-9_-]*")
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
DURATION = re.compile(f"(?:{DURATION_PART.pattern})+")
REASON = re.compile(r"[A-Z][A-Z0-9_]{0,61}[A-Z0-9]")
"""As google.rpc.ErrorInfo has it."""
SIZE = re.compile(r"([0-9]{1,9})(B|KiB|MiB)")
UNIT_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024 * 1024}
UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, eq=False)
class Reads:
    """Annotates a field with the function that reads its value, and with the value's JSON schema."""

    read: Callable[[object], object]
    schema: MappingOf[str, Any]

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema)


def wrong(code: codes.Code, message: str, hint: str, *, key: str = "") -> PydanticCustomError:
    """`key`: the key of the mapping that is at fault, where it is one."""
    return PydanticCustomError(code.value, "{message}", {"message": message, "hint": hint, "key": key})


def scalar_of(value: object, expected: str) -> Scalar:
    if isinstance(value, Scalar) and value.tag != "null":
        return value
    message = f"{expected} is expected here, not {kind_of(value)}"
    raise wrong(codes.Code.WRONG_SHAPE, message, "write one value after the key, on the same line")


def kind_of(value: object) -> str:
    if isinstance(value, Block):
        return "a mapping"
    if isinstance(value, Items):
        return "a list"
    return "nothing" if isinstance(value, Scalar) and value.tag == "null" else "a single value"


def text_of(value: object) -> Located[str]:
    scalar = scalar_of(value, "a text")
    if scalar.tag != "str":
        hint = f'put it in quotes if it is meant as text: "{scalar.text}"'
        raise wrong(
            codes.Code.WRONG_SHAPE, f"a text is expected here, not the {scalar.tag} {scalar.text}", hint
        )
    return Located(scalar.text, scalar)


def _named(pattern: re.Pattern[str], value: object) -> Located[str]:
    located = text_of(value)
    check_name(located.value, pattern)
    return located


def check_name(name: str, pattern: re.Pattern[str] = NAME) -> None:
    if not pattern.fullmatch(name):
        hint = "use lower case letters, digits and underscores, beginning with a letter"
        raise wrong(codes.Code.BAD_NAME, f'"{name}" cannot be a name here', hint)


def _key(value: object) -> Key:
    assert isinstance(value, Key)
    return value


def _name_key(value: object) -> Key:
    check_name(_key(value))
    return _key(value)


def _duration(value: object) -> Located[float]:
    scalar = scalar_of(value, "a duration like 50ms, 2s or 30d")
    if not DURATION.fullmatch(scalar.text):
        unit = (
            f"give it a unit: {scalar.text}s"
            if scalar.tag in {"int", "float"}
            else "write it like 50ms, 2s, 1m30s or 30d"
        )
        raise wrong(codes.Code.BAD_DURATION, f'"{scalar.text}" is not a duration', unit)
    total = sum(float(number) * UNIT_S[unit] for number, unit in DURATION_PART.findall(scalar.text))
    if total <= 0:
        raise wrong(codes.Code.OUT_OF_RANGE, "the duration must be longer than zero", "for example 2s")
    return Located(round(total, 9), scalar)


def _whole(low: int, high: int, value: object) -> Located[int]:
    scalar = scalar_of(value, "a whole number")
    if scalar.tag != "int" or not re.fullmatch(r"[+-]?\d+", scalar.text):
        raise wrong(
            codes.Code.WRONG_SHAPE,
            f'a whole number is expected here, not "{scalar.text}"',
            f"for example {low}",
        )
    number = int(scalar.text)
    if not low <= number <= high:
        raise wrong(codes.Code.OUT_OF_RANGE, f"{number} is out of range", f"from {low} to {high}")
    return Located(number, scalar)


def _size(value: object) -> Located[int]:
    scalar = scalar_of(value, "a size like 64KiB")
    parts = SIZE.fullmatch(scalar.text)
    if not parts:
        hint = "write a whole number and a unit: 800B, 64KiB or 1MiB"
        raise wrong(codes.Code.WRONG_SHAPE, f'"{scalar.text}" is no size', hint)
    size = int(parts[1]) * UNIT_BYTES[parts[2]]
    if not 1 <= size <= LARGEST_BODY_BYTES:
        hint = "from 1B to 1MiB: the gateway reads no more of any request"
        raise wrong(codes.Code.OUT_OF_RANGE, f"{scalar.text} is out of range", hint)
    return Located(size, scalar)


def _factor(value: object) -> Located[float]:
    scalar = scalar_of(value, "a number")
    if scalar.tag not in {"int", "float"} or not re.fullmatch(r"\d+(\.\d+)?", scalar.text):
        raise wrong(
            codes.Code.WRONG_SHAPE, f'a number is expected here, not "{scalar.text}"', "for example 2"
        )
    if not 1 <= float(scalar.text) <= 100:
        raise wrong(
            codes.Code.OUT_OF_RANGE,
            f"{scalar.text} is out of range",
            "from 1 (the same wait each time) to 100",
        )
    return Located(float(scalar.text), scalar)


def one_of(known: tuple[str, ...], value: object) -> Located[str]:
    scalar = scalar_of(value, " or ".join(known))
    if scalar.text not in known:
        raise wrong(
            codes.Code.UNKNOWN_WORD,
            f'"{scalar.text}" is not allowed here',
            did_you_mean(scalar.text, known),
        )
    return Located(scalar.text, scalar)


def _flag(value: object) -> Located[bool]:
    scalar = scalar_of(value, "true or false")
    if scalar.tag != "bool":
        message = f'true or false is expected here, not "{scalar.text}"'
        raise wrong(codes.Code.WRONG_SHAPE, message, "write true or false, without quotes")
    return Located(scalar.text.lower() == "true", scalar)


def _reason(value: object) -> Located[str]:
    located = text_of(value)
    if not REASON.fullmatch(located.value):
        bare = located.value.strip("'\"")
        plain = f"write it without quotes inside: {bare}" if REASON.fullmatch(bare) else ""
        hint = plain or "use capital letters, digits and underscores, for example OUT_OF_STOCK"
        raise wrong(codes.Code.BAD_NAME, f'"{located.value}" cannot be a reason', hint)
    return located


def _expression(value: object) -> Node:
    if isinstance(value, Block | Items):
        raise wrong(
            codes.Code.WRONG_SHAPE,
            f"an expression is expected here, not {kind_of(value)}",
            "write one expression after the key, in quotes if it has a colon, a bracket or a brace",
        )
    return scalar_of(value, "an expression")


def _duration_or_expression(value: object) -> Located[float] | Node:
    """No expression of a duration begins with a digit: there are no literals of that type."""
    node = _expression(value)
    is_literal = isinstance(node, Scalar) and re.match(r"[-+]?\d", node.text)
    return _duration(node) if is_literal else node


def kinds(*allowed: str) -> Reads:
    """Of a step; a kind that is not allowed at this place is read, and refused with the reason."""
    every = ("compensatable", "pivot", "retriable")
    return Reads(lambda value: one_of(every, value), {"type": "string", "enum": list(allowed)})


def words(*known: str) -> Reads:
    return Reads(lambda value: one_of(known, value), {"type": "string", "enum": list(known)})


def whole(low: int, high: int) -> Reads:
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Reads(lambda value: _whole(low, high, value), schema)


GRPC_CODES = tuple(code.name for code in Code if code is not Code.OK)

Text = Annotated[Located[str], Reads(text_of, {"type": "string"})]
ServiceName = Annotated[Located[str], Reads(text_of, {"type": "string", "pattern": r"^\w+(\.\w+)*$"})]
"""Full name of a proto service."""
CallName = Annotated[Located[str], Reads(text_of, {"type": "string", "pattern": r"^[a-z][a-z0-9_]*/\w+$"})]
TriggerName = Annotated[Located[str], Reads(text_of, {"type": "string", "pattern": r"^\w+(\.\w+)*/\w+$"})]
Date = Annotated[Located[str], Reads(text_of, {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"})]
Name = Annotated[
    Located[str], Reads(lambda value: _named(NAME, value), {"type": "string", "pattern": f"^{NAME.pattern}$"})
]
ProjectName = Annotated[
    Located[str],
    Reads(
        lambda value: _named(PROJECT_NAME, value), {"type": "string", "pattern": f"^{PROJECT_NAME.pattern}$"}
    ),
]
NameKey = Annotated[Key, Reads(_name_key, {"type": "string", "pattern": f"^{NAME.pattern}$"})]
AnyKey = Annotated[Key, Reads(_key, {"type": "string"})]
Duration = Annotated[Located[float], Reads(_duration, {"type": "string", "pattern": f"^{DURATION.pattern}$"})]
Size = Annotated[Located[int], Reads(_size, {"type": "string", "pattern": f"^{SIZE.pattern}$"})]
"""In bytes."""
Factor = Annotated[Located[float], Reads(_factor, {"type": "number", "minimum": 1, "maximum": 100})]
Flag = Annotated[Located[bool], Reads(_flag, {"type": "boolean"})]
Expressions = Annotated[Node, Reads(node_of, {"type": ["object", "string"]})]
"""Passed on unread: what is allowed depends on the message that it builds."""
_ONE = {"type": ["string", "boolean", "integer"]}
Expression = Annotated[Node, Reads(_expression, _ONE)]
"""A single value, passed on unread: `true` and `5` are expressions too."""
DurationOrExpression = Annotated[Located[float] | Node, Reads(_duration_or_expression, {"type": "string"})]
"""In seconds, or unread."""
Reason = Annotated[Located[str], Reads(_reason, {"type": "string", "pattern": f"^{REASON.pattern}$"})]
