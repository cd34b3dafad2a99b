"""What emitted functions build, on real messages that went over the wire."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from expression_lab import Lab

from sagagen.runtime.rpc.errors import ExpressionError


def run(lab: Lab, yaml: str, *, earlier: dict[str, Any] | None = None, **fields: Any) -> Any:
    everything = lab.python_class("Everything")
    return lab.builder(yaml)(everything(**fields), everything(**(earlier or {})))


def item(lab: Lab, **fields: Any) -> Any:
    return lab.python_class("Item")(**fields)


def test_absence_passes_from_an_optional_field_to_an_optional_field(lab: Lab) -> None:
    yaml = """
nick: input.nick
item: input.item
wrapped_text: input.wrapped_text
maybe_small: input.maybe_big
left: input.left
"""
    built = run(lab, yaml)
    assert (built.nick, built.item, built.wrapped_text, built.maybe_small, built.left) == (None,) * 5
    built = run(lab, yaml, nick="", item=item(lab), wrapped_text="", maybe_big=0, left="")
    assert (built.nick, built.item, built.wrapped_text, built.maybe_small, built.left) == (
        "",
        item(lab),
        "",
        0,
        "",
    )


def test_a_choice_between_optional_fields_passes_absence_on(lab: Lab) -> None:
    yaml = "nick: 'input.flag ? input.nick : input.wrapped_text'"
    assert run(lab, yaml, flag=True).nick is None
    assert run(lab, yaml, flag=False, wrapped_text="w").nick == "w"


def test_what_is_unset_reads_as_its_default_elsewhere(lab: Lab) -> None:
    built = run(
        lab,
        "text: input.nick + input.item.name + input.inner.inner.text + input.wrapped_text\n"
        "big: input.maybe_big + size(input.inner.items)\nkind: input.maybe_kind\ntimes: '[input.when]'\n"
        "items: '[input.item]'\nright: 'Item{name: input.left}'",
    )
    assert (built.text, built.big, built.kind) == ("", 0, 0)
    assert built.times == [datetime(1970, 1, 1, tzinfo=UTC)]
    assert built.items == [item(lab)]
    assert built.right == item(lab)


def test_fields_of_proto2_read_as_their_own_defaults(lab: Lab) -> None:
    yaml = (
        "small: input.old.attempts\ntext: input.old.note\nreal: input.old.rate\n"
        "big: int(input.old.level)\nmaybe_big: int(input.old.preset)"
    )
    built = run(lab, yaml)
    assert (built.small, built.text, built.real, built.big, built.maybe_big) == (3, "none", 0.0, 1, 2)
    old = lab.python_class("Old")(attempts=0, note="", active=True)
    built = run(lab, yaml, old=old)
    assert (built.small, built.text) == (0, "")


def test_presence_is_asked_as_proto_defines_it(lab: Lab) -> None:
    yaml = "flag: has(input.nick) && has(input.item) && !has(input.text) && !has(input.words) && !has(input.kind)"
    assert run(lab, yaml, nick="", item=item(lab)).flag
    assert not run(lab, yaml, nick="", item=item(lab), text="a").flag
    assert not run(lab, yaml, nick="", item=item(lab), words=[""]).flag
    assert not run(lab, yaml, item=item(lab)).flag


def test_an_unset_wrapper_is_null_under_equality_alone(lab: Lab) -> None:
    yaml = "flag: input.wrapped_text == null\ndone: input.wrapped_text == ''\nbig: size(input.wrapped_text)"
    built = run(lab, yaml)
    assert (built.flag, built.done, built.big) == (True, False, 0)
    built = run(lab, yaml, wrapped_text="")
    assert (built.flag, built.done) == (False, True)


def test_time_passes_through(lab: Lab) -> None:
    # No negative fraction of a second: betterproto2 0.10 encodes timedelta(seconds=-1.5) as -0.5 s.
    when, lasts = datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=UTC), timedelta(hours=1, microseconds=7)
    built = run(
        lab, "when: input.when\nlasts: input.lasts\ntimes: input.times", when=when, lasts=lasts, times=[when]
    )
    assert (built.when, built.lasts, built.times) == (when, lasts, [when])


def test_enums_keep_numbers_that_this_version_does_not_know(lab: Lab) -> None:
    built = run(lab, "kind: input.kind\nbig: int(input.kind)\nkinds: '[input.kind]'", kind=7)
    assert (int(built.kind), built.big, [int(kind) for kind in built.kinds]) == (7, 7, [7])


def test_messages_pass_whole_with_fields_that_this_version_does_not_know(lab: Lab) -> None:
    parcel = lab.python_class("Parcel").parse(b"\xa2\x06\x03new")
    built = run(lab, "parcel: input.parcel", parcel=parcel)
    assert bytes(built.parcel) == b"\xa2\x06\x03new"


def test_steps_are_read_from_their_responses(lab: Lab) -> None:
    built = run(lab, "text: steps.earlier.text + saga.id", earlier={"text": "from "})
    assert built.text == "from saga-1"


def test_a_compensation_reads_the_failure(lab: Lab) -> None:
    build = lab.builder(
        "text: failure.code + '/' + failure.reason\nleft: failure.message\nnick: failure.step",
        failure=True,
        total=True,
    )
    built = build()
    assert (built.text, built.left, built.nick) == ("FAILED_PRECONDITION/OUT_OF_STOCK", "none left", "later")


def test_nested_macros_see_outer_variables(lab: Lab) -> None:
    items = [item(lab, name="a", quantity=2), item(lab, name="b", quantity=3)]
    built = run(
        lab,
        "numbers: 'input.items.map(x, input.items.map(y, x.quantity * y.quantity)[1])'\n"
        'words: "input.items.map(x, x.name + string(input.items.filter(x, x.quantity > 2).map(x, x.quantity)[0]))"',
        items=items,
    )
    assert built.numbers == [6, 9]
    assert built.words == ["a3", "b3"]


def test_maps_are_looked_up_and_passed_on(lab: Lab) -> None:
    built = run(
        lab,
        "totals: input.totals\nbig: input.totals['a']\ntext: input.answers[true]\nflag: \"'b' in input.totals\"\n"
        "item: input.numbered[5]\nsmall_totals: input.totals",
        totals={"a": 1},
        answers={True: "yes"},
        numbered={5: item(lab, name="five")},
    )
    assert (built.totals, built.big, built.text, built.flag) == ({"a": 1}, 1, "yes", False)
    assert (built.item.name, built.small_totals) == ("five", {"a": 1})


FAILURES: list[tuple[str, dict[str, Any], str]] = [
    ("small: input.big", {"big": 2**31}, "2147483648 does not fit int32"),
    ("maybe_small: input.maybe_big", {"maybe_big": -(2**31) - 1}, "-2147483649 does not fit int32"),
    ("small_count: input.count", {"count": 2**32}, "4294967296 does not fit uint32"),
    ("small_numbers: input.numbers", {"numbers": [1, 2**40]}, "does not fit int32"),
    ("small_totals: input.totals", {"totals": {"a": 2**40}}, "does not fit int32"),
    ("wrapped_small: input.wrapped_big", {"wrapped_big": 2**40}, "does not fit int32"),
    ("single: input.real", {"real": 1e39}, "does not fit float"),
    ("big: input.big + 1", {"big": 2**63 - 1}, "does not fit int64"),
    ("big: input.big - 1 + 1", {"big": -(2**63)}, "does not fit int64"),
    ("big: -input.big", {"big": -(2**63)}, "does not fit int64"),
    ("big: input.big / -1", {"big": -(2**63)}, "does not fit int64"),
    ("count: input.count - 1u", {}, "-1 does not fit uint64"),
    ("count: uint(input.big)", {"big": -1}, "does not fit uint64"),
    ("big: 1 / input.big", {}, "division by zero"),
    ("big: 1 % input.big", {}, "modulus by zero"),
    ("big: int(input.text)", {"text": " 1"}, "' 1' is no int"),
    ("big: int(input.text)", {"text": "9223372036854775808"}, "does not fit int64"),
    ("count: uint(input.text)", {"text": "-1"}, "'-1' is no uint"),
    ("real: double(input.text)", {"text": "1_0"}, "'1_0' is no double"),
    ("big: int(input.real)", {"real": 1e19}, "does not fit int64"),
    ("big: int(input.real)", {"real": math.nan}, "NaN is no integer"),
    ("text: string(input.raw)", {"raw": b"\xff"}, "no UTF-8"),
    ("text: input.words[0]", {}, "no element at 0"),
    ("text: input.words[-1]", {"words": ["a"]}, "no element at -1"),
    ("text: input.words[input.big]", {"words": ["a"], "big": 1}, "no element at 1"),
    ("big: input.totals['a']", {}, "no key 'a'"),
]  # fmt: skip


@pytest.mark.parametrize(("yaml", "fields", "message"), FAILURES, ids=[yaml for yaml, _, _ in FAILURES])
def test_what_cannot_be_computed_is_an_expression_error(
    lab: Lab, yaml: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        run(lab, yaml, **fields)
    assert message in str(caught.value)


DECIDED: list[tuple[str, dict[str, Any], bool]] = [
    ("10 / input.big > 1 || input.big == 0", {}, True),
    ("input.big == 0 || 10 / input.big > 1", {}, True),
    ("10 / input.big > 1 && input.big != 0", {}, False),
    ("input.big != 0 && 10 / input.big > 1", {}, False),
    ("input.numbers.exists(n, 10 / n > 4)", {"numbers": [0, 2]}, True),
    ("input.numbers.all(n, 10 / n > 4)", {"numbers": [0, 5]}, False),
    ("input.numbers.exists(n, n > 4)", {"numbers": []}, False),
    ("input.numbers.all(n, n > 4)", {"numbers": []}, True),
    ("input.numbers.exists_one(n, n > 4)", {"numbers": [5, 6, 1]}, False),
    ("input.numbers.exists_one(n, n > 4)", {"numbers": [5, 1]}, True),
    ("!(input.real < 1.0)", {"real": math.nan}, True),
    ("input.real == input.real", {"real": math.nan}, False),
    ("input.real / 0.0 > 1.0 && -1.0 / 0.0 < 0.0", {"real": 1.0}, True),
    ("size('😀é') == 2 && size(b'😀') == 4", {}, True),
    ("'Z' < 'a' && 'z' < 'é' && b'a' < b'b' && false < true", {}, True),
    ("input.text.startsWith('ab') && input.text.endsWith('c') && input.text.contains('bc')", {"text": "abc"}, True),
    ("[1, 2] == input.numbers && input.totals == {'a': 1}", {"numbers": [1, 2], "totals": {"a": 1}}, True),
    ("string(1.0) == '1' && string(0.1) == '0.1' && string(true) == 'true' && string(b'a') == 'a'", {}, True),
    ("double('1e3') == 1000.0 && int('-7') == -7 && uint('7') == 7u && int(-1.9) == -1", {}, True),
    ("bytes('é') == b'é' && input.kind == Everything.Kind.LARGE", {"kind": 2}, True),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "fields", "truth"), DECIDED, ids=[text for text, _, _ in DECIDED])
def test_conditions_are_decided_as_cel_does(
    lab: Lab, expression: str, fields: dict[str, Any], truth: bool
) -> None:
    quoted = expression.replace('"', '\\"')
    assert run(lab, f'flag: "{quoted}"', **fields).flag is truth


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("10 / input.big > 1 || input.big == 1", {}),
        ("10 / input.big > 1 && input.big == 0", {}),
        ("input.numbers.exists(n, 10 / n > 40)", {"numbers": [0, 2]}),
        ("input.numbers.all(n, 10 / n > 4)", {"numbers": [0, 2]}),
        ("input.numbers.exists_one(n, 10 / n > 4)", {"numbers": [0, 2]}),
    ],
)
def test_an_error_stays_one_where_nothing_else_decides(
    lab: Lab, expression: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(ExpressionError, match="division by zero"):
        run(lab, f"flag: {expression}", **fields)
