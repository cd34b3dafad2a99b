"""What expressions read of the caller's claims, and of a route's call: values, defaults, and what is refused."""

from typing import Any

import pytest
from expression_lab import Lab
from test_expression_diagnostics import MARK, only

from sagagen.expression import reads_response, render_access
from sagagen.expression.types import INT, ListType, Simple, Type
from sagagen.python_names import PyClass
from sagagen.runtime.model.security import ClaimValue
from sagagen.runtime.scope import AccessScope, EventScope, Scope

CLAIMS: dict[str, Type] = {
    "tenant": Simple.STRING,
    "level": INT,
    "is_staff": Simple.BOOL,
    "groups": ListType(Simple.STRING),
}
TOLD: dict[str, ClaimValue] = {"tenant": "north", "level": 2**62, "is_staff": True, "groups": ("a", "b")}
COMPUTED: list[tuple[str, str, object, object]] = [
    ("when", "claims.tenant == 'north'", True, False),
    ("when", "claims.is_staff", True, False),
    ("when", "claims.level > 3", True, False),
    ("when", "\"'a' in claims.groups\"", True, False),
    ("when", "\"claims.groups == ['a', 'b']\"", True, False),
    ("when", "claims.groups.exists(claims, claims == 'b')", True, False),
    ("saga_id", "claims.tenant + '-' + saga.id", "north-saga-1", "-saga-1"),
    ("key", "claims.level", 2**62, 0),
    ("index", "claims.is_staff", True, False),
    ("in", "claims.groups", ["a", "b"], []),
    ("in", "claims.groups.filter(g, g != claims.tenant)", ["a", "b"], []),
]
"""Place, expression, what it is, and what it is of a caller without any claim."""


def scope_of(lab: Lab, claims: dict[str, ClaimValue]) -> Scope[Any]:
    everything = lab.python_class("Everything")
    return Scope("saga-1", everything, b"", {}, claims=claims)


@pytest.mark.parametrize(("place", "yaml", "value", "default"), COMPUTED)
def test_a_claim_is_what_the_token_says_or_its_types_default(
    lab: Lab, place: str, yaml: str, value: object, default: object
) -> None:
    for claims, expected in ((TOLD, value), ({}, default)):
        computed = lab.computed(place, yaml, scope_of(lab, claims), claims=CLAIMS)
        assert computed == expected
        assert type(computed) is type(expected)


@pytest.mark.parametrize("logged", ["yes", 1, ("a",)])
def test_a_claim_that_was_logged_with_another_type_is_the_default(lab: Lab, logged: ClaimValue) -> None:
    scope = scope_of(lab, {"is_staff": logged, "groups": "a"})
    assert lab.computed("when", "claims.is_staff", scope, claims=CLAIMS) is False
    assert lab.computed("in", "claims.groups", scope, claims=CLAIMS) == []


def test_a_list_of_claims_is_a_copy_that_a_message_may_keep(lab: Lab) -> None:
    build = lab.function(lab.compiled_value("in", "claims.groups", claims=CLAIMS))
    scope = scope_of(lab, TOLD)
    build(scope).append("c")
    assert build(scope) == ["a", "b"]


def test_within_a_loop_the_claims_are_the_same(lab: Lab) -> None:
    scope = scope_of(lab, TOLD).of_item("pizza")
    yaml = "dish + claims.tenant"
    assert lab.computed("saga_id", yaml, scope, claims=CLAIMS, item=("dish", Simple.STRING)) == "pizzanorth"


def test_an_event_has_the_claims_of_whoever_sends_it(lab: Lab) -> None:
    item = lab.python_class("Item")
    scope: EventScope[Any, Any] = EventScope(item, bytes(item(name="north")), claims=TOLD)
    assert lab.computed("when", "claims.tenant == event.name", scope, event="Item", claims=CLAIMS)


MISTAKES = [
    ("when", "claims.‸tennant == 'a'", "SG132", 'did you mean "tenant"?'),
    ("when", "claims.‸x == 'a'", "SG132", "known here: groups, is_staff, level, tenant"),
    ("when", "‸claims", "SG125", "claims.tenant"),
    ("when", "claims.tenant.‸id == 'a'", "SG125", 'remove ".id"'),
    ("when", "claims.groups.‸id == 'a'", "SG125", ".map("),
    ("when", "claims.tenant ‸== 5", "SG106", ""),
    ("when", "‸claims.tenant", "SG105", "compare it"),
    ("when", "has(‸claims.tenant)", "SG108", "has(input.field)"),
    ("when", "‸claim.tenant == 'a'", "SG101", 'did you mean "claims"?'),
]


