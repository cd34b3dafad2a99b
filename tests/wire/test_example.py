"""The request that `sagagen up` prints: it keeps every rule that it can be made from, and a field's example wins."""

import re

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from sagagen.contract import load
from sagagen.runtime.messages.example import example
from sagagen.runtime.messages.example_pattern import matching
from sagagen.runtime.messages.schema import Schema

HEADER = """syntax = "proto3";
package case;
import "buf/validate/validate.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; BLUE = 2; }
message Tree { string name = 1; repeated Tree below = 2; }
"""
FORMS = (
    "email", "hostname", "ip", "ipv4", "ipv6", "uri", "uri_ref", "address", "uuid", "tuuid", "ip_with_prefixlen",
    "ipv4_with_prefixlen", "ipv6_with_prefixlen", "ip_prefix", "ipv4_prefix", "ipv6_prefix", "host_and_port", "ulid",
)  # fmt: skip
STRINGS = (
    "min_len: 20", "max_len: 2", "len: 7", "min_bytes: 30", "max_bytes: 3", "len_bytes: 5", 'const: "it"',
    'in: ["x", "y"]', 'not_in: ["nothing"]', 'prefix: "ORD-"', 'suffix: "-DE"', 'contains: "@"',
    'prefix: "a" suffix: "z" min_len: 9', 'prefix: "ORDER-" max_len: 6', 'pattern: "^[A-Z]{3}$"',
    r'pattern: "^\\d{4}-\\d{2}$"', 'pattern: "^(?:yes|no)$"', 'pattern: "^[a-z][a-z0-9_]*$" min_len: 1',
    r'pattern: "^\\+?[1-9][0-9]{1,14}$"', 'pattern: "^[^a-z]+$"', 'pattern: "^[[:upper:]]{2}[[:digit:]]+$"',
    "well_known_regex: KNOWN_REGEX_HTTP_HEADER_NAME",
)  # fmt: skip
NUMBERS = (
    "gt: 5", "gte: 5", "lt: -3", "lte: -3", "gt: 3 lt: 5", "gte: 7 lte: 7", "const: 9", "in: [4, 6]", "not_in: [1]",
    "gt: 5 lt: 3", "gt: 0 not_in: [1, 2]",
)  # fmt: skip
SOME = "[(buf.validate.field)"
CEL = """cel: {id: "c" message: "m" expression: "this == 'it'"}"""
LISTED = "min_items: 3 unique: true"
FIELDS = {
    **{f"string {form}": f"string f = 1 {SOME}.string.{form} = true];" for form in FORMS},
    **{f"string {rule}": f"string f = 1 {SOME}.string = {{{rule}}}];" for rule in STRINGS},
    **{
        f"{kind} {rule}": f"{kind} f = 1 {SOME}.{kind} = {{{rule}}}];"
        for kind in ("int32", "sint64", "double")
        for rule in NUMBERS
    },
    "a fraction": f"double f = 1 {SOME}.double = {{gt: 0 lt: 0.25}}];",
    "unsigned": f"uint64 f = 1 {SOME}.uint64 = {{gt: 18446744073709551613}}];",
    "bytes": f"bytes f = 1 {SOME}.bytes = {{min_len: 12}}];",
    "few bytes": f"bytes f = 1 {SOME}.bytes = {{max_len: 3}}];",
    "bytes that begin so": f'bytes f = 1 {SOME}.bytes = {{prefix: "ab" len: 4}}];',
    "bytes without rules": "bytes f = 1;",
    "agreed": f"bool f = 1 {SOME}.bool.const = true];",
    "not agreed": f"bool f = 1 {SOME}.bool.const = false];",
    "an enum": f"Colour f = 1 {SOME}.enum = {{not_in: [0, 2]}}];",
    "one of an enum": f"Colour f = 1 {SOME}.enum = {{const: 1}}];",
    "many": f"repeated string f = 1 {SOME}.repeated = {{{LISTED} items: {{string: {{min_len: 4}}}}}}];",
    "none": f"repeated string f = 1 {SOME}.repeated = {{max_items: 0}}];",
    "numbers apart": f"repeated int32 f = 1 {SOME}.repeated = {{{LISTED}}}];",
    "a map": f"map<string, int32> f = 1 {SOME}.map = {{min_pairs: 2 values: {{int32: {{gt: 8}}}}}}];",
    "a map by number": f"map<int32, string> f = 1 {SOME}.map = {{min_pairs: 1 keys: {{int32: {{gt: 8}}}}}}];",
    "a time": "google.protobuf.Timestamp f = 1;",
    "a time to come": f"google.protobuf.Timestamp f = 1 {SOME}.timestamp.gt_now = true];",
    "a time gone by": f"google.protobuf.Timestamp f = 1 {SOME}.timestamp.lt_now = true];",
    "a time near": f"google.protobuf.Timestamp f = 1 {SOME}.timestamp.within = {{seconds: 3600}}];",
    "a time after": f"google.protobuf.Timestamp f = 1 {SOME}.timestamp.gt = {{seconds: 4102444800}}];",
    "a duration": "google.protobuf.Duration f = 1;",
    "a long duration": f"google.protobuf.Duration f = 1 {SOME}.duration.gte = {{seconds: 3600}}];",
    "a short duration": f"google.protobuf.Duration f = 1 {SOME}.duration = {{gt: {{}} lt: {{nanos: 10}}}}];",
    "wrappers": "google.protobuf.StringValue f = 1; google.protobuf.Int64Value g = 2;",
    "a wrapper of bytes": "google.protobuf.BytesValue f = 1;",
    "a wrapper with rules": f"google.protobuf.StringValue f = 1 {SOME}.string.uuid = true];",
    "loose types": "google.protobuf.Struct f = 1; google.protobuf.Value g = 2; google.protobuf.ListValue h = 3;",
    "others": "google.protobuf.FieldMask f = 1; google.protobuf.Any g = 2;",
    "a tree": "Tree f = 1;",
    "a choice": "oneof o { Tree f = 1; Tree g = 2; string h = 3; }",
    "a required choice": "oneof o { option (buf.validate.oneof).required = true; string f = 1; int32 g = 2; }",
    "a required optional": f"optional string f = 1 {SOME} = {{required: true string: {{email: true}}}}];",
    "an optional that nothing can be made up for": f'optional string f = 1 {SOME}.string.pattern = "^(?i)x\\\\b.+$"];',
    "an example": f'string f = 1 {SOME} = {{{CEL} string: {{example: "it"}}}}];',
    "an example in bytes": f'bytes f = 1 {SOME}.bytes = {{example: "ab", len: 2}}];',
    "an example of a time": f"google.protobuf.Timestamp f = 1 {SOME}.timestamp = {{example: {{seconds: 7}}}}];",
}  # fmt: skip
HOPELESS = {
    "a rule in CEL": f"string f = 1 {SOME} = {{{CEL}}}];",
}


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    root = tmp_path_factory.mktemp("example")
    (root / "contracts").mkdir()
    messages = [
        f"message M{n} {{ {field} }}\n" for n, field in enumerate([*FIELDS.values(), *HOPELESS.values()])
    ]
    (root / "contracts" / "case.proto").write_text(HEADER + "".join(messages))
    sources, found = load(root)
    assert not [each for each in found if each.severity == "error" and each.code != "SG003"], found
    return Schema(sources.image)


