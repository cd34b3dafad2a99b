"""Rules and types of a message, held against what the gateway's own reader takes: the schema never asks for more."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_lab import project_with, validator

from sagagen.contract import read_contract
from sagagen.emit.openapi import openapi
from sagagen.runtime.edge.json.protojson import JsonError, JsonReader
from sagagen.runtime.messages.schema import Schema

MESSAGE = "tiny.v1.CountUpRequest"
FIELDS = """
  enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; BLUE = 2; }
  string name = 10 [(buf.validate.field).string = {min_len: 2, max_len: 4, example: "abc"}];
  optional string nick = 11 [(buf.validate.field).string.pattern = "^[a-z]+$"];
  optional string code = 12 [(buf.validate.field).string.prefix = "a.b"];
  optional string kind = 13 [(buf.validate.field).string = {in: ["x", "y"]}];
  optional string mail = 14 [(buf.validate.field).string.email = true];
  int32 count = 20 [(buf.validate.field).int32 = {gt: 0, lte: 10}];
  optional uint32 size = 21 [(buf.validate.field).uint32.gte = 5];
  optional int32 outside = 22 [(buf.validate.field).int32 = {gt: 5, lt: 3}];
  optional int64 wide = 23 [(buf.validate.field).int64 = {gt: 5, example: 6}];
  optional double share = 24 [(buf.validate.field).double = {gte: 0, finite: true}];
  optional double ratio = 25 [(buf.validate.field).double.gt = 1];
  optional bool agreed = 26 [(buf.validate.field).bool.const = true];
  repeated string tags = 30 [(buf.validate.field).repeated = {
    min_items: 1, max_items: 2, unique: true, items: {string: {min_len: 1}}}];
  map<string, int32> stock = 31 [(buf.validate.field).map = {
    max_pairs: 1, keys: {string: {max_len: 3}}, values: {int32: {gte: 0}}}];
  map<int64, bool> flags = 32;
  Colour colour = 40 [(buf.validate.field).enum = {not_in: [0]}];
  repeated Colour colours = 43 [(buf.validate.field).repeated.items.enum = {in: [1, 2]}];
  map<string, Colour> painted = 44 [(buf.validate.field).map.values.enum.const = 1];
  string guest = 60 [(buf.validate.field).string.email = true];
  string order_id = 61 [(buf.validate.field).string.uuid = true];
  string sku = 62 [(buf.validate.field).string.pattern = "^[A-Z]{3}$"];
  int64 total = 63 [(buf.validate.field).int64 = {gt: 0, lte: 1200}];
  bytes raw = 64 [(buf.validate.field).bytes = {min_len: 2, max_len: 4}];
  string free = 65 [(buf.validate.field).cel = {id: "free", message: "not empty", expression: "this != ''"}];
  optional int64 debt = 66 [(buf.validate.field).int64 = {gte: -90, lt: 7}];
  optional uint64 part = 67 [(buf.validate.field).uint64 = {in: [3, 18446744073709551615]}];
  optional sint64 other = 68 [(buf.validate.field).sint64 = {not_in: [-3]}];
  optional fixed64 only = 69 [(buf.validate.field).fixed64.const = 12];
  optional int64 hollow = 70 [(buf.validate.field).int64 = {gt: 5, lt: 3}];
  optional string must = 41 [(buf.validate.field).required = true];
  string perhaps = 42 [(buf.validate.field) = {ignore: IGNORE_IF_ZERO_VALUE, string: {min_len: 3}}];
  oneof way { option (buf.validate.oneof).required = true; string left = 50; int32 right = 51; }