@pytest.mark.parametrize(("place", "yaml", "code", "hint"), MISTAKES)
def test_a_mistake_is_reported_at_its_token(lab: Lab, place: str, yaml: str, code: str, hint: str) -> None:
    expr, found = lab.value(place, yaml.replace(MARK, ""), claims=CLAIMS)
    assert expr is None
    finding = only(found)
    assert (finding.code, finding.at.column) == (code, len(place) + 3 + yaml.index(MARK))
    assert hint in finding.hint


def test_where_no_scheme_names_a_claim_the_way_to_it_is_said(lab: Lab) -> None:
    finding = only(lab.value("when", "claims.tenant == 'a'")[1])
    assert finding.code == "SG132"
    assert finding.message == 'there is no "claims.tenant": the contract names no claims'
    assert "claims: { tenant: string }" in finding.hint


def test_where_they_are_not_known_it_says_why(lab: Lab) -> None:
    finding = only(lab.value("when", "claims.tenant == 'a'", hidden={"claims": "it is too early"})[1])
    assert (finding.code, finding.message) == ("SG126", '"claims" cannot be read here: it is too early')


def test_without_claims_the_name_is_free(lab: Lab) -> None:
    assert (
        lab.computed("saga_id", "claims", scope_of(lab, {}).of_item("x"), item=("claims", Simple.STRING))
        == "x"
    )
    assert lab.computed("in", "input.words.map(claims, claims)", scope_of(lab, TOLD), claims=CLAIMS) == []


def test_claims_are_told_apart_in_a_digest(lab: Lab) -> None:
    meanings = {
        lab.compiled_value("when", f"claims.{name} == '1'", claims={name: Simple.STRING}).canonical()
        for name in "ab"
    }
    assert meanings == {"(equal claims.a (string '1'))", "(equal claims.b (string '1'))"}


def allowed(lab: Lab, yaml: str, scope: AccessScope[Any, Any]) -> object:
    """What a route's `allow` says, of a call with an Item as request and an Everything as response."""
    request, response = lab.descriptor("Item"), lab.descriptor("Everything")
    expr = lab.compiled_value("when", yaml, claims=CLAIMS, request=request, response=response, input=None)
    names: dict[str, Any] = {}

    def refer(py_class: PyClass) -> str:
        names[py_class.name] = lab.python_class(py_class.name)
        return py_class.name

    rendered = render_access(
        "allow", expr, request=request, response=response, names=lab.names, doc="", refer=refer
    )
    exec("\n".join(rendered.lines), names | {"AccessScope": AccessScope}, names)
    return names["allow"](scope)


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        ("request.name == caller", True),
        ("response.text == caller && request.quantity == 2", True),
        ("response.text == claims.tenant", False),
        ("response.items.exists(response, response.name == caller)", True),
        ("response.items.all(i, i.name == request.name)", True),
        ("has(response.item) || response.inner.inner.text == 'x'", False),
    ],
)
def test_allow_reads_the_call_and_its_answer(lab: Lab, yaml: str, value: bool) -> None:
    item, everything = lab.python_class("Item"), lab.python_class("Everything")
    scope = AccessScope(
        item,
        bytes(item(name="ann", quantity=2)),
        caller="ann",
        claims=TOLD,
        response_type=everything,
        response=bytes(everything(text="ann", items=[item(name="ann")])),
    )
    assert allowed(lab, yaml, scope) is value


def test_only_what_reads_the_answer_waits_for_it(lab: Lab) -> None:
    both = {"request": lab.descriptor("Item"), "response": lab.descriptor("Item")}
    reads = {
        yaml: reads_response(lab.compiled_value("when", yaml, **both))
        for yaml in (
            "request.name == caller",
            "response.name == caller",
            "true",
            "request.tags.all(t, t.name == response.name)",
            "request.tags.all(response, response.name == caller)",
        )
    }
    assert list(reads.values()) == [False, True, False, True, False]
