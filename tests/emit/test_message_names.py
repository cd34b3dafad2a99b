"""Names that Python or betterproto2 cannot carry get another one, and the wire does not notice."""

import keyword
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import betterproto2
import pytest
from google.protobuf import message_factory
from google.protobuf.empty_pb2 import Empty
from proto_texts import Compiled, all_messages, assert_round_trips, compile_protos, descriptors

from sagagen.diagnostics import Diagnostic
from sagagen.python_names import PyClass, allot, identifier, snake_case, with_underscore
from sagagen.python_naming import assign_names
from sagagen.source import Span

pytestmark = pytest.mark.slow


def compiled_from(folder: Path, text: str, package: str = "shop") -> Compiled:
    proto = f'syntax = "proto3";\npackage {package};\n{dedent(text)}'
    return compile_protos(folder, {"shop.proto": proto})


def field_names(compiled: Compiled, message: str) -> dict[str, str]:
    return {
        field.name: compiled.names.field(field)
        for descriptor in all_messages(compiled.files)
        if descriptor.name == message
        for field in descriptor.fields
    }


def classes(compiled: Compiled) -> dict[str, str]:
    return {full_name: py_class.name for full_name, py_class in compiled.names.classes.items()}


def members(compiled: Compiled, enum: str) -> dict[str, str]:
    prefix = f"{enum}."
    return {
        value.removeprefix(prefix): member
        for value, member in compiled.names.values.items()
        if value.startswith(prefix)
    }


def test_ordinary_names_stay_as_betterproto2_users_know_them(tmp_path: Path) -> None:
    compiled = compiled_from(
        tmp_path,
        """
        message Order {
          enum Status { STATUS_UNSPECIFIED = 0; STATUS_PENDING = 1; }
          message LineItem { string product_id = 1; }
          Status status = 1;
          repeated LineItem lineItems = 2;
        }
        message HTTPRoute {}
        """,
    )
    assert classes(compiled) == {
        "shop.Order": "Order",
        "shop.HTTPRoute": "HttpRoute",
        "shop.Order.LineItem": "OrderLineItem",
        "shop.Order.Status": "OrderStatus",
    }
    assert field_names(compiled, "Order") == {"status": "status", "lineItems": "line_items"}
    assert members(compiled, "shop.Order.Status") == {
        "STATUS_UNSPECIFIED": "UNSPECIFIED",
        "STATUS_PENDING": "PENDING",
    }
    assert_round_trips(compiled)


def test_keywords_get_an_underscore(tmp_path: Path) -> None:
    fields = "\n".join(f"string {word} = {n};" for n, word in enumerate(keyword.kwlist, start=1))
    compiled = compiled_from(tmp_path, f"message Words {{ {fields} }}")
    names = field_names(compiled, "Words")
    assert names["from"] == "from_"
    assert names["class"] == "class_"
    assert names["None"] == "none"
    assert not any(keyword.iskeyword(name) for name in names.values())
    assert_round_trips(compiled)


@pytest.mark.parametrize(
    "attribute", [name for name in dir(betterproto2.Message) if not name.startswith("_")]
)
def test_no_field_hides_a_method_of_the_message(attribute: str) -> None:
    assert allot([attribute], dir(betterproto2.Message), with_underscore) == [f"{attribute}_"]


def test_fields_that_would_hide_what_messages_need_get_an_underscore(tmp_path: Path) -> None:
    hiding = ["parse", "to_dict", "is_set", "from_dict", "self", "betterproto2", "datetime", "builtins"]
    shadowing = ["int", "str", "list", "dict", "bool", "bytes", "float"]
    fields = "".join(f"string {name} = {n};" for n, name in enumerate(hiding + shadowing, start=1))
    compiled = compiled_from(
        tmp_path,
        f"""
        import "google/protobuf/timestamp.proto";
        message Hiding {{
          {fields}
          google.protobuf.Timestamp at = 100;
          repeated int32 numbers = 101;
          map<string, int32> table = 102;
          string type = 103;
          string id = 104;
        }}
        """,
    )
    names = field_names(compiled, "Hiding")
    assert {names[name] for name in shadowing} == {f"{name}_" for name in shadowing}
    assert names["parse"] == "parse_"
    assert names["self"] == "self_"
    assert names["type"] == "type"
    assert_round_trips(compiled)


