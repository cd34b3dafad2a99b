"""Messages that are made up by trying: bodies that differ a little from one that is known.

What is tried first are the values that the contract's own expression compares with: a compiled expression holds them
as constants. `caller.startsWith('courier-')` gives `courier-`, `input.total_minor > 10000` gives 10001.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from sagagen.runtime.messages.schema import Schema

Json = dict[str, Any]
"""A message in ProtoJSON."""


def constants_of(expression: Callable[..., Any] | None) -> list[Any]:
    """The texts and numbers that an expression of the contract mentions; none where it can't be looked into."""
    code = getattr(expression, "__code__", None)
    constants = code.co_consts if code else ()
    return [each for each in constants if isinstance(each, str | int | float) and not isinstance(each, bool)]


def variations(schema: Schema, message_name: str, body: Json, hints: Iterable[Any] = ()) -> Iterator[Json]:
    """The body, and each that differs from it in one field: other truth values, enum values, numbers, texts.

    `hints`: values that are tried first, as far as a field may hold them; of numbers also those beside them.
    """
    yield body
    hints = list(hints)
    for scalar in schema.descriptor(message_name).fields:
        if scalar.is_repeated:
            yield {**body, scalar.name: []}
            continue
        if scalar.message_type is not None:
            inner = body.get(scalar.name, body.get(scalar.json_name))
            if isinstance(inner, dict) and scalar.message_type.full_name != message_name:
                for varied in variations(schema, scalar.message_type.full_name, cast(Json, inner), hints):
                    yield {**_without(body, scalar.json_name, scalar.name), scalar.name: varied}
            continue
        for value in _others(scalar, hints):
            yield {**_without(body, scalar.json_name, scalar.name), scalar.name: value}


def _without(body: Json, *names: str) -> Json:
    return {name: value for name, value in body.items() if name not in names}


def _others(scalar: Any, hints: list[Any]) -> Iterable[Any]:
    """Values of a field of a plain type, the likeliest first."""
    if scalar.enum_type is not None:
        return [value.name for value in scalar.enum_type.values]
    if scalar.cpp_type == scalar.CPPTYPE_BOOL:
        return [False, True]
    if scalar.cpp_type == scalar.CPPTYPE_STRING:
        texts = [each for each in hints if isinstance(each, str)]
        return [*texts, ""] if scalar.type == scalar.TYPE_STRING else []
    near = [each + by for each in hints if isinstance(each, int | float) for by in (0, 1, -1)]
    return [*near, 0, 1, *(10**power for power in range(1, 10)), -1]


def with_text_at(body: Json, path: tuple[str, ...], text: str) -> Json:
    """The body with this text in a field, which may lie in messages of messages."""
    first, *rest = path
    if not rest:
        return {**body, first: text}
    inner = body.get(first)
    return {
        **body,
        first: with_text_at(cast(Json, inner) if isinstance(inner, dict) else {}, tuple(rest), text),
    }


def text_fields(schema: Schema, message_name: str, deepest: int = 3) -> Iterator[tuple[str, ...]]:
    """Paths of the fields that hold one text."""
    for scalar in schema.descriptor(message_name).fields:
        if scalar.is_repeated:
            continue
        if scalar.message_type is not None and deepest:
            for path in text_fields(schema, scalar.message_type.full_name, deepest - 1):
                yield (scalar.name, *path)
        elif scalar.type == scalar.TYPE_STRING:
            yield (scalar.name,)


def first_that(candidates: Iterable[Json], is_right: Callable[[Json], bool]) -> Json | None:
    """The first candidate that is right; what raises while it is looked at is not."""
    for candidate in candidates:
        try:
            if is_right(candidate):
                return candidate
        except Exception:  # noqa: BLE001 - an expression of the contract, asked about a message that is made up
            continue
    return None
