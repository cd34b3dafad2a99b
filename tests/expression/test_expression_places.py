"""The places of saga.yaml that take one value: what they take, what the runtime gets, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from expression_lab import Lab
from test_expression_diagnostics import MARK, only

from sagagen.expression import ListExpr
from sagagen.expression.types import INT, MessageType, Simple
from sagagen.runtime.scope import EventScope, Scope

AT = datetime(2026, 11, 30, 12, 0, 0, 1, tzinfo=UTC)
COMPUTED: list[tuple[str, str, object]] = [
    ("when", "input.flag && input.text == 'a'", True),
    ("when", "true", True),
    ("when", "input.wrapped_flag", False),
    ("when", "caller == 'ann'", True),
    ("when", "has(steps.maybe)", False),
    ("when", "has(steps.earlier) && !has(steps.maybe)", True),
    ("when", "'!has(steps.maybe) || steps.maybe.flag'", True),
    ("saga_id", "input.text + saga.id", "asaga-1"),
    ("key", "input.text", "a"),
    ("key", "input.small", -3),
    ("key", "input.count", 2**64 - 1),
    ("key", "input.kind", 2),
    ("key", "input.wrapped_text", ""),
    ("index", "caller", "ann"),
    ("index", "input.flag", True),
    ("index", "input.kind", 2),
    ("index", "size(input.words)", 2),
    ("after", "input.lasts", 90.5),
    ("after", "input.inner.lasts", 0.0),
    ("at", "saga.started_at", 1_000),
    ("at", "input.when", 1_796_040_000_001),
    ("at", "input.inner.when", 0),
    ("in", "input.words", ["x", "y"]),
    ("in", "input.words.filter(w, w != 'x')", ["y"]),
    ("in", "'[1, 2]'", [1, 2]),
]


def scope_of(lab: Lab) -> Scope[Any]:
    everything = lab.python_class("Everything")
    given = everything(
        flag=True,
        text="a",
        small=-3,
        count=2**64 - 1,
        words=["x", "y"],
        when=AT,
        lasts=timedelta(seconds=90.5),
    )
    given.kind = type(given.kind)(2)
    return Scope(
        "saga-1", everything, bytes(given), {"earlier": bytes(given)}, caller="ann", started_ms=1_000
    )


@pytest.mark.parametrize(("place", "yaml", "value"), COMPUTED)
def test_the_runtime_gets_what_it_takes(lab: Lab, place: str, yaml: str, value: object) -> None:
    computed = lab.computed(place, yaml, scope_of(lab))
    assert computed == value
    assert type(computed) is type(value)


def test_what_is_behind_its_has_is_read_only_then(lab: Lab) -> None:
    everything = lab.python_class("Everything")
    yaml = "\"has(steps.maybe) ? steps.maybe.text : 'none'\""
    responses: dict[str, bytes] = {}
    scope = Scope("saga-1", everything, b"", responses)
    assert lab.computed("saga_id", yaml, scope) == "none"
    responses["maybe"] = bytes(everything(text="there"))
    assert lab.computed("saga_id", yaml, scope) == "there"


def test_a_loops_responses_are_a_list(lab: Lab) -> None:
    everything = lab.python_class("Everything")
    logged = {"each[0]": bytes(everything(text="a")), "each[1]": bytes(everything(text="b"))}
    scope = Scope("saga-1", everything, b"", logged, loops={"each": ["0", "1"]})
    assert lab.computed("in", "steps.each.map(e, e.text)", scope) == ["a", "b"]


@pytest.mark.parametrize(
    ("yaml", "type_", "item", "value"),
    [
        ("saga.id + dish", Simple.STRING, "pizza", "saga-1pizza"),
        ("string(dish + 1)", INT, 6, "7"),
        ("\"dish ? 'y' : 'n'\"", Simple.BOOL, True, "y"),
        ("dish.name", "Item", "Item", "pizza"),
        ("input.words.map(dish, dish)[0]", INT, 6, "x"),
    ],
)
def test_a_loops_variable_is_its_item(lab: Lab, yaml: str, type_: Any, item: Any, value: str) -> None:
    if type_ == "Item":
        type_ = MessageType("lab.v1.Item", lab.descriptor("Item"))
        item = lab.python_class("Item")(name="pizza")
    assert lab.computed("saga_id", yaml, scope_of(lab).of_item(item), item=("dish", type_)) == value


@pytest.mark.parametrize(
    ("yaml", "element"), [("input.words", "string"), ("input.items", "lab.v1.Item"), ("'[1]'", "int")]
)
def test_a_list_knows_the_type_of_its_elements(lab: Lab, yaml: str, element: str) -> None:
    expr = lab.compiled_value("in", yaml)
    assert isinstance(expr, ListExpr)
    assert str(expr.element) == element


@pytest.mark.parametrize(
    ("place", "yaml", "value"),
    [
        ("when", "event.quantity > 1 && caller == 'chef'", True),
        ("when", "input.text == event.name", True),
        ("saga_id", "event.name + '-' + caller", "a-chef"),
        ("saga_id", "saga.id", "saga-1"),
        ("when", "event.tags.exists(event, event.name == 'hot')", True),
    ],
)
def test_an_event_is_read_where_there_is_one(lab: Lab, place: str, yaml: str, value: object) -> None:
    item, everything = lab.python_class("Item"), lab.python_class("Everything")
    given = item(name="a", quantity=2, tags=[lab.python_class("Item.Tag")(name="hot")])
    scope = EventScope(
        item,
        bytes(given),
        caller="chef",
        saga_id="saga-1",
        input_type=everything,
        input=bytes(everything(text="a")),
    )
    assert lab.computed(place, yaml, scope, event="Item") == value


MISTAKES = [
    ("when", "‸input.text", "SG105", "compare it"),
    ("when", "‸input.words", "SG105", "exists"),
    ("when", "‸input.item", "SG105", "select one of its fields"),
    ("when", "‸{ a: b }", "SG122", "in quotes"),
    ("in", "‸[1, 2]", "SG122", "in quotes"),
    ("when", "‸null", "SG105", ""),
    ("when", "input.‸flg", "SG102", '"flag"'),
    ("saga_id", "‸input.big", "SG105", "string(...)"),
    ("saga_id", "‸input.item", "SG105", ".name"),
    ("key", "‸input.flag", "SG105", "string(...)"),
    ("key", "‸input.real", "SG105", "string(...)"),
    ("key", "‸input.item", "SG105", ".name"),
    ("index", "‸input.raw", "SG105", "string(...)"),
    ("index", "‸input.words", "SG105", ""),
    ("index", "‸input.secret + 'x'", "SG128", "another field"),
    ("index", "‸input.words.exists(w, has(input.secret))", "SG128", "another field"),
    ("after", "‸input.when", "SG105", ""),
    ("after", "‸input.small", "SG105", ""),
    ("after", "‸input.inner", "SG105", ".lasts"),
    ("at", "‸input.lasts", "SG105", ""),
    ("at", "‸input", "SG105", ".when"),
    ("in", "‸input.text", "SG105", ""),
    ("in", "‸input", "SG105", ".words"),
    ("in", "'‸[]'", "SG105", "repeated"),
    ("in", "‸input.totals", "SG120", "repeated"),
]


@pytest.mark.parametrize(("place", "yaml", "code", "hint"), MISTAKES)
def test_another_type_is_refused_with_a_way_out(
    lab: Lab, place: str, yaml: str, code: str, hint: str
) -> None:
    expr, found = lab.value(place, yaml.replace(MARK, ""))
    assert expr is None
    finding = only(found)
    assert (finding.code, finding.at.column) == (code, len(place) + 3 + yaml.index(MARK))
    assert hint in finding.hint


HIDDEN = [
    ("when", "‸input.flag", {"input": None}, "input", "input"),
    ("when", "‸caller == 'a'", {"caller": False}, "caller", "caller"),
    ("saga_id", "‸saga.id", {"saga_id": False}, "saga.id", "saga.id"),
    ("at", "‸saga.started_at", {"started_at": False}, "saga.started_at", "saga.started_at"),
]


@pytest.mark.parametrize(("place", "yaml", "changes", "name", "word"), HIDDEN)
def test_what_is_not_known_yet_says_why(
    lab: Lab, place: str, yaml: str, changes: dict[str, Any], name: str, word: str
) -> None:
    why = "the saga is only looked for"
    expr, found = lab.value(place, yaml.replace(MARK, ""), hidden={name: why}, **changes)
    assert expr is None
    finding = only(found)
    assert (finding.code, finding.at.column) == ("SG126", len(place) + 3 + yaml.index(MARK))
    assert finding.message == f'"{word}" cannot be read here: {why}'
    assert "steps.earlier" in finding.hint
    assert f" {word}," not in finding.hint


@pytest.mark.parametrize(
    ("yaml", "code"), [("event.name", "SG101"), ("dish", "SG101"), ("caller.name", "SG125")]
)
def test_names_of_other_places_are_unknown(lab: Lab, yaml: str, code: str) -> None:
    assert only(lab.value("saga_id", yaml)[1]).code == code


def test_an_empty_value_is_missed_at_its_key(lab: Lab) -> None:
    finding = only(lab.value("when", "")[1])
    assert (finding.code, finding.at.column) == ("SG122", len("when:"))
    assert "write an expression" in finding.hint


TOTAL = [
    ("when", "event.name == input.text && caller != ''", None),
    ("when", "event.tags.all(t, t.name.startsWith('a'))", None),
    ("when", "event.quantity > 1 ? input.flag : has(event.note)", None),
    ("when", "size(event.tags) > 1", None),
    ("saga_id", "event.name + '/' + string(event.quantity)", None),
    ("when", "event.quantity ‸* 2 > 3", "let the message of the event carry it"),
    ("when", "event.tags[‸0].name == 'a'", "let the message of the event carry it"),
    ("when", "‸min(input.numbers) > 1", "let the message of the event carry it"),
    ("saga_id", "‸string(input.raw)", "let the message of the event carry it"),
]


@pytest.mark.parametrize(("place", "yaml", "way_out"), TOTAL)
def test_what_an_event_decides_must_not_fail(lab: Lab, place: str, yaml: str, way_out: str | None) -> None:
    text = f'"{yaml.replace(MARK, "")}"'
    expr, found = lab.value(place, text, event=lab.descriptor("Item"), total=True)
    if way_out is None:
        assert expr is not None, found
        return
    finding = only(found)
    assert (finding.code, finding.at.column) == ("SG113", len(place) + 4 + yaml.index(MARK))
    assert way_out in finding.hint


@pytest.mark.parametrize(
    ("yaml", "is_total"),
    [("dish.name", True), ("dish.tags.map(t, t.name)[0]", False), ("string(dish.quantity)", True)],
)
def test_a_compensation_reads_its_item_and_must_not_fail(lab: Lab, yaml: str, is_total: bool) -> None:
    item = ("dish", MessageType("lab.v1.Item", lab.descriptor("Item")))
    expr, found = lab.compile(f"text: {yaml} + failure.reason", item=item, failure=True, total=True)
    assert (expr is not None) is is_total
    assert [finding.code for finding in found] == ([] if is_total else ["SG113"])