def test_fields_that_differ_only_in_case_or_underscores_stay_apart(tmp_path: Path) -> None:
    words = ["fooBar", "foo_bar", "FooBar", "foo__bar", "_hidden", "__mangled", "_7"]
    fields = " ".join(
        f'optional string {word} = {n} [json_name = "f{n}"];' for n, word in enumerate(words, 1)
    )
    proto = f'syntax = "proto2"; package shop; message Case {{ {fields} }}'  # proto3 refuses it
    compiled = compile_protos(tmp_path, {"shop.proto": proto})
    names = field_names(compiled, "Case")
    assert len(set(names.values())) == len(names)
    assert names["fooBar"] == "foo_bar"
    assert not any(name.startswith("_") for name in names.values())
    assert_round_trips(compiled)


def test_maps_are_told_apart_from_what_is_named_like_their_entries(tmp_path: Path) -> None:
    compiled = compiled_from(
        tmp_path,
        """
        message LogEntry { string text = 1; }
        message Book {
          map<string, int64> a_b = 1;
          map<int32, string> ab = 2;
          repeated .shop.LogEntry lo_g = 3;
          map<string, LogEntry> pages = 4;
          map<bool, bytes> from = 5;
        }
        """,
    )
    assert len(set(field_names(compiled, "Book").values())) == 5
    assert_round_trips(compiled)


def test_nested_and_flat_names_do_not_collide(tmp_path: Path) -> None:
    compiled = compiled_from(
        tmp_path,
        """
        message Message { message Inner { string a = 1; } Inner inner = 1; MessageInner flat = 2; }
        message MessageInner { int32 b = 1; MessageInner2 other = 2; }
        message MessageInner2 { int32 c = 1; }
        message Http { message Route { string a = 1; } Route route = 1; HTTPRoute other = 2; }
        message HTTPRoute { bool d = 1; }
        message http_route { bool e = 1; }
        """,
    )
    names = classes(compiled)
    assert names["shop.MessageInner"] == "MessageInner"
    assert names["shop.Message.Inner"] == "MessageInner3"
    assert len(set(names.values())) == len(names)
    assert_round_trips(compiled)


def test_messages_called_like_keywords_and_imported_names(tmp_path: Path) -> None:
    words = [
        "None",
        "True",
        "False",
        "none",
        "Iterator",
        "Self",
        "Descriptor",
        "Deadline",
        "Message",
        "Enum",
        "List",
    ]
    messages = "\n".join(f"message {word} {{ string text = 1; }}" for word in [*words, "Str", "_1", "str"])
    compiled = compiled_from(
        tmp_path, messages + "\nmessage All { None none = 1; Self self = 2; Str text = 3; }"
    )
    names = classes(compiled)
    assert names["shop.None"] == "NoneMessage"
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in names.values())
    assert_round_trips(compiled)


def test_messages_without_a_letter_get_names_of_their_own(tmp_path: Path) -> None:
    words = ["_", "__", "___", "_1", "__1"]
    messages = " ".join(f"message {word} {{ string text = 1; }}" for word in words)
    compiled = compiled_from(tmp_path, f"{messages} message Message {{}} enum ____ {{ ZERO = 0; }}")
    names = classes(compiled)
    assert len(set(names.values())) == len(names) == len(words) + 2
    assert names["shop.Message"] == "Message"
    assert_round_trips(compiled)


def test_enum_members_are_valid_and_unique(tmp_path: Path) -> None:
    compiled = compiled_from(
        tmp_path,
        """
        message Uses {
          Odd odd = 1; Version version = 2; Alias alias = 3; repeated Odd many = 4; map<string, Odd> by = 5;
        }
        enum Odd {
          None = 0; name = 1; value = 2; mro = 3; int = 4; dict = 5; from_string = 6; _9 = 7; __x = 8; class = 9;
        }
        enum Version { VERSION_0 = 0; VERSION_1 = 1; }
        enum Alias { option allow_alias = true; ALIAS_A = 0; ALIAS_FIRST = 0; ALIAS_None = 1; }
        """,
    )
    odd = members(compiled, "shop.Odd")
    assert odd["None"] == "None_"
    assert odd["name"] == "name_"
    assert odd["dict"] == "dict_"
    assert odd["_9"] == "value_9"
    assert members(compiled, "shop.Version") == {"VERSION_0": "VERSION_0", "VERSION_1": "VERSION_1"}
    assert members(compiled, "shop.Alias") == {"ALIAS_A": "A", "ALIAS_FIRST": "FIRST", "ALIAS_None": "None_"}
    for file in compiled.files:
        for enum in file.enum_types_by_name.values():
            python_enum = compiled.python_class(compiled.names.enum(enum))
            for value in enum.values:
                member = python_enum[compiled.names.enum_value(value)]
                assert member.value == value.number
                if compiled.names.enum_value(value).rstrip("_") == value.name:
                    assert not member.proto_name
    assert_round_trips(compiled)


