"""What no contract of the other tests has is written as google.protobuf's own writer has it."""

import json
from typing import Any, cast

import pytest
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    field_mask_pb2,
    json_format,
    message_factory,
    struct_pb2,
    text_format,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from sagagen.runtime.edge.json.protojson import AnswerNotWritten, JsonWriter

ODD = """
name: "odd.proto" package: "odd" syntax: "proto2"
dependency: "google/protobuf/any.proto" dependency: "google/protobuf/struct.proto"
dependency: "google/protobuf/field_mask.proto"
enum_type { name: "Size" value { name: "SMALL" number: 1 } value { name: "LARGE" number: 2 } }
message_type {
  name: "Odd"
  field { name: "class" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "ByteSize" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL }
  field { name: "HasField" number: 3 type: TYPE_INT64 label: LABEL_REPEATED }
  field { name: "sizes" number: 4 type: TYPE_ENUM type_name: ".odd.Size" label: LABEL_REPEATED }
  field { name: "size" number: 5 type: TYPE_ENUM type_name: ".odd.Size" label: LABEL_OPTIONAL }
  field { name: "by_truth" number: 6 type: TYPE_MESSAGE type_name: ".odd.Odd.ByTruthEntry" label: LABEL_REPEATED }
  field { name: "by_size" number: 7 type: TYPE_MESSAGE type_name: ".odd.Odd.BySizeEntry" label: LABEL_REPEATED }
  field { name: "nothing" number: 8 type: TYPE_ENUM type_name: ".google.protobuf.NullValue" label: LABEL_OPTIONAL }
  field { name: "anything" number: 9 type: TYPE_MESSAGE type_name: ".google.protobuf.Any" label: LABEL_OPTIONAL }
  field { name: "part" number: 10 type: TYPE_GROUP type_name: ".odd.Odd.Part" label: LABEL_OPTIONAL }
  field { name: "open" number: 11 type: TYPE_MESSAGE type_name: ".odd.Open" label: LABEL_REPEATED }
  field { name: "mask" number: 12 type: TYPE_MESSAGE type_name: ".google.protobuf.FieldMask" label: LABEL_OPTIONAL }
  field { name: "message" number: 13 type: TYPE_MESSAGE type_name: ".odd.Odd" label: LABEL_OPTIONAL }
  field { name: "members" number: 14 type: TYPE_FLOAT label: LABEL_REPEATED }
  field { name: "doubles" number: 15 type: TYPE_DOUBLE label: LABEL_REPEATED }
  nested_type {
    name: "ByTruthEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_BOOL label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL }
  }
  nested_type {
    name: "BySizeEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_UINT64 label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".odd.Odd" label: LABEL_OPTIONAL }
  }
  nested_type {
    name: "Part"
    field { name: "weight" number: 1 type: TYPE_FLOAT label: LABEL_OPTIONAL }
  }
}
message_type {
  name: "Open" extension_range { start: 100 end: 200 }
  field { name: "own" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
}
extension { name: "more" extendee: ".odd.Open" number: 100 type: TYPE_INT64 label: LABEL_OPTIONAL }
"""
"""A contract may import such files, though it can't be written like this itself."""


@pytest.fixture(scope="module")
def odd() -> Any:
    file = text_format.Parse(ODD, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    for needed in (any_pb2, struct_pb2, field_mask_pb2):
        pool.AddSerializedFile(needed.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("odd.Odd"))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"class": "keyword", "ByteSize": 7, "HasField": ["9007199254740993", "-1"]},
        {"sizes": ["SMALL", "LARGE"], "size": "LARGE", "nothing": None},
        {"by_truth": {"true": "AP8=", "false": ""}, "by_size": {"18446744073709551615": {"class": "x"}}},
        {"part": {"weight": 0.1}, "mask": "a,b.cD", "message": {"message": {"class": "deep"}}},
        {"open": [{"own": "a"}, {"own": "b", "[odd.more]": "12"}]},
        {"members": [0.1, 16777217, "NaN", "Infinity", "-Infinity"], "doubles": [0.1, 1e300, -0.0, "NaN"]},
        {"anything": {"@type": "type.googleapis.com/odd.Odd", "class": "in Any"}},
    ],
)
def test_it_writes_what_googles_writer_writes(odd: Any, value: dict[str, object]) -> None:
    message = json_format.ParseDict(value, odd(), descriptor_pool=odd.DESCRIPTOR.file.pool)
    written = json.loads(JsonWriter(odd).write(message.SerializeToString()))
    assert _comparable(written) == _comparable(json.loads(json.dumps(_by_google(message))))


def test_an_unset_optional_scalar_as_the_body_is_null(odd: Any) -> None:
    assert JsonWriter(odd, "size").write(b"") == b"null"
    assert JsonWriter(odd, "size").write(odd(size=2).SerializeToString()) == b'"LARGE"'


def test_an_any_of_a_type_that_no_pool_has_is_an_error_and_not_a_guess(odd: Any) -> None:
    message = odd()
    message.anything.type_url = "type.googleapis.com/odd.Missing"
    with pytest.raises(AnswerNotWritten, match=r"odd\.Missing"):
        JsonWriter(odd).write(message.SerializeToString())


def _by_google(message: Message) -> dict[str, object]:
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        descriptor_pool=cast(
            DescriptorPool, message.DESCRIPTOR.file.pool
        ),  # or the C one, which does as well
    )


def _comparable(value: object) -> object:
    """With -0.0 apart from 0.0, which are equal."""
    return json.dumps(value, sort_keys=True)
