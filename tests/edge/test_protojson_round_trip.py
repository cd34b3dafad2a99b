"""Whatever google.protobuf writes as JSON, in either spelling of names, is read again as the same message."""

import json
import math
from typing import Any

import pytest
from edge_library import library
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from sagagen.runtime.edge.json.protojson import JsonError, JsonReader, JsonWriter

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def one_nan(number: float) -> float:
    """JSON has a single "NaN": its sign and payload bits are lost, as ProtoJSON has it."""
    return math.nan if math.isnan(number) else number


BOOK = st.fixed_dictionaries(
    {},
    optional={
        "title": TEXT,
        "genre": st.integers(-(2**31), 2**31 - 1),
        "pages": st.integers(0, 2**32 - 1),
        "copies": st.integers(-(2**63), 2**63 - 1),
        "serial": st.integers(0, 2**64 - 1),
        "price": st.floats().map(one_nan),
        "weight": st.floats(width=32).map(one_nan),
        "is_lent": st.booleans(),
        "cover": st.binary(max_size=8),
        "tags": st.lists(TEXT, max_size=3),
        "stock_by_branch": st.dictionaries(TEXT, st.integers(-(2**31), 2**31 - 1), max_size=3),
        "flags": st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.booleans(), max_size=3),
        "publish_time": st.fixed_dictionaries(
            {"seconds": st.integers(-62135596800, 253402300799), "nanos": st.integers(0, 999_999_999)}
        ),
        "loan_period": st.fixed_dictionaries({"seconds": st.integers(0, 315576000000)}),
        "edition": st.fixed_dictionaries({"value": st.integers(-(2**31), 2**31 - 1)}),
        "subtitle": TEXT,
        "donor": TEXT,
    },
)


@settings(max_examples=60)
@given(BOOK, st.lists(BOOK, max_size=2), st.dictionaries(TEXT, JSON, max_size=3), JSON, st.booleans())
def test_what_is_written_is_read_again(
    members: dict[str, Any], sequels: list[dict[str, Any]], extras: dict[str, Any], note: Any, is_proto: bool
) -> None:
    schema = library().schema
    book_type: Any = schema.message_type("library.v1.Book")
    book = book_type(**members, sequels=sequels)
    json_format.ParseDict({"extras": extras, "note": note}, book)
    data = json_format.MessageToJson(book, preserving_proto_field_name=is_proto).encode()
    read_back = book_type()
    reader = JsonReader(schema.descriptor("library.v1.Book"), schema.pool)
    reader.read(data, read_back)
    assert read_back.SerializeToString(deterministic=True) == book.SerializeToString(deterministic=True)
    told = json_format.MessageToDict(
        book, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    written = JsonWriter(book_type).write(book.SerializeToString())
    assert json.loads(written) == json.loads(json.dumps(told))
    once_more = book_type()
    reader.read(written, once_more)
    assert once_more.SerializeToString(deterministic=True) == book.SerializeToString(deterministic=True)


@pytest.mark.parametrize("spelled", ["3.4028235e+38", '"-3.4028235e+38"', "3.4028235677973362e+38"])
def test_what_rounds_to_the_largest_float_is_that(spelled: str) -> None:
    schema = library().schema
    book: Any = schema.message_type("library.v1.Book")()
    reader = JsonReader(schema.descriptor("library.v1.Book"), schema.pool)
    reader.read(f'{{"weight": {spelled}, "sequels": [{{"weight": {spelled}}}]}}'.encode(), book)
    assert abs(book.weight) == abs(book.sequels[0].weight) == 3.4028234663852886e38
    with pytest.raises(JsonError, match="larger than the field can hold"):
        reader.read(b'{"weight": 3.4028235677973366e+38}', book)