def test_every_spelling_of_a_few_letters_gets_a_name_of_its_own(tmp_path: Path) -> None:
    words = [
        first + middle + last
        for first in ("a", "A", "_a", "aB", "None", "int")
        for middle in ("", "_", "1")
        for last in ("", "B", "_1")
    ]
    unique = list(dict.fromkeys(words))
    fields = " ".join(
        f'optional string {word} = {n} [json_name = "f{n}"];' for n, word in enumerate(unique, 1)
    )
    values = " ".join(f"V{word} = {n};" for n, word in enumerate(unique))
    messages = " ".join(
        f"message {word} {{ message {word} {{ optional string x = 1; }} optional .shop.{word}.{word} y = 1; }}"
        for word in unique
    )
    proto = f'syntax = "proto2"; package shop; {messages} message All {{ {fields} enum V {{ {values} }} }}'
    compiled = compile_protos(tmp_path, {"shop.proto": proto})
    names = classes(compiled).values()
    assert len(set(names)) == len(list(names)) == 2 * len(unique) + 2
    assert len(set(field_names(compiled, "All").values())) == len(unique)
    assert len(set(members(compiled, "shop.All.V").values())) == len(unique)
    assert_round_trips(compiled)


def test_renamed_enums_keep_their_members(tmp_path: Path) -> None:
    compiled = compiled_from(
        tmp_path,
        """
        message Order { enum Status { STATUS_UNSPECIFIED = 0; STATUS_OPEN = 1; } Status status = 1; OrderStatus o = 2; }
        enum OrderStatus { ORDER_STATUS_UNSPECIFIED = 0; ORDER_STATUS_OPEN = 1; }
        """,
    )
    assert classes(compiled)["shop.Order.Status"] == "OrderStatus2"
    renamed = compiled.python_class(compiled.names.classes["shop.Order.Status"])
    assert [member.name for member in renamed] == ["STATUS_UNSPECIFIED", "STATUS_OPEN"]
    assert_round_trips(compiled)


def test_packages_with_keywords_and_module_names_can_be_imported(tmp_path: Path) -> None:
    protos = {
        "a.proto": """
            syntax = "proto3";
            package shop;
            import "b.proto"; import "c.proto"; import "d.proto"; import "google/protobuf/timestamp.proto";
            message Top {
              shop.import.v1.Inner inner = 1;
              shop.datetime.Inner other = 2;
              shop.import_.v1.Inner third = 3;
              google.protobuf.Timestamp at = 4;
              string import_v1 = 5;
              string import = 6;
            }""",
        "b.proto": 'syntax = "proto3"; package shop.import.v1; message Inner { string from = 1; }',
        "c.proto": 'syntax = "proto3"; package shop.datetime; message Inner { string class = 1; }',
        "d.proto": 'syntax = "proto3"; package shop.import_.v1; message Inner { string def = 1; }',
    }
    compiled = compile_protos(tmp_path, protos)
    assert compiled.names.packages["shop.datetime"] == "shop.datetime_"
    assert {compiled.names.packages[f"shop.{word}.v1"] for word in ("import", "import_")} == {
        "shop.import_.v1",
        "shop.import_2.v1",
    }
    assert_round_trips(compiled)


def test_files_without_a_package_work(tmp_path: Path) -> None:
    protos = {
        "a.proto": 'syntax = "proto3"; import "b.proto"; message A { string text = 1; deep.er.B b = 2; }',
        "b.proto": 'syntax = "proto3"; package deep.er; import "c.proto"; message B { C c = 1; }',
        "c.proto": 'syntax = "proto3"; message C { int32 n = 1; }',
    }
    compiled = compile_protos(tmp_path, protos)
    assert compiled.names.packages[""] == ""
    assert_round_trips(compiled)


