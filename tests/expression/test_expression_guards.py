"""A step that may have no response is read only where `has` has said that it is there."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from expression_lab import Lab
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_expression_against_cel import FAILED, Oracle, agree
from test_expression_diagnostics import MARK, only
from thorough import FUZZ_ROUNDS

from sagagen.expression import guards
from sagagen.runtime.rpc.errors import ExpressionError
from sagagen.runtime.scope import Scope

NOTHING: set[str] = set()
GUARDED = [
    (
        "flag: has(steps.maybe) && steps.maybe.flag",
        'flag=scope.has("maybe") and scope.response("maybe", Everything).flag',
    ),
    ("flag: '!has(steps.maybe) || steps.maybe.flag'", None),
    ("flag: '!(!has(steps.maybe) || input.flag) && steps.maybe.flag'", None),
    ("flag: input.flag && has(steps.maybe) && input.done && steps.maybe.flag", None),
    ("flag: (has(steps.maybe) && input.flag || has(steps.maybe) && input.done) && steps.maybe.flag", None),
    ("text: \"has(steps.maybe) ? steps.maybe.text : ''\"", None),
    ("text: \"!has(steps.maybe) ? '' : steps.maybe.text\"", None),
    ("text: \"has(steps.maybe) && steps.maybe.flag ? steps.maybe.text : ''\"", None),
    ("text: \"(has(steps.maybe) ? steps.maybe.flag : false) ? steps.maybe.text : ''\"", None),
    ("text: \"(has(steps.maybe) ? true : input.flag && false) ? steps.maybe.text : ''\"", None),
    ('words: "has(steps.maybe) ? input.words.map(w, w + steps.maybe.text) : []"', None),
    ("item: { name: \"has(steps.maybe) ? steps.maybe.text : 'none'\" }", None),
    ("flag: 'has(steps.maybe) ? has(steps.maybe.nick) : false'", None),
    ("flag: has(steps.maybe)", 'flag=scope.has("maybe")'),
    ("flag: '!has(steps.maybe)'", 'flag=not scope.has("maybe")'),
]
UNGUARDED = [
    "flag: steps.‸maybe.flag && has(steps.maybe)",
    "flag: has(steps.maybe) || steps.‸maybe.flag",
    "flag: has(steps.‸maybe.nick)",
    "flag: input.words.exists(w, w == steps.‸maybe.text) && has(steps.maybe)",
    "text: \"input.flag ? steps.‸maybe.text : ''\"",
    "text: \"has(steps.maybe) ? '' : steps.‸maybe.text\"",
    "text: \"(has(steps.maybe) || input.flag) ? steps.‸maybe.text : ''\"",
    "text: \"(has(steps.maybe) ? input.flag : true) ? steps.‸maybe.text : ''\"",
    "text: \"has(steps.earlier) ? steps.‸maybe.text : ''\"",
    'text: "has(steps.maybe) ? steps.maybe.text : steps.‸maybe.nick"',
    "big: steps.‸maybe.big + steps.maybe.big",
]


@pytest.mark.parametrize(("yaml", "code"), GUARDED)
def test_behind_its_has_a_step_is_read(lab: Lab, yaml: str, code: str | None) -> None:
    assert code is None or lab.returned(yaml) == f"Everything({code})"
    expr = lab.compiled(yaml)
    assert "maybe = " not in lab.source(expr).function, "read before it is known to be there"


@pytest.mark.parametrize("yaml", UNGUARDED)
def test_elsewhere_it_is_a_mistake(lab: Lab, yaml: str) -> None:
    expr, found = lab.compile(yaml.replace(MARK, ""))
    assert expr is None
    finding = only(found)
    assert (finding.code, finding.at.column) == ("SG127", yaml.index(MARK) + 3)
    assert finding.message == 'step "maybe" may have no response here: it is skipped unless input.flag'


def test_each_step_that_may_be_missing_is_told_once(lab: Lab) -> None:
    guarded = {"maybe": "it may be skipped", "earlier": "it may be given up"}
    _, found = lab.compile("text: steps.maybe.text + steps.earlier.text + steps.maybe.nick", guarded=guarded)
    assert [(finding.code, finding.at.column) for finding in found] == [("SG127", 15), ("SG127", 34)]


def test_a_mistake_beside_it_is_told_as_well(lab: Lab) -> None:
    _, found = lab.compile("text: steps.maybe.text + input.txt")
    assert sorted(finding.code for finding in found) == ["SG102", "SG127"]


def test_a_broken_condition_causes_no_other_findings(lab: Lab) -> None:
    _, found = lab.compile("flag: has(steps.maybe.flg) && steps.maybe.flag")
    assert "SG102" in [finding.code for finding in found]
    _, found = lab.compile("flag: has(steps.myabe) && steps.maybe.flag")
    assert [finding.code for finding in found] == ["SG103"]


PASTED = [
    "text: steps.maybe.text",
    "nick: steps.maybe.nick",
    "flag: steps.maybe.flag",
    "flag: steps.maybe.flag || input.flag",
    'flag: "input.flag ? steps.maybe.flag : true"',
    "text: \"input.flag ? steps.maybe.text : 'none'\"",
    "text: 'steps.maybe.text + \"a\\b\"'",
    "text: \"steps.maybe.text + r'\\\\'\"",
    "small: steps.maybe.big",
    "count: steps.maybe.count",
    "real: steps.maybe.real",
    "raw: steps.maybe.raw",
    "kind: steps.maybe.kind",
    "words: steps.maybe.words",
    "totals: steps.maybe.totals",
    "item: steps.maybe.item",
    "parcel: steps.maybe.parcel",
    "when: steps.maybe.when",
    "lasts: steps.maybe.inner.lasts",
    "any: steps.maybe.any",
    "wrapped_text: steps.maybe.wrapped_text",
    "text: steps.maybe.text + steps.each[0].text",
    "words: steps.each.map(e, e.text)",
    "text: |\n  steps.maybe.text +\n  'b'",
]


@pytest.mark.parametrize("yaml", PASTED)
def test_what_the_hint_says_can_be_pasted(lab: Lab, yaml: str) -> None:
    guarded = {"maybe": "it may be skipped", "each": "it may be skipped"}
    _, found = lab.compile(yaml, guarded=guarded)
    assert found
    for finding in found:
        form = finding.hint.removeprefix("write ")
        pasted = f"{yaml.partition(':')[0]}: {form}"
        assert lab.compile(pasted, guarded=guarded)[1] == []


def test_an_expression_too_long_to_repeat_is_shown_by_example(lab: Lab) -> None:
    _, found = lab.compile(f"text: steps.maybe.text + '{'x' * 200}'")
    assert only(found).hint == 'write "has(steps.maybe) ? steps.maybe... : ..."'


def test_what_the_readers_when_says_is_known(lab: Lab) -> None:
    condition = lab.compiled_value("when", "input.flag && has(steps.maybe)")
    known = guards(condition.root)
    assert known == {"maybe"}
    source = lab.source(lab.compiled("text: steps.maybe.text", guaranteed=known))
    assert 'maybe = scope.response("maybe", Everything)' in source.function


@pytest.mark.parametrize(
    ("yaml", "known"),
    [
        ("has(steps.maybe) || input.flag", NOTHING),
        ("'!has(steps.maybe)'", NOTHING),
        ("'has(steps.maybe) ? steps.maybe.flag : false'", {"maybe"}),
        ("has(steps.maybe) && has(steps.earlier)", {"earlier", "maybe"}),
        ("'has(steps.maybe) ? has(steps.earlier) : has(steps.earlier)'", {"earlier"}),
        ("has(steps.each)", {"each"}),
        ("false", NOTHING),
    ],
)
def test_a_condition_says_what_is_there(lab: Lab, yaml: str, known: set[str]) -> None:
    assert guards(lab.compiled_value("when", yaml).root) == known


def test_a_guard_is_part_of_the_meaning(lab: Lab) -> None:
    def meaning(yaml: str, **changes: Any) -> str:
        return lab.compiled_value("when", yaml, **changes).canonical()

    assert meaning("has(steps.maybe)") == "(done steps.maybe)"
    assert meaning("has(steps.maybe) && steps.maybe.flag") == "(and (done steps.maybe) (get steps.maybe 11))"
    assert meaning("steps.maybe.flag", guarded={}) == meaning(
        "steps.maybe.flag", guaranteed=frozenset({"maybe"})
    )


CONDITIONS = st.recursive(
    st.sampled_from(
        [
            *(
                "has(steps.maybe)",
                "has(steps.other)",
                "!has(steps.maybe)",
                "steps.maybe.flag",
                "steps.other.flag",
            ),
            *("input.flag", "true", "false", "1 / input.big > 0", "has(steps.maybe) == input.flag"),
        ]
    ),
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("({} == {})".format, inner, st.sampled_from(["true", "false"])),
        st.builds("input.numbers.exists(n, n > 0 && {})".format, inner),
        st.builds("input.numbers.all(n, 1 / n > 0 || {})".format, inner),
    ),
    max_leaves=8,
)


@pytest.mark.slow
@settings(
    max_examples=60 * FUZZ_ROUNDS, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
@given(condition=CONDITIONS, flag=st.booleans(), big=st.integers(0, 1), number=st.integers(0, 1))
def test_what_passes_never_reads_a_step_that_is_missing(
    lab: Lab, condition: str, flag: bool, big: int, number: int
) -> None:
    """And means what CEL says, where the responses that are there are a map."""
    everything = lab.python_class("Everything")
    steps = {"maybe": lab.input, "other": lab.input}
    guarded = dict.fromkeys(steps, "it may be skipped")
    expr, found = lab.value("when", f'"{condition}"', steps=steps, guarded=guarded)
    assert {finding.code for finding in found} <= {"SG127"}
    assume(expr is not None)
    assert expr is not None
    oracle, compute = Oracle(condition), lab.function(expr)
    values = {"flag": flag, "big": big, "numbers": [number]}
    for there in itertools.product((None, True, False), repeat=2):
        responses = {
            step: {"flag": is_set} for step, is_set in zip(steps, there, strict=True) if is_set is not None
        }
        logged = {step: bytes(everything(**response)) for step, response in responses.items()}
        scope = Scope("saga-1", everything, bytes(everything(**values)), logged)
        assert agree(computed(compute, scope), oracle.value_with(values, responses)), (values, responses)


def computed(compute: Callable[[Any], Any], scope: Scope[Any]) -> Any:
    try:
        return compute(scope)
    except ExpressionError:
        return FAILED


def test_a_condition_that_fails_is_told_as_that(lab: Lab) -> None:
    everything = lab.python_class("Everything")
    yaml = "'(1 / input.big > 0 ? has(steps.maybe) : false) && steps.maybe.flag'"
    compute = lab.function(lab.compiled_value("when", yaml))
    with pytest.raises(ExpressionError, match="division by zero"):
        compute(Scope("saga-1", everything, b"", {}))
