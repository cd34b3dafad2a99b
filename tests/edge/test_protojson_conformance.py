"""What ProtoJSON takes and refuses, by the names of the tests in protobuf's conformance suite, and beyond it.

The suite's own runner speaks of its own messages; here each case stands for a field of the same type in a Book.
"""

import json
from typing import Any

import pytest
from test_transcoding import CREATE, read, refusal

TAKEN: list[tuple[str, str, Any]] = [
    ("DurationMinValue", '{"loan_period": "-315576000000.999999999s"}', "-315576000000.999999999s"),
    ("DurationMaxValue", '{"loan_period": "315576000000.999999999s"}', "315576000000.999999999s"),
    ("DurationRepeatedValue", '{"loan_period": "1.5s"}', "1.500s"),
    ("DurationNegativeNanos", '{"loan_period": "-0.5s"}', "-0.500s"),
    ("TimestampMinValue", '{"publish_time": "0001-01-01T00:00:00Z"}', "0001-01-01T00:00:00Z"),
    ("TimestampMaxValue", '{"publish_time": "9999-12-31T23:59:59.999999999Z"}', "9999-12-31T23:59:59.999999999Z"),
    ("TimestampWithPositiveOffset", '{"publish_time": "1970-01-01T08:00:01+08:00"}', "1970-01-01T00:00:01Z"),
    ("TimestampWithNegativeOffset", '{"publish_time": "1969-12-31T16:00:01-08:00"}', "1970-01-01T00:00:01Z"),
    ("TimestampLeap", '{"publish_time": "1993-02-10T00:00:00.000Z"}', "1993-02-10T00:00:00Z"),
    ("FieldMask", '{"shown": "title,sequels.isLent"}', "title,sequels.isLent"),
    ("EmptyFieldMask", '{"shown": ""}', ""),
    ("Int32FieldMaxFloatValue", '{"pages": 4294967295.0}', 4294967295),
    ("Int64FieldMaxValueNotQuoted", '{"copies": 9223372036854775807}', "9223372036854775807"),
    ("Int32FieldExponentialFormat", '{"pages": 1e5}', 100000),
    ("BytesFieldBase64Url", '{"cover": "-_"}', "+w=="),
    ("EnumFieldNumericValueNonZero", '{"genre": 1}', "NOVEL"),
    ("EnumFieldUnknownValue", '{"genre": 123}', 123),
    ("WrapperTypes", '{"edition": "7"}', 7),
    ("BoolMapEscapedKey", '{"flags": {"-9223372036854775808": true}}', {"-9223372036854775808": True}),
    ("OneofFieldNullFirst", '{"publisher": null, "donor": "x"}', None),
    ("StringFieldSurrogatePair", r'{"title": "\ud83d\ude01"}', "😁"),
]  # fmt: skip
REFUSED = [
    ("DurationMissingS", '{"loan_period": "1"}'),
    ("DurationJsonInputTooSmall", '{"loan_period": "-315576000001s"}'),
    ("DurationJsonInputTooLarge", '{"loan_period": "315576000001s"}'),
    ("a duration with an underscore", '{"loan_period": "1_0s"}'),
    ("a duration after a space", '{"loan_period": " 1s"}'),
    ("a duration with a plus", '{"loan_period": "+1s"}'),
    ("a duration of full-width digits", '{"loan_period": "１s"}'),
    ("a duration with a tenth digit", '{"loan_period": "1.0000000001s"}'),
    ("a duration without a whole part", '{"loan_period": ".5s"}'),
    ("a duration that ends in its point", '{"loan_period": "1.s"}'),
    ("a duration in exponents", '{"loan_period": "1e3s"}'),
    ("a duration of minutes", '{"loan_period": "1m"}'),
    ("TimestampJsonInputTooSmall", '{"publish_time": "0000-01-01T00:00:00Z"}'),
    ("TimestampJsonInputTooLarge", '{"publish_time": "10000-01-01T00:00:00Z"}'),
    ("TimestampJsonInputMissingZ", '{"publish_time": "0001-01-01T00:00:00"}'),
    ("TimestampJsonInputMissingT", '{"publish_time": "0001-01-01 00:00:00Z"}'),
    ("TimestampJsonInputLowercaseZ", '{"publish_time": "0001-01-01T00:00:00z"}'),
    ("TimestampJsonInputLowercaseT", '{"publish_time": "0001-01-01t00:00:00Z"}'),
    ("a time of short parts", '{"publish_time": "2020-1-1T0:0:0Z"}'),
    ("an offset of 25 hours", '{"publish_time": "2020-01-01T00:00:00+25:00"}'),
    ("an offset of 60 minutes", '{"publish_time": "2020-01-01T00:00:00+01:60"}'),
    ("an offset without a colon", '{"publish_time": "2020-01-01T00:00:00+0100"}'),
    ("a time before the year 1, by its offset", '{"publish_time": "0001-01-01T00:00:00+00:01"}'),
    ("a time after the year 9999, by its offset", '{"publish_time": "9999-12-31T23:59:59-00:01"}'),
    ("the 30th of February", '{"publish_time": "2020-02-30T00:00:00Z"}'),
    ("a time of ten digits", '{"publish_time": "2020-01-01T00:00:00.0123456789Z"}'),
    ("a leap second", '{"publish_time": "2016-12-31T23:59:60Z"}'),
    ("FieldMaskInvalidCharacter", '{"shown": "title,is_lent"}'),
    ("a mask with a space", '{"shown": "a b"}'),
    ("a mask with an empty path", '{"shown": "a,,b"}'),
    ("a mask that ends in a comma", '{"shown": "a,"}'),
    ("a mask with an empty part", '{"shown": "a..b"}'),
    ("Int32MapFieldKeyNotQuoted", '{"flags": {0: true}}'),
    ("a key that is no whole number", '{"flags": {"1.0": true}}'),
    ("a key with a leading zero", '{"flags": {"01": true}}'),
    ("a key that is zero below zero", '{"flags": {"-0": true}}'),
    ("a key beyond its type", '{"flags": {"9223372036854775808": true}}'),
    ("StringFieldUnpairedHighSurrogate", r'{"title": "\ud800"}'),
    ("StringFieldUnpairedLowSurrogate", r'{"title": "\udc00"}'),
    ("a key of a Struct with half a pair", r'{"extras": {"\ud800": 1}}'),
    ("StructFieldNan", '{"extras": {"a": NaN}}'),
    ("OneofFieldDuplicate", '{"donor": null, "publisher": "a", "donor": "b"}'),
    ("RepeatedFieldNull", '{"tags": [null]}'),
    ("MapFieldValueIsNull", '{"stock_by_branch": {"a": null}}'),
    ("AnyUnknownType", '{"attached": {"@type": "type.googleapis.com/nobody.knows.It"}}'),
    ("AnyWithNoType", '{"attached": {"value": 1}}'),
    ("an Any whose type is no text", '{"attached": {"@type": 1}}'),
    ("an Any of a text without one", '{"attached": {"@type": "type.googleapis.com/google.protobuf.Duration"}}'),
    ("an Any that is no message", '{"attached": {"@type": "type.googleapis.com/library.v1.Book", "pages": "x"}}'),
    ("an Any in an Any", '{"attached": {"@type": "type.googleapis.com/google.protobuf.Any", "value": {"@type": 1}}}'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "told"), TAKEN, ids=[name for name, _, _ in TAKEN])
def test_it_is_taken_and_written_as_the_suite_says(name: str, body: str, told: object) -> None:
    field = next(iter(json.loads(body)))
    book = read("CreateBook", CREATE, body=body).get("book", {})
    assert book.get(field) == (told if told != "" else "")


@pytest.mark.parametrize(("name", "body"), REFUSED, ids=[name for name, _ in REFUSED])
def test_it_is_refused_with_its_place(name: str, body: str) -> None:
    problem = refusal("CreateBook", CREATE, body=body)
    assert problem.reason == "INVALID_BODY"
    if "attached" not in body and "{0:" not in body:
        assert problem.violations[0].field.startswith(f"book.{next(iter(json.loads(body)))}")