def test_packages_may_use_each_other(tmp_path: Path) -> None:
    protos = {
        "a.proto": 'syntax = "proto3"; package x.a; import "b.proto"; message A { x.b.B b = 1; }',
        "b.proto": 'syntax = "proto3"; package x.b; import "c.proto"; message B { x.a.C c = 1; }',
        "c.proto": 'syntax = "proto3"; package x.a; message C { int32 n = 1; }',
    }
    assert_round_trips(compile_protos(tmp_path, protos))


def test_well_known_types_are_plain_values_where_betterproto2_unwraps_them(tmp_path: Path) -> None:
    compiled = compiled_from(
        tmp_path,
        """
        import "google/protobuf/any.proto"; import "google/protobuf/duration.proto";
        import "google/protobuf/empty.proto"; import "google/protobuf/field_mask.proto";
        import "google/protobuf/struct.proto"; import "google/protobuf/timestamp.proto";
        import "google/protobuf/wrappers.proto";
        message Wkt {
          google.protobuf.Timestamp at = 1;
          google.protobuf.Duration lasts = 2;
          google.protobuf.StringValue maybe = 3;
          google.protobuf.UInt64Value big = 4;
          google.protobuf.BoolValue flag = 5;
          google.protobuf.BytesValue raw = 6;
          google.protobuf.DoubleValue real = 7;
          google.protobuf.Empty empty = 8;
          google.protobuf.FieldMask mask = 9;
          repeated google.protobuf.Timestamp times = 10;
          map<string, google.protobuf.Duration> spans = 11;
        }
        message Dynamic { google.protobuf.Any any = 1; google.protobuf.Struct struct = 2; google.protobuf.Value v = 3; }
        """,
    )
    assert "google/protobuf/descriptor.proto" not in [file.name for file in compiled.names.files]
    assert "datetime.datetime | None" in compiled.sources["shop"]
    assert_round_trips(compiled)


@pytest.mark.parametrize("seconds", [0.0, 1.5, -1.5, -0.000001, -1.0, 86400.25])
def test_durations_keep_their_sign_and_their_fraction(tmp_path: Path, seconds: float) -> None:
    compiled = compiled_from(
        tmp_path,
        'import "google/protobuf/duration.proto"; message Wait { google.protobuf.Duration wait = 1; }',
    )
    descriptor = next(iter(all_messages(compiled.files)))
    wait = compiled.python_class(compiled.names.message(descriptor))(wait=timedelta(seconds=seconds))
    google: Any = message_factory.GetMessageClass(descriptor).FromString(bytes(wait))
    assert google.wait.ToTimedelta() == timedelta(seconds=seconds)


def test_presence_survives_in_proto2_and_editions(tmp_path: Path) -> None:
    protos = {
        "old.proto": """
            syntax = "proto2"; package old;
            message Old {
              required string must = 1; optional int32 may = 2; repeated int64 many = 3; optional Kind kind = 4;
              enum Kind { KIND_ONE = 1; KIND_TWO = 2; }
            }""",
        "new.proto": """
            edition = "2023"; package new;
            message New { int32 explicit = 1; int32 implicit = 2 [features.field_presence = IMPLICIT]; }""",
        "three.proto": """
            syntax = "proto3"; package three;
            message Three {
              optional int32 may = 1; int32 plain = 2; oneof either { string left = 3; int32 right = 4; }
            }""",
    }
    compiled = compile_protos(tmp_path, protos)
    assert not compiled.diagnostics
    assert_round_trips(compiled)
    old = compiled.python_class(PyClass("generated.pb.old", "Old"))
    assert bytes(old(must="", may=0)) == b"\x0a\x00\x10\x00"
    assert old.parse(b"").may is None


def test_any_keeps_the_names_of_the_contract(tmp_path: Path) -> None:
    compiled = compiled_from(
        tmp_path,
        """
        import "google/protobuf/any.proto";
        message Box { google.protobuf.Any any = 1; message Inner { string a = 1; } }
        message BoxInner { string b = 1; }
        """,
        package="shop.import.v1",
    )
    box = compiled.python_class(compiled.names.classes["shop.import.v1.Box"])
    inner = compiled.python_class(compiled.names.classes["shop.import.v1.Box.Inner"])
    any_class = compiled.python_class(compiled.names.classes["google.protobuf.Any"])
    pool = compiled.module("generated.pb.message_pool").default_message_pool
    packed = any_class.pack(inner(a="x"), pool)
    assert packed.type_url == "type.googleapis.com/shop.import.v1.Box.Inner"
    assert box(any=packed).any.unpack(pool) == inner(a="x")


