"""Every mistake is reported once, with its code, at its token, with a way out."""

from typing import Any

import pytest
from expression_lab import Lab

from sagagen.diagnostics import Diagnostic
from sagagen.expression.codes import Code

MARK = "‸"
"""Stands before the character that the diagnostic has to point at."""

MISTAKES = [
    # What is no expression
    ("text: hello ‸world", "SG100", "put quotes around a text"),
    ("big: 1 +‸", "SG100", "complete"),
    ("lasts: input.lasts + 5‸m", "SG100", "stands alone"),
    ("big: (1‸", "SG100", "complete"),
    ("numbers: '[1, 2, ‸]'", "SG100", "comma"),
    ("flag: input.text ‸= input.nick", "SG100", '"=="'),
    ("flag: input.flag ‸and input.done", "SG100", '"&&"'),
    ("text: ‸''", "SG100", "empty text"),
    ("text: input.‸@text", "SG100", ""),
    ("text‸: # a comment", "SG118", "leave it out"),
    ('text: "‸\'abc"', "SG123", "end it with '"),
    ("""text: "'a‸\\\\q'\"""", "SG123", "backslash"),
    ("""text: "'‸\\\\ud800'\"""", "SG123", "surrogates"),
    ("""raw: "b'‸\\\\u0041'\"""", "SG123", "backslash"),
    ('big: "‸9223372036854775808"', "SG123", "9223372036854775807"),
    ('count: "‸18446744073709551616u"', "SG123", "18446744073709551615"),
    ('real: "‸1e999"', "SG123", "1.8e308"),
    # Names
    ("text: ‸inputs.text", "SG101", '"input"'),
    ("text: ‸hello", "SG101", "\"'hello'\""),
    ("text: ‸Item", "SG101", "Item{...}"),
    ("words: input.items.map(i, ‸j.name)", "SG101", "i, input"),
    ("text: ‸x.input.text", "SG101", "input"),
    ("text: .‸input.text", "SG101", "input"),
    ("text: input.‸txt", "SG102", '"text"'),
    ("text: input.item.‸nme", "SG102", '"name"'),
    ("text: input.‸choice", "SG102", "left, right"),
    ("text: saga.‸name", "SG102", "saga.id"),
    ("item: {‸nam: input.text}", "SG102", '"name"'),
    ("item: 'Item{‸nam: input.text}'", "SG102", '"name"'),
    ("‸tetx: input.text", "SG102", '"text"'),
    ("text: steps.‸erlier.text", "SG103", '"earlier"'),
    ("text: steps.‸zzz.text", "SG103", "steps.earlier"),
    ("text: steps.‸later.text", "SG104", "steps.earlier"),
    ("flag: has(steps.‸later)", "SG104", "steps.earlier"),
    ("flag: has(steps.‸erlier)", "SG103", '"earlier"'),
    ("text: steps.‸maybe.text", "SG127", "has(steps.maybe) ?"),
    ("text: steps.each.‸text", "SG125", ".map(x, x.text)"),
    ("text: saga.‸started", "SG102", "saga.started_at"),
    ("text: ‸saga.started_at", "SG116", "unchanged"),
    ("text: ‸event.text", "SG101", "caller, input"),
    ("flag: has(steps.‸later.nick)", "SG104", "steps.earlier"),
    ("text: ‸steps", "SG125", "steps.earlier"),
    ("text: ‸saga", "SG125", "saga.id"),
    ("text: ‸failure.reason", "SG119", "compensate"),
    ("text: input.text.‸name", "SG125", '".name"'),
    ("text: input.wrapped_text.‸value", "SG125", '".value"'),
    ("big: input.totals.‸a", "SG125", "['a']"),
    ("text: input.items.‸name", "SG125", ".map(x, x.name)"),
    ("item: '‸Itm{}'", "SG109", '"Item"'),
    ("parcel: '‸Parcel{}'", "SG109", "lab.other.v1.Parcel"),
    ("item: '‸Everything.Kind{}'", "SG109", "Everything.Kind.LARGE"),
    ("item: '‸input.item.name(1){}'", "SG109", "Type{...}"),
    ("kind: ‸Kind.SMALL", "SG109", "Everything.Kind"),
    ("kind: Everything.Kind.‸SMAL", "SG110", '"SMALL"'),
    ("kind: Everything.‸SMALL", "SG110", "Everything.Kind.SMALL"),
    # Types
    ("small: ‸input.text", "SG105", "int(...)"),
    ("text: ‸input.big", "SG105", "string(...)"),
    ("big: ‸input.count", "SG105", "int(...)"),
    ("real: ‸input.big", "SG105", "double(...)"),
    ("text: ‸input.flag", "SG105", "string(...)"),
    ("big: ‸input.flag", "SG105", "value of type int"),
    ("flag: ‸input.text", "SG105", "compare"),
    ("kind: ‸1", "SG105", "Everything.Kind.LARGE"),
    ("text: ‸input.item", "SG105", ".name"),
    ("item: ‸input.parcel", "SG105", "select one of its fields"),
    ("words: ‸input.text", "SG105", "list"),
    ("text: ‸input.words", "SG105", "one element"),
    ("items: ['‸1']", "SG105", "Item"),
    ("totals: { a: ‸input.text }", "SG105", "int(...)"),
    ("numbered: { ‸a: {} }", "SG105", "literal"),
    ("answers: { ‸yes: \"'y'\" }", "SG105", "literal"),
    ("small_count: ‸-1", "SG114", "0 to 4294967295"),
    ("small: ‸3000000000", "SG114", "2147483647"),
    ('small: "‸3000000000"', "SG114", "2147483647"),
    ("items: '[Item{quantity: ‸3000000000}]'", "SG114", "2147483647"),
    ("big: 9223372036854775807 ‸+ 1", "SG114", "9223372036854775807"),
    ("big: input.big ‸/ 0", "SG114", "something else"),
    ("count: 1u ‸- 2u", "SG114", "uint is 0"),
    ("real: input.small ‸* 1.5", "SG106", "double(...)"),
    ("big: 1 ‸+ 1u", "SG106", "uint(...)"),
    ("flag: 1 ‸< 1.5", "SG106", "double(...)"),
    ("text: input.text ‸+ 1", "SG106", "string(...)"),
    ("real: input.real ‸% 2.0", "SG106", "int"),
    ("flag: '‸!input.text'", "SG106", "compare"),
    ("text: ‸-input.text", "SG106", ""),
    ("count: ‸-input.count", "SG106", ""),
    ("flag: input.flag && ‸input.text", "SG106", "compare"),
    ("text: '‸input.text ? input.text : input.nick'", "SG106", "compare"),
    ("flag: input.kind ‸== 1", "SG106", "NAME"),
    ("flag: input.text ‸== 1", "SG106", ""),
    ("flag: 1 ‸in input.words", "SG106", ""),
    ("flag: 1 ‸in input.text", "SG106", ""),
    ("flag: 1.0 ‸in input.reals", "SG124", "exists"),
    ("flag: input.item ‸== steps.earlier.item", "SG124", "fields"),
    ("flag: input.reals ‸== input.reals", "SG124", "exists"),
    ("text: input.words[‸'a']", "SG106", "lists take an int"),
    ("big: input.totals[‸1]", "SG106", "maps a key"),
    ("text: 'input.flag ? input.text : ‸1'", "SG117", "the same type"),
    ("text: 'input.flag ? input.text : ‸null'", "SG117", "the same type"),
    ("words: \"['a', ‸1]\"", "SG117", "the same type"),
    ("totals: \"{'a': 1, 'b': ‸2.0}\"", "SG117", "the same type"),
    ("text: ‸null", "SG118", "leave it out"),
    ('nick: "‸null"', "SG118", "leave it out"),
    ("flag: input.text ‸== null", "SG118", "has(...)"),
    ("flag: input.item ‸== null", "SG118", "has(...)"),
    ("wrapped_words: '[‸null]'", "SG117", ""),
    # Functions and macros
    ("big: ‸len(input.words)", "SG107", '"size"'),
    ("big: input.words.‸len()", "SG107", '"size"'),
    ("flag: input.text.‸startswith('a')", "SG107", '"startsWith"'),
    ("flag: ‸startsWith(input.text, 'a')", "SG107", "x.startsWith(...)"),
    ("text: input.big.‸string()", "SG107", "string(x)"),
    ("words: ‸map(input.words, w, w)", "SG107", "x.map(...)"),
    ("big: ‸size(input.words, 1)", "SG108", ""),
    ("big: ‸size(input.big)", "SG108", "a list"),
    ("big: ‸int(input.raw)", "SG108", "a number"),
    ("text: ‸string(input.kind)", "SG108", ""),
    ("big: ‸sum(input.words)", "SG108", "sum(input.items.map(i, i.quantity))"),
    ("big: '‸sum([])'", "SG108", "numbers"),
    ("big: ‸sum(input.kinds)", "SG108", "numbers"),
    ("big: ‸min(input.big, 1)", "SG108", "min([a, b])"),
    ("big: ‸max(input.totals)", "SG108", "numbers"),
    ("big: input.numbers.‸sum()", "SG107", "sum(x)"),
    ("big: ‸minimum(input.numbers)", "SG107", '"min"'),
    ("when: ‸max(input.times)", "SG108", "numbers"),
    ("small: ‸9223372036854775807 + sum([1])", "SG114", "2147483647"),
    ("flag: has(‸input)", "SG108", "has(input.field)"),
    ("flag: has(‸saga.id)", "SG108", "has(input.field)"),
    ("flag: ‸has()", "SG108", "has(input.field)"),
    ("words: input.words.‸map(w)", "SG108", "variable"),
    ("words: input.words.map(‸input.text, w)", "SG108", "variable"),
    ("words: input.words.map(‸for, for)", "SG108", "reserved"),
    ("words: input.words.filter(w, ‸size(w))", "SG108", "compare"),
    ("words: input.text.‸map(w, w)", "SG108", "repeated"),
    ("words: '[].‸map(w, w)'", "SG108", ""),
    ("words: input.totals.‸map(k, k)", "SG120", "repeated"),
    ("flag: input.text.‸matches('a')", "SG121", "startsWith"),
    # What the checks cannot see into
    ("any: ‸input.item", "SG115", "message of its own"),
    ("any: ‸input.struct", "SG115", "message of its own"),
    ("text: input.any.‸type_url", "SG115", "message of its own"),
    ("text: ‸input.struct", "SG115", "message of its own"),
    ("text: ‸input.values[0]", "SG115", "message of its own"),
    ("flag: input.struct ‸== input.struct", "SG124", "compare"),
    ("flag: has(input.struct.‸x)", "SG115", "message of its own"),
    ("big: ‸dyn(input.big)", "SG115", "leave"),
    ("item: ‸google.protobuf.Any{}", "SG115", "message of its own"),
    ("when: input.when ‸+ input.lasts", "SG116", "handler"),
    ("flag: input.when ‸== input.when", "SG116", "handler"),
    ("flag: input.when ‸< input.when", "SG116", "handler"),
    ("when: \"‸timestamp('2024-01-01T00:00:00Z')\"", "SG116", "handler"),
    ("big: input.when.‸seconds", "SG116", "handler"),
    ("big: ‸int(input.when)", "SG116", "handler"),
    ("big: input.when.‸getFullYear()", "SG116", "handler"),
    ("when: ‸google.protobuf.Timestamp{}", "SG116", "handler"),
    ("when: ‸{ seconds: 1 }", "SG116", "handler"),
    ("wrapped_text: ‸{ value: \"'a'\" }", "SG109", "alone"),
    # Constructions
    ("left: input.text\n‸right: 'Item{}'", "SG111", 'remove "right"'),
    ("inner: \"Everything{left: 'a', ‸right: Item{}}\"", "SG111", 'remove "right"'),
    ("item: \"Item{name: 'a', ‸name: 'b'}\"", "SG112", "remove"),
    ("totals: \"{'a': 1, ‸'a': 2}\"", "SG112", "remove"),
    ("totals: '{‸1.5: 1}'", "SG105", "keys"),
    ("items: ‸{ name: input.text }", "SG122", "a list"),
    ("item: ‸[1]", "SG122", "field: value"),
    ("text: ‸{ a: 1 }", "SG122", "literal"),
    ("totals: ‸[1]", "SG122", "key: value"),
    ("words: [‸[1]]", "SG122", ""),
]  # fmt: skip