"""
VALID: dict[str, Any] = {
    "name": "abc", "count": 1, "tags": ["t"], "must": "m", "left": "l", "colour": "RED", "guest": "a@b.c",
    "order_id": "8e03978e-40d5-43e8-bc93-6894a57f9324", "sku": "TEA", "total": "1", "raw": "AAA=", "free": "x",
}  # fmt: skip
"""The least that the message needs."""


class Contract:
    def __init__(self, root: Path) -> None:
        mesh, findings = read_contract(root)
        assert mesh, findings
        self._schema = Schema(mesh.descriptors)
        self._reader = JsonReader(self._schema.descriptor(MESSAGE), self._schema.pool)
        self.document = openapi(mesh)
        self.validator: Draft202012Validator = validator(self.document, MESSAGE)

    def takes(self, value: object) -> bool:
        """What the gateway does with it."""
        message = self._schema.message_type(MESSAGE)()
        try:
            self._reader.read(json.dumps(value).encode(), message)
        except JsonError:
            return False
        return not self._schema.violations(message)

    def allows(self, value: Any) -> bool:
        """What the document says of it."""
        return bool(self.validator.is_valid(value))  # pyright: ignore[reportUnknownMemberType] - an instance may be anything


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return Contract(project_with(tmp_path_factory.mktemp("rules"), FIELDS))


TRIED: dict[str, list[object]] = {
    "name": ["a", "ab", "\U0001f600\U0001f600", "abcd", "abcde", 1],
    "nick": ["", "a", "A", "a1"],
    "code": ["a.b", "a.bc", "axb", "b"],
    "kind": ["x", "z", ""],
    "count": [0, 1, 10, 11, 1.5, -1],
    "size": [4, 5, 4294967295, 4294967296],
    "outside": [4, 3, 5, 6, 2, 2**31],
    "share": [0, -1, 0.5, "NaN", "Infinity", "-Infinity"],
    "ratio": [1, 2, "NaN", "Infinity", "-Infinity"],
    "agreed": [True, False, "true"],
    "tags": [[], ["a"], ["a", "a"], ["a", "b"], ["a", "b", "c"], [""], "a"],
    "stock": [{}, {"a": 1}, {"a": -1}, {"abcd": 1}, {"a": 1, "b": 1}, {"a": "x"}],
    "flags": [{"1": True}, {"x": True}, {"-7": False}],
    "colour": ["RED", "GREEN", "COLOUR_UNSPECIFIED"],
    "colours": [[], ["RED", "BLUE"], ["COLOUR_UNSPECIFIED"]],
    "painted": [{}, {"a": "RED"}, {"a": "BLUE"}],
    "sku": ["", "TEA", "tea"],
    "total": ["0", "1", "1200", "1201", "-1"],
    "raw": ["", "AA", "AAA", "AAA=", "AAAA", "AAAAAA==", "AAAAAAAAAAAA"],
    "debt": ["-91", "-90", "0", "6", "7"],
    "part": ["3", "4", "18446744073709551615"],
    "other": ["-3", "3"],
    "only": ["12", "13"],
    "hollow": ["3", "5", "9"],
    "wide": ["5", "6", "9223372036854775807"],
    "must": ["", "x"],
    "right": [1],
    "unknown": [1],
}


@pytest.mark.parametrize(
    ("field", "value"), [(name, value) for name, all_ in TRIED.items() for value in all_]
)
def test_document_and_gateway_agree(contract: Contract, field: str, value: object) -> None:
    tried = {**VALID, field: value}
    if (field == "outside" and value in (3, 4, 5)) or (field == "hollow" and value in ("3", "5")):
        assert contract.allows(tried), "a bound that JSON schema can't say is left out"
    else:
        assert contract.allows(tried) is contract.takes(tried)


@pytest.mark.parametrize("left_out", [(), *((name,) for name in VALID)])
def test_what_may_be_left_out_is_told(contract: Contract, left_out: tuple[str, ...]) -> None:
    tried = {name: value for name, value in VALID.items() if name not in left_out}
    assert contract.allows(tried) is contract.takes(tried) is (not left_out)


def test_what_json_schema_cannot_say_is_left_out_rather_than_wrong(contract: Contract) -> None:
    properties = contract.document["components"]["schemas"][MESSAGE]["properties"]
    assert properties["wide"] == {
        "type": "string",
        "format": "int64",
        "pattern": "^(?:[6-9]|[1-9][0-9]{1,18})$",
        "examples": ["6"],
    }
    assert "minLength" not in properties["perhaps"]
    assert properties["mail"]["format"] == "email"
    assert properties["name"]["examples"] == ["abc"]