def test_groups_are_an_error_at_their_line(tmp_path: Path) -> None:
    proto = (
        'syntax = "proto2"; package old; message Old { optional group Part = 1 { optional int32 a = 2; } }'
    )
    files = descriptors(tmp_path, {"old.proto": proto})
    found: list[Diagnostic] = []
    assign_names(files, found.append, lambda full_name: Span(full_name, 3, 5))
    assert [(finding.code, finding.at.path) for finding in found] == [("SG140", "old.Old.part")]


def test_comments_become_docstrings_whatever_they_hold(tmp_path: Path) -> None:
    docs = {
        "shop.Order": 'Ends in a "quote"',
        "shop.Order.a": 'A \\ backslash, """quotes""",\n  an indented line and a \x00 control character.',
        "shop.Kind": "What kind.",
        "shop.Kind.KIND_A": "The first.",
        "shop.Order.choice": "One of them.",
    }
    proto = """
        syntax = "proto3"; package shop;
        message Order {
          string a = 1; oneof choice { string b = 2; } string from = 3; string old = 4 [deprecated = true];
        }
        enum Kind { KIND_A = 0; }"""
    compiled = compile_protos(tmp_path, {"shop.proto": proto}, docs)
    source = compiled.sources["shop"]
    order = compiled.python_class(PyClass("generated.pb.shop", "Order"))
    assert 'Ends in a "quote"' in order.__doc__
    assert "One of them." in order.__doc__
    assert "What kind." in source
    assert "The first." in source
    assert "`from` in the contract." in source
    assert "Deprecated." in source
    assert "warnings" not in source
    assert_round_trips(compiled)


WIRE_ATTRIBUTES = [name for name in dir(Empty) if not name.startswith("_")]


def test_a_field_that_hides_what_google_protobuf_needs_is_refused_at_its_place(tmp_path: Path) -> None:
    assert {"SerializeToString", "DESCRIPTOR", "WhichOneof"} <= {*WIRE_ATTRIBUTES}
    fields = " ".join(f"optional string {name} = {n};" for n, name in enumerate(WIRE_ATTRIBUTES, 1))
    proto = f'syntax = "proto2"; package shop; message Hiding {{ {fields} }} message Clear {{}}'
    found: list[Diagnostic] = []
    assign_names(descriptors(tmp_path, {"shop.proto": proto}), found.append, lambda name: Span(name))
    assert [(one.code, one.at.path) for one in found] == [
        ("SG142", f"shop.Hiding.{name}") for name in WIRE_ATTRIBUTES
    ]


def test_the_packages_of_well_known_types_keep_their_names(tmp_path: Path) -> None:
    """By which betterproto2 knows that a Timestamp is a datetime."""
    protos = {
        "a.proto": """
            syntax = "proto3"; package Google.Protobuf;
            import "google/protobuf/timestamp.proto";
            message At { google.protobuf.Timestamp at = 1; }""",
    }
    compiled = compile_protos(tmp_path, protos)
    assert compiled.names.packages["google.protobuf"] == "google.protobuf"
    assert "datetime.datetime | None" in compiled.sources[compiled.names.packages["Google.Protobuf"]]
    assert_round_trips(compiled)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("order", "order"),
        ("class", "class_"),
        ("9lives", "_9lives"),
        ("a-b", "a_b"),
        ("", "_"),
        ("größe", "gr__e"),
    ],
)
def test_identifiers_are_valid(name: str, expected: str) -> None:
    assert identifier(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PlaceOrder", "place_order"),
        ("getHTTPRoute2", "get_http_route2"),
        ("GetV2", "get_v2"),
        ("order_id", "order_id"),
        ("Already_Mixed", "already_mixed"),
        ("HTTP", "http"),
    ],
)
def test_snake_case_reads_like_words(name: str, expected: str) -> None:
    assert snake_case(name) == expected
