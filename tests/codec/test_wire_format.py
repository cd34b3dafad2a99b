"""The codec against google.protobuf: what one writes, the other reads as the same message, for every type of field."""

# ruff: noqa: RUF009 - betterproto2 describes fields by calls
import dataclasses
import datetime
import math
from dataclasses import dataclass
from typing import Any

import betterproto2
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from generated.pb.google.protobuf import Timestamp
from sagagen.runtime.codec import MessagePool

_pool = MessagePool()
_INTEGERS = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "sint32": (-(2**31), 2**31 - 1),
    "sint64": (-(2**63), 2**63 - 1),
    "fixed32": (0, 2**32 - 1),
    "fixed64": (0, 2**64 - 1),
    "sfixed32": (-(2**31), 2**31 - 1),
    "sfixed64": (-(2**63), 2**63 - 1),
}
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.integers(low, high) for name, (low, high) in _INTEGERS.items()},
    "bool": st.booleans(),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=200),
    "bytes": st.binary(max_size=200),
}


class Colour(betterproto2.Enum):
    NONE = 0
    RED = 1
    BLUE = -2


@dataclass(eq=False, repr=False)
class Leaf(betterproto2.Message):
    text: "str" = betterproto2.field(1, betterproto2.TYPE_STRING)
    number: "int" = betterproto2.field(2, betterproto2.TYPE_INT32)


_pool.register_message("wire", "Leaf", Leaf)

_PYTHON = {"bool": bool, "float": float, "double": float, "string": str, "bytes": bytes}
_Fields = list[tuple[str, Any, Any]]


def _scalars() -> _Fields:
    """One single, one optional and one repeated field of every scalar type."""
    fields: _Fields = []
    for at, kind in enumerate(_VALUES):
        python = _PYTHON.get(kind, int)
        fields.append((f"one_{kind}", python, betterproto2.field(1 + at, kind)))
        fields.append((f"maybe_{kind}", python | None, betterproto2.field(101 + at, kind, optional=True)))
        fields.append((f"many_{kind}", list[python], betterproto2.field(201 + at, kind, repeated=True)))
    return fields


_Scalars: Any = dataclasses.make_dataclass(
    "Scalars", _scalars(), bases=(betterproto2.Message,), namespace={"__module__": __name__}, eq=False
)
_pool.register_message("wire", "Scalars", _Scalars)


@dataclass(eq=False, repr=False)
class Tree(betterproto2.Message):
    leaf: "Leaf | None" = betterproto2.field(1, betterproto2.TYPE_MESSAGE, optional=True)
    leaves: "list[Leaf]" = betterproto2.field(2, betterproto2.TYPE_MESSAGE, repeated=True)
    colour: "Colour" = betterproto2.field(3, betterproto2.TYPE_ENUM, default_factory=lambda: Colour(0))
    colours: "list[Colour]" = betterproto2.field(4, betterproto2.TYPE_ENUM, repeated=True)
    counts: "dict[str, int]" = betterproto2.field(
        5,
        betterproto2.TYPE_MAP,
        map_meta=betterproto2.map_meta(betterproto2.TYPE_STRING, betterproto2.TYPE_INT64),
    )
    by_number: "dict[int, Leaf]" = betterproto2.field(
        6,
        betterproto2.TYPE_MAP,
        map_meta=betterproto2.map_meta(betterproto2.TYPE_INT32, betterproto2.TYPE_MESSAGE),
    )
    left: "str | None" = betterproto2.field(7, betterproto2.TYPE_STRING, group="choice")
    right: "Leaf | None" = betterproto2.field(8, betterproto2.TYPE_MESSAGE, group="choice")
    at: "datetime.datetime | None" = betterproto2.field(
        9, betterproto2.TYPE_MESSAGE, unwrap=lambda: Timestamp, optional=True
    )


_pool.register_message("wire", "Tree", Tree)