PARTIAL = [
    ("big: input.big ‸+ 1", "arithmetic"),
    ("big: input.small ‸+ 1", "arithmetic"),
    ("big: ‸-input.big", "arithmetic"),
    ("big: input.big ‸/ 2", "arithmetic"),
    ("real: input.real ‸* 2.0", "arithmetic"),
    ("big: input.numbers[‸0]", "element"),
    ("big: input.totals[‸'a']", "map"),
    ("small: ‸input.big", "may not fit"),
    ("maybe_small: ‸input.maybe_big", "may not fit"),
    ("single: ‸input.real", "may not fit"),
    ("small_numbers: ‸input.numbers", "may not fit"),
    ("big: ‸int(input.text)", "int(...)"),
    ("big: ‸int(input.real)", "int(...)"),
    ("big: ‸int(input.count)", "int(...)"),
    ("text: ‸string(input.raw)", "string(...)"),
    ("big: ‸sum(input.numbers)", "arithmetic"),
    ("big: ‸sum(input.small_numbers)", "arithmetic"),
    ("big: ‸min(input.numbers)", "min(...)"),
    ("real: '‸max([input.real, 0.0])'", "max(...)"),
]

TOTAL = [
    "text: failure.reason + '/' + failure.message",
    "small: input.small",
    "big: input.small",
    "small: 5",
    "big: size(input.items)",
    "big: 'max([input.big, 0])'",
    "text: string(input.big)",
    "big: int(input.small_count)",
    "flag: input.big > 3 && has(input.nick) || 'a' in input.totals",
    "words: input.items.filter(i, i.quantity > 2).map(i, i.name)",
    "numbers: input.numbers + [1]",
    "item: 'input.flag ? input.item : steps.earlier.item'",
]


