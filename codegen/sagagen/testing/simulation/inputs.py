"""Requests that differ a little from a sample, within the contract's rules.

Texts come from a few, so that sagas meet at the same product, customer or seat; numbers lie near the sample's. What the
contract refuses is not sent.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from sagagen.runtime.messages.schema import Schema

TRIES = 8
"""How often a variation is drawn that the contract refuses, before the sample itself is sent."""
CHANGES = 0.35
"""How likely it is that a field is not the sample's."""
MOST_ITEMS = 4
"""Up to so many items a list grows."""
_NUMBERED = re.compile(r"^(.*?)(\d+)$", re.DOTALL)
_WHOLE = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
_UNSIGNED = (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
_BROKEN = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
_TIMESTAMP = "google.protobuf.Timestamp"


@dataclass(frozen=True)
class Samples:
    """Requests of one message that the contract takes, and others like them."""

    schema: Schema
    message: str
    """Full name."""
    samples: tuple[str, ...]
    """ProtoJSON of each, at least one."""
    now_s: int
    """What time it is in the world, in seconds since the epoch: times lie around it."""
    _parsed: list[Message] = field(default_factory=list[Message])
    _encoded: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def __post_init__(self) -> None:
        self._parsed.extend(self._read(each) for each in self.samples)

    def drawn(self, random: Random) -> str:
        """A variation of one of the samples, as ProtoJSON."""
        sample = random.choice(self._parsed)
        for _ in range(TRIES):
            varied = _copy(sample)
            self._vary(varied, random)
            if not self.schema.violations(varied):
                return written(varied)
        return written(sample)

    def encoded(self, given: str) -> bytes:
        """A request as it is on the wire. Raises ValueError if it is none, or the contract refuses it."""
        if given not in self._encoded:
            self._encoded[given] = self._checked(given)
        return self._encoded[given]

    def _checked(self, given: str) -> bytes:
        message = self._read(given)
        if violations := self.schema.violations(message):
            first = violations[0]
            raise ValueError(f"the contract refuses {given}: {first.field}: {first.description}")
        return message.SerializeToString(deterministic=True)

    def simpler(self, given: str) -> Sequence[str]:
        """Requests nearer to the first sample: the sample, those with shorter lists, those with one value of it."""
        sample, message = self._parsed[0], self._read(given)
        found = [sample, *_shorter(message), *_nearer(message, sample)]
        texts = dict.fromkeys(map(written, found))
        return [each for each in texts if each != given and self._is_valid(each)]

    def _is_valid(self, given: str) -> bool:
        return not self.schema.violations(self._read(given))

    def _read(self, given: str) -> Message:
        message = self.schema.message_type(self.message)()
        try:
            json_format.Parse(given, message, descriptor_pool=self.schema.pool)
        except json_format.ParseError as error:
            raise ValueError(f"no {self.message}: {given}: {error}") from error
        return message

    def _vary(self, message: Message, random: Random, chance: float = CHANGES) -> None:
        of_any: Any = message
        for each in _fields(message):
            if _is_map(each):
                continue
            if each.is_repeated:
                self._vary_list(getattr(of_any, each.name), each, random)
            elif each.message_type and message.HasField(each.name):
                self._vary_message(getattr(of_any, each.name), random)
            elif not each.message_type and random.random() < chance:
                # A member of a oneof that is not set stays so: setting it would clear the one that is.
                if each.containing_oneof and not message.HasField(each.name):
                    continue
                setattr(of_any, each.name, _near(each, getattr(of_any, each.name), random))

    def _vary_message(self, message: Message, random: Random, chance: float = CHANGES) -> None:
        name = message.DESCRIPTOR.full_name
        if name == _TIMESTAMP:
            cast(Any, message).seconds = self.now_s + random.choice([-3600, 0, 0, 60, 1800])
            cast(Any, message).nanos = 0
        elif not name.startswith("google.protobuf."):
            self._vary(message, random, chance)

    def _vary_list(self, items: Any, each: FieldDescriptor, random: Random) -> None:
        count = len(items)
        chance = random.random()
        if chance < 0.1 and count:
            del items[random.randrange(count)]
        elif chance < 0.35 and 0 < count < MOST_ITEMS:
            items.append(items[random.randrange(count)])
        for place in range(len(items)):
            changes = (
                CHANGES if place < count else 1.0
            )  # what is new differs: two items of one key are no list
            if each.message_type:
                self._vary_message(items[place], random, changes)
            elif random.random() < changes:
                items[place] = _near(each, items[place], random)


def _shorter(message: Message) -> Iterator[Message]:
    """With one item less in one of its lists."""
    for each in _fields(message):
        if not each.is_repeated or _is_map(each):
            continue
        for place in range(len(getattr(message, each.name))):
            shorter = _copy(message)
            del getattr(shorter, each.name)[place]
            yield shorter


def _nearer(message: Message, sample: Message) -> Iterator[Message]:
    """With one value of the sample: an item of a list is compared with the sample's first one."""
    of_any, of_sample = cast(Any, message), cast(Any, sample)
    for each in _fields(message):
        if _is_map(each):
            continue
        here, there = getattr(of_any, each.name), getattr(of_sample, each.name)
        if each.is_repeated:
            for place, item in enumerate(here if there else ()):
                yield from _with_item(message, each, place, item, there[0])
        elif each.message_type and message.HasField(each.name) and sample.HasField(each.name):
            for inner in _nearer(here, there):
                nearer = _copy(message)
                getattr(nearer, each.name).CopyFrom(inner)
                yield nearer
        elif not each.message_type and here != there:
            nearer = _copy(message)
            setattr(nearer, each.name, there)
            yield nearer


def _with_item(
    message: Message, each: FieldDescriptor, place: int, item: Any, sample: Any
) -> Iterator[Message]:
    if not each.message_type:
        if item != sample:
            nearer = _copy(message)
            getattr(nearer, each.name)[place] = sample
            yield nearer
        return
    for inner in _nearer(item, sample):
        nearer = _copy(message)
        getattr(nearer, each.name)[place].CopyFrom(inner)
        yield nearer


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def written(message: Message) -> str:
    """ProtoJSON on one line, with the contract's field names: equal messages, equal texts."""
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=None, ensure_ascii=False, sort_keys=True
    )