def _google() -> dict[str, Any]:
    """The same messages as google.protobuf's classes."""
    file = descriptor_pb2.FileDescriptorProto(name="wire.proto", package="wire", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    kinds = descriptor_pb2.FieldDescriptorProto
    colour = file.enum_type.add(name="Colour")
    for member in Colour:
        colour.value.add(name=member.name, number=member.value)
    leaf = file.message_type.add(name="Leaf")
    leaf.field.add(name="text", number=1, type=kinds.TYPE_STRING, label=1)
    leaf.field.add(name="number", number=2, type=kinds.TYPE_INT32, label=1)
    scalars = file.message_type.add(name="Scalars")
    for at, kind in enumerate(_VALUES):
        number = getattr(kinds, f"TYPE_{kind.upper()}")
        scalars.field.add(name=f"one_{kind}", number=1 + at, type=number, label=1)
        scalars.field.add(
            name=f"maybe_{kind}", number=101 + at, type=number, label=1, proto3_optional=True, oneof_index=at
        )
        scalars.field.add(name=f"many_{kind}", number=201 + at, type=number, label=3)
        scalars.oneof_decl.add(name=f"_maybe_{kind}")
    tree = file.message_type.add(name="Tree")
    tree.field.add(name="leaf", number=1, type=kinds.TYPE_MESSAGE, label=1, type_name=".wire.Leaf")
    tree.field.add(name="leaves", number=2, type=kinds.TYPE_MESSAGE, label=3, type_name=".wire.Leaf")
    tree.field.add(name="colour", number=3, type=kinds.TYPE_ENUM, label=1, type_name=".wire.Colour")
    tree.field.add(name="colours", number=4, type=kinds.TYPE_ENUM, label=3, type_name=".wire.Colour")
    counts = tree.nested_type.add(name="CountsEntry")
    counts.options.map_entry = True
    counts.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=1)
    counts.field.add(name="value", number=2, type=kinds.TYPE_INT64, label=1)
    tree.field.add(
        name="counts", number=5, type=kinds.TYPE_MESSAGE, label=3, type_name=".wire.Tree.CountsEntry"
    )
    by_number = tree.nested_type.add(name="ByNumberEntry")
    by_number.options.map_entry = True
    by_number.field.add(name="key", number=1, type=kinds.TYPE_INT32, label=1)
    by_number.field.add(name="value", number=2, type=kinds.TYPE_MESSAGE, label=1, type_name=".wire.Leaf")
    tree.field.add(
        name="by_number", number=6, type=kinds.TYPE_MESSAGE, label=3, type_name=".wire.Tree.ByNumberEntry"
    )
    tree.oneof_decl.add(name="choice")
    tree.field.add(name="left", number=7, type=kinds.TYPE_STRING, label=1, oneof_index=0)
    tree.field.add(
        name="right", number=8, type=kinds.TYPE_MESSAGE, label=1, type_name=".wire.Leaf", oneof_index=0
    )
    tree.field.add(
        name="at", number=9, type=kinds.TYPE_MESSAGE, label=1, type_name=".google.protobuf.Timestamp"
    )
    pool = descriptor_pool.DescriptorPool()
    stamp = descriptor_pb2.FileDescriptorProto(
        name="google/protobuf/timestamp.proto", package="google.protobuf", syntax="proto3"
    )
    timestamp = stamp.message_type.add(name="Timestamp")
    timestamp.field.add(name="seconds", number=1, type=kinds.TYPE_INT64, label=1)
    timestamp.field.add(name="nanos", number=2, type=kinds.TYPE_INT32, label=1)
    pool.Add(stamp)
    pool.Add(file)
    names = ("Leaf", "Scalars", "Tree")
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"wire.{name}")) for name in names
    }


_GOOGLE = _google()