def planted(yaml: str) -> tuple[str, tuple[int, int]]:
    """The YAML without its mark, and the place of the mark once it stands below `request:`."""
    lines = yaml.splitlines()
    row = next(n for n, line in enumerate(lines) if MARK in line)
    return yaml.replace(MARK, ""), (row + 2, lines[row].index(MARK) + 3)


def only(found: list[Diagnostic]) -> Diagnostic:
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(("yaml", "code", "hint"), MISTAKES, ids=[yaml for yaml, _, _ in MISTAKES])
def test_a_mistake_is_reported_once_at_its_token(lab: Lab, yaml: str, code: str, hint: str) -> None:
    text, place = planted(yaml)
    expr, found = lab.compile(text)
    assert expr is None
    finding = only(found)
    assert (finding.code, finding.at.line, finding.at.column) == (code, *place)
    assert hint in finding.hint
    assert finding.message
    assert finding.hint


def test_the_table_plants_every_code() -> None:
    elsewhere = {
        "SG113",
        "SG126",
        "SG128",
        "SG129",
        "SG130",
        "SG131",
        "SG132",
    }  # below, and in tests of their own
    assert {code for _, code, _ in MISTAKES} | elsewhere == {code.value for code in Code}


@pytest.mark.parametrize(
    ("changes", "way_out"),
    [
        ({}, "read it from that step's response"),
        ({"steps": {}, "loops": {}}, "let the request carry it"),
        ({"steps": {}, "loops": {}, "failure": True}, "read it from that step's response"),
    ],
)
def test_what_can_fail_is_to_come_from_elsewhere(lab: Lab, changes: dict[str, Any], way_out: str) -> None:
    _, found = lab.compile("big: input.big + 1", total=True, **changes)
    assert way_out in only(found).hint