def _fields(message: Message) -> Sequence[FieldDescriptor]:
    return cast(Sequence[FieldDescriptor], message.DESCRIPTOR.fields)


def _is_map(each: FieldDescriptor) -> bool:
    return bool(each.message_type and each.message_type.GetOptions().map_entry)


def _near(each: FieldDescriptor, value: Any, random: Random) -> Any:
    if each.enum_type:
        return random.choice([option.number for option in each.enum_type.values])
    return _MAKERS[each.cpp_type](value, random)


def _text(value: Any, random: Random) -> Any:
    """One of a few, numbered like the sample: `prod_1`, `prod_2`, `prod_3`."""
    if isinstance(value, bytes) or not value:
        return value
    numbered = _NUMBERED.match(value)
    if numbered:
        return f"{numbered[1]}{random.randint(1, 3)}"
    # A text without a number is as a rule the name of something that has to be there.
    return random.choice([value, value, value, value, f"{value}2"])


def _whole(value: Any, random: Random) -> Any:
    return random.choice(
        [1, 2, 3, value, value + 1, 2 * value, 10 * value, 100 * value, random.randint(1, 1000)]
    )


def _natural(value: Any, random: Random) -> Any:
    return max(0, _whole(value, random))


def _broken(value: Any, random: Random) -> Any:
    return random.choice([value / 2, value * 2, value * 3, value * 10, round(random.uniform(0.01, 1000), 2)])


def _either(_value: Any, random: Random) -> Any:
    return random.random() < 0.5


_MAKERS: dict[int, Callable[[Any, Random], Any]] = {
    FieldDescriptor.CPPTYPE_STRING: _text,
    FieldDescriptor.CPPTYPE_BOOL: _either,
    **dict.fromkeys(_WHOLE, _whole),
    **dict.fromkeys(_UNSIGNED, _natural),
    **dict.fromkeys(_BROKEN, _broken),
}
