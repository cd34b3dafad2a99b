"""Payloads for people: nothing that the contract redacts, however deep it lies."""

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from sagagen.runtime.admin.redaction import redacted
from sagagen.runtime.wire import REDACTED

FILE = """
name: "t.proto" package: "t" syntax: "proto3" dependency: "google/protobuf/any.proto"
message_type {
  name: "Card"
  field { name: "number" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL options { debug_redact: true } }
  field { name: "kind" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type {
  name: "Order"
  field { name: "card" number: 1 type: TYPE_MESSAGE type_name: ".t.Card" label: LABEL_OPTIONAL }
  field { name: "cards" number: 2 type: TYPE_MESSAGE type_name: ".t.Card" label: LABEL_REPEATED }
  field { name: "by_id" number: 3 type: TYPE_MESSAGE type_name: ".t.Order.ByIdEntry" label: LABEL_REPEATED }
  field { name: "more" number: 4 type: TYPE_MESSAGE type_name: ".google.protobuf.Any" label: LABEL_OPTIONAL }
  field { name: "names" number: 5 type: TYPE_STRING label: LABEL_REPEATED options { debug_redact: true } }
  nested_type {
    name: "ByIdEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_BOOL label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".t.Card" label: LABEL_OPTIONAL }
  }
}
"""


def order_class() -> type[Message]:
    from google.protobuf import text_format

    pool = descriptor_pool.DescriptorPool()
    any_file = descriptor_pb2.FileDescriptorProto()
    any_pb2.DESCRIPTOR.CopyToProto(any_file)
    pool.Add(any_file)
    pool.Add(text_format.Parse(FILE, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Order"))


def test_what_is_redacted_is_redacted_at_every_depth() -> None:
    from google.protobuf import json_format

    card = {"number": "4111", "kind": "credit"}
    given = {"card": card, "cards": [card, {"kind": "x"}], "by_id": {"true": card}, "names": ["ann"]}
    shown = redacted(json_format.ParseDict(given, order_class()()))
    hidden = {"number": REDACTED, "kind": "credit"}
    assert shown == {
        "card": hidden,
        "cards": [hidden, {"kind": "x"}],
        "by_id": {"true": hidden},
        "names": REDACTED,
    }
