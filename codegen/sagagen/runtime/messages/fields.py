"""What a field is, of its descriptor."""

from google.protobuf.descriptor import FieldDescriptor


def is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type) and field.message_type.GetOptions().map_entry


def entry_fields(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor]:
    """Key and value of a map field's entries."""
    assert field.message_type, "a map field's type is the message of its entries"
    members = field.message_type.fields_by_name
    return members["key"], members["value"]