@pytest.mark.parametrize(("yaml", "message"), PARTIAL, ids=[yaml for yaml, _ in PARTIAL])
def test_a_compensation_refuses_what_can_fail(lab: Lab, yaml: str, message: str) -> None:
    text, place = planted(yaml)
    assert lab.compile(text)[0] is not None
    expr, found = lab.compile(text, failure=True, total=True)
    assert expr is None
    finding = only(found)
    assert (finding.code, finding.at.line, finding.at.column) == ("SG113", *place)
    assert message in finding.message


@pytest.mark.parametrize("yaml", TOTAL)
def test_a_compensation_takes_what_cannot_fail(lab: Lab, yaml: str) -> None:
    expr, found = lab.compile(yaml, failure=True, total=True)
    assert found == []
    assert expr is not None


def test_all_mistakes_of_a_request_are_reported_in_one_run(lab: Lab) -> None:
    _, found = lab.compile("""
text: inputs.text + input.txt
item: { nam: 1, name: input.foo }
numbers: "[input.text, 1.5 + 1]"
""")
    assert [(d.code, d.at.line, d.at.column) for d in found] == [
        ("SG101", 2, 9), ("SG102", 2, 29), ("SG102", 3, 11), ("SG102", 3, 31), ("SG106", 4, 30),
    ]  # fmt: skip


def test_a_mistake_in_a_folded_scalar_is_placed_on_its_own_line(lab: Lab) -> None:
    _, found = lab.compile(
        "items: >-\n  input.items.map(i, Item{\n    name: i.name,\n    quantity: i.quantty})"
    )
    assert (found[0].at.line, found[0].at.column) == (5, 19)


def test_unknown_names_in_compensations_know_of_failure(lab: Lab) -> None:
    _, found = lab.compile("text: failur.reason", failure=True, total=True)
    assert only(found).hint == 'did you mean "failure"?'
    _, found = lab.compile("text: failure.reasn", failure=True, total=True)
    assert only(found).hint == 'did you mean "reason"?'


def test_a_name_of_two_packages_resolves_in_the_called_rpcs_package_first(lab: Lab) -> None:
    assert lab.compile("item: 'Item{quantity: 1}'")[1] == []
    assert lab.compile("item: 'v1.Item{quantity: 1}'")[1] == []
    _, found = lab.compile("item: 'Item{quantity: 1}'", package="lab.other.v1")
    assert found[0].code == "SG102"
    _, found = lab.compile("item: 'lab.v1.Item{quantity: 1}'", package="lab.other.v1")
    assert found == []


def test_a_request_that_is_no_mapping_is_one_expression(lab: Lab) -> None:
    assert lab.compile("input.inner")[1] == []
    _, found = lab.compile("input.item")
    assert only(found).code == "SG105"
    _, found = lab.compile("[1]")
    assert only(found).code == "SG122"