_leaves = st.builds(Leaf, text=st.text(max_size=5), number=st.integers(-(2**31), 2**31 - 1))
_trees = st.builds(
    Tree,
    leaf=st.none() | _leaves,
    leaves=st.lists(_leaves, max_size=3),
    colour=st.sampled_from(Colour),
    colours=st.lists(st.sampled_from(Colour), max_size=3),
    counts=st.dictionaries(st.text(max_size=3), st.integers(-(2**63), 2**63 - 1), max_size=3),
    by_number=st.dictionaries(st.integers(-9, 9), _leaves, max_size=3),
    left=st.none() | st.text(max_size=3),
    at=st.none() | st.datetimes(timezones=st.just(datetime.UTC)),
)
_scalar_messages = st.builds(
    _Scalars,
    **{f"one_{kind}": values for kind, values in _VALUES.items()},
    **{f"maybe_{kind}": st.none() | values for kind, values in _VALUES.items()},
    **{f"many_{kind}": st.lists(values, max_size=3) for kind, values in _VALUES.items()},
)


@given(_scalar_messages | _trees)
def test_google_reads_what_we_write_and_we_read_what_google_writes(message: betterproto2.Message) -> None:
    google = _GOOGLE[type(message).__name__].FromString(bytes(message))
    again = type(message).parse(google.SerializeToString())
    assert again == message
    assert _GOOGLE[type(message).__name__].FromString(bytes(again)) == google
    assert not again._unknown_fields


@given(_scalar_messages)
def test_google_sees_the_same_values(message: Any) -> None:
    google = _GOOGLE["Scalars"].FromString(bytes(message))
    for kind in _VALUES:
        assert getattr(google, f"one_{kind}") == getattr(message, f"one_{kind}")
        assert list(getattr(google, f"many_{kind}")) == getattr(message, f"many_{kind}")
        assert google.HasField(f"maybe_{kind}") == (getattr(message, f"maybe_{kind}") is not None)


@given(st.binary(max_size=60))
def test_noise_is_a_message_for_both_or_for_neither(noise: bytes) -> None:
    try:
        ours = bytes(Tree.parse(noise))
    except (ValueError, OverflowError):  # a time that datetime can't hold is a message for google alone
        return
    google = _GOOGLE["Tree"]
    assert google.FromString(ours) == google.FromString(noise)


@pytest.mark.parametrize("kind", _INTEGERS)
def test_numbers_beyond_their_field_are_refused(kind: str) -> None:
    low, high = _INTEGERS[kind]
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=str(value)):
            bytes(_Scalars(**{f"one_{kind}": value}))


def test_data_that_ends_too_early_is_refused() -> None:
    data = bytes(Tree(leaf=Leaf("text", 7)))
    for end in range(1, len(data)):
        with pytest.raises(ValueError, match="ends in the middle"):
            Tree.parse(data[:end])


def test_fields_of_a_later_version_are_kept() -> None:
    data = bytes(Tree(leaf=Leaf("text"), left="l")) + b"\xfa\x01\x01x\xf8\x01\x05"
    assert Tree.parse(data)._unknown_fields == b"\xfa\x01\x01x\xf8\x01\x05"
    assert bytes(Tree.parse(data)) == data


def test_the_last_member_of_a_oneof_wins() -> None:
    tree = Tree.parse(bytes(Tree(left="l")) + bytes(Tree(right=Leaf("r"))))
    assert (tree.left, tree.right) == (None, Leaf("r"))


def test_a_message_that_comes_twice_is_merged() -> None:
    assert Tree.parse(bytes(Tree(leaf=Leaf("text"))) + bytes(Tree(leaf=Leaf(number=7)))).leaf == Leaf(
        "text", 7
    )


def test_an_empty_message_in_a_list_stays_empty() -> None:
    assert Tree.parse(bytes(Tree(leaves=[Leaf(), Leaf("a")]))).leaves == [Leaf(), Leaf("a")]


def test_numbers_of_either_packing_are_read() -> None:
    number = 1 + list(_VALUES).index("int32") + 200
    assert number < 2**11
    tag = bytes((number << 3 & 0x7F | 0x80, number << 3 >> 7))
    assert _Scalars.parse(tag + b"\x01" + tag + b"\x02").many_int32 == [1, 2]


def test_what_is_no_number_survives() -> None:
    assert math.isnan(_Scalars.parse(bytes(_Scalars(one_double=math.nan))).one_double)