@pytest.mark.parametrize("number", range(len(FIELDS)), ids=[*FIELDS])
def test_it_keeps_every_rule(schema: Schema, number: int) -> None:
    descriptor = schema.descriptor(f"case.M{number}")
    made = example(schema, descriptor)
    assert made is not None
    message = json_format.ParseDict(
        made, schema.message_type(descriptor.full_name)(), descriptor_pool=schema.pool
    )
    assert list(schema.violations(message)) == []


@pytest.mark.parametrize("number", range(len(HOPELESS)), ids=[*HOPELESS])
def test_where_none_can_be_made_up_none_is_shown(schema: Schema, number: int) -> None:
    assert example(schema, schema.descriptor(f"case.M{len(FIELDS) + number}")) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("an example", "it"), ("an example in bytes", "YWI="), ("an example of a time", "1970-01-01T00:00:07Z")],
)
def test_the_contracts_own_example_wins(schema: Schema, name: str, value: object) -> None:
    assert example(schema, schema.descriptor(f"case.M{[*FIELDS].index(name)}")) == {"f": value}


PATTERNS = st.recursive(
    st.sampled_from(
        ["a", "[a-c]", "[^a-c]", r"\d", r"\w", ".", r"\.", "[0-9_]", "x{2,3}", "b+", "c*", "d?", "[]x]", r"[\d-]"]
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        inner.map(lambda part: f"(?P<n>{part})" if "(?P" not in part else part),
    ),
    max_leaves=8,
)  # fmt: skip


@given(PATTERNS)
def test_a_pattern_is_matched(pattern: str) -> None:
    whole = f"^{re.sub(r'[?]P<n>', '', pattern)}$"
    assert re.search(whole, matching(whole))


@pytest.mark.parametrize("pattern", ["(", "[a", "(?:(?:a{900}){900}){900}", "a\\"])
def test_what_is_no_pattern_or_has_no_short_text_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        matching(pattern)
