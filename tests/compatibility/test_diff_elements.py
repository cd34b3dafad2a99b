"""What a change of blocks, conditions, loops, waits, delays or events is, as values of the resolved contract.

The digest is left as it is: whether a change needs a new version is tried on contracts, in `test_diff_second_edition`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from contract_pair import ROOT, severities, shop

from sagagen.compatibility.change import Change, Target
from sagagen.compatibility.compare import compare_contracts, in_order
from sagagen.contract.model import (
    Branch,
    Cancel,
    Decline,
    Delay,
    Element,
    Event,
    ForEach,
    IndexValue,
    Mesh,
    Parallel,
    Saga,
    Start,
    Step,
    Wait,
)
from sagagen.expression.tree import Constant
from sagagen.expression.types import Simple
from sagagen.expression.value import ListExpr, ValueExpr
from sagagen.runtime.model.definition import StepKind

B, W, S = "breaking", "warning", "safe"
MESH = shop()[1]
SAGA = MESH.sagas[0]
CREATE, RESERVE, CHARGE, CONFIRM = SAGA.calls
RPCS = {
    method.name: method for service in MESH.services for each in service.implements for method in each.methods
}


def says(text: str) -> ValueExpr:
    """An expression whose meaning is this."""
    return ValueExpr(Constant(text, Simple.STRING))


def items(text: str) -> ListExpr:
    return ListExpr(Constant(text, Simple.STRING), Simple.STRING)


def call(name: str, **how: Any) -> Step:
    """One that is undone."""
    return replace(RESERVE, name=name, **how)


def look(name: str, **how: Any) -> Step:
    """One with nothing to undo."""
    return replace(RESERVE, name=name, compensation=None, **how)


def loop(name: str, **how: Any) -> Step:
    how = {
        "variable": "i",
        "items": items("input.items"),
        "key": None,
        "at_once": 10,
        "max_items": 100,
        **how,
    }
    return call(name, for_each=ForEach(**how))


def wait(name: str, event: str = "answered", **how: Any) -> Wait:
    return Wait(name, StepKind.COMPENSATABLE, event, how.pop("within_s", 600.0), RESERVE.span, **how)


def delay(name: str, **how: Any) -> Delay:
    return Delay(name, StepKind.COMPENSATABLE, RESERVE.span, **how)


def block(name: str, **branches: Sequence[Element]) -> Parallel:
    return Parallel(
        name,
        StepKind.COMPENSATABLE,
        tuple(Branch(branch, tuple(steps), RESERVE.span) for branch, steps in branches.items()),
        RESERVE.span,
    )


def event(name: str, rpc: str = "GetStock", **how: Any) -> Event:
    how = {"saga_id": says("event.id"), "allow": None, "body": None, "span": RESERVE.span, **how}
    return Event(name, RPCS[rpc], **how)


def cancel(**how: Any) -> Cancel:
    how = {"saga_id": says("event.id"), "reason": "CANCELLED", "allow": None, "span": RESERVE.span, **how}
    return Cancel(how.pop("rpc", RPCS["GetStock"]), **how)


def index(name: str, value: str) -> IndexValue:
    return IndexValue(name, says(value), RESERVE.span)


def saga(*elements: Element, **what: Any) -> Saga:
    """Between the shop's first step and its pivot."""
    return replace(SAGA, steps=(CREATE, *elements, CONFIRM), **what)


def mesh(of: Saga) -> Mesh:
    return replace(MESH, sagas=(of,))


def compared(old: Saga, new: Saga) -> tuple[Change, ...]:
    return in_order(compare_contracts(mesh(old), mesh(new)))


A, B_, C = call("a"), call("b"), call("c")
NAMED = (event("answered"), event("other", "GetOrder"))

CASES: dict[str, tuple[Saga, Saga, dict[str, str]]] = {
    # Blocks and branches.
    "steps become branches": (saga(A, B_), saga(block("p", x=[A], y=[B_])), {"SD116": B}),
    "branches become steps": (saga(block("p", x=[A], y=[B_])), saga(A, B_), {"SD116": B}),
    "an element goes into a branch": (
        saga(C, block("p", x=[A], y=[B_])),
        saga(block("p", x=[A], y=[B_, C])),
        {"SD116": B},
    ),
    "an element goes to another branch": (
        saga(block("p", x=[A, C], y=[B_])),
        saga(block("p", x=[A], y=[B_, C])),
        {"SD116": B},
    ),
    "a block goes into another": (
        saga(block("p", x=[A], y=[B_]), block("q", x=[C], y=[look("d")])),
        saga(block("q", x=[C], y=[look("d"), block("p", x=[A], y=[B_])])),
        {"SD116": B},
    ),
    "branches are reordered": (
        saga(block("p", x=[A], y=[B_])),
        saga(block("p", y=[B_], x=[A])),
        {"SD120": S},
    ),
    "a branch is renamed": (saga(block("p", x=[A], y=[B_])), saga(block("p", x=[A], z=[B_])), {"SD120": S}),
    "branches swap their names": (
        saga(block("p", x=[A], y=[B_])),
        saga(block("p", x=[B_], y=[A])),
        {"SD120": S},
    ),
    "a branch gets other steps under its name": (
        saga(block("p", x=[A], y=[B_]), C),
        saga(block("p", x=[A], y=[look("d", action=CHARGE.action)]), C),
        {"SD101": B, "SD105": B},
    ),
    "a branch is added": (
        saga(block("p", x=[A], y=[B_])),
        saga(block("p", x=[A], y=[B_], z=[C, look("d")])),
        {"SD118": B},
    ),
    "a branch is added to what comes last": (
        replace(SAGA, steps=(CREATE, block("p", x=[A]))),
        replace(SAGA, steps=(CREATE, block("p", x=[A], y=[B_]))),
        {"SD106": W},
    ),
    "a branch is removed": (
        saga(block("p", x=[A], y=[look("d"), look("e")])),
        saga(block("p", x=[A])),
        {"SD119": W},
    ),
    "a branch that is undone is removed": (
        saga(block("p", x=[A], y=[look("d"), B_])),
        saga(block("p", x=[A])),
        {"SD119": W, "SD101": B},
    ),
    "a block is inserted": (saga(A), saga(block("p", x=[B_], y=[C]), A), {"SD105": B}),
    "a block is removed": (saga(block("p", x=[look("d")], y=[look("e")]), A), saga(A), {"SD102": W}),
    "a block whose steps are undone is removed": (
        saga(block("p", x=[B_], y=[look("e")]), A),
        saga(A),
        {"SD102": W, "SD101": B},
    ),
    "a block is renamed": (
        saga(block("p", x=[A], y=[B_])),
        saga(block("q", x=[A], y=[B_])),
        {"SD103": B},
    ),
    "a step of a branch is renamed": (
        saga(block("p", x=[A, C], y=[B_])),
        saga(block("p", x=[A, call("d")], y=[B_])),
        {"SD103": B},
    ),
    "the only step of a branch is renamed": (
        saga(block("p", x=[A], y=[B_])),
        saga(block("p", x=[A], y=[call("d")])),
        {"SD103": B},
    ),
    "steps of a branch are reordered": (
        saga(block("p", x=[A, C], y=[B_])),
        saga(block("p", x=[C, A], y=[B_])),
        {"SD104": B},
    ),
    "a step is inserted into a branch": (
        saga(block("p", x=[A], y=[B_])),
        saga(block("p", x=[look("d"), A], y=[B_])),
        {"SD105": B},
    ),
    "a step is appended to a branch": (
        saga(block("p", x=[A], y=[B_])),
        saga(block("p", x=[A, look("d")], y=[B_])),
        {"SD105": B},
    ),
    "a step of a branch is removed": (
        saga(block("p", x=[look("d"), A], y=[B_])),
        saga(block("p", x=[A], y=[B_])),
        {"SD102": W},
    ),
    "a step of a branch is built differently": (
        saga(block("p", x=[A], y=[B_])),
        saga(block("p", x=[replace(A, action=replace(A.action, request=CREATE.action.request))], y=[B_])),
        {"SD110": B},
    ),
    # What an element is.
    "a call becomes a wait": (saga(A), saga(wait("a")), {"SD117": B}),
    "a wait becomes a delay": (saga(wait("a")), saga(delay("a", after_s=60.0)), {"SD117": B}),
    "a call becomes a block": (saga(A), saga(block("a", x=[B_])), {"SD117": B}),
    "a block becomes a call": (saga(block("a", x=[B_], y=[look("d")])), saga(A), {"SD117": B, "SD101": B}),
    "a call becomes a loop": (saga(A), saga(loop("a")), {"SD117": B}),
    "a loop becomes a call": (saga(loop("a")), saga(A), {"SD117": B}),
    "the kind of a wait": (
        saga(wait("a")),
        saga(replace(wait("a"), kind=StepKind.RETRIABLE)),
        {"SD111": B},
    ),
    "the kind of a block is that of its steps": (
        saga(replace(block("p", x=[A]), kind=StepKind.RETRIABLE)),
        saga(block("p", x=[A])),
        {},
    ),
    # Conditions.
    "a condition is added": (saga(A), saga(replace(A, when=says("x"))), {"SD121": B}),
    "a condition is removed": (saga(replace(A, when=says("x"))), saga(A), {"SD121": B}),
    "a condition changes": (saga(replace(A, when=says("x"))), saga(replace(A, when=says("y"))), {"SD121": B}),
    "the condition of a block changes": (
        saga(replace(block("p", x=[A]), when=says("x"))),
        saga(replace(block("p", x=[A]), when=says("y"))),
        {"SD121": B},
    ),
    # Loops.
    "a loop over another list": (saga(loop("a")), saga(loop("a", items=items("steps.x"))), {"SD122": B}),
    "a loop with another key": (saga(loop("a")), saga(loop("a", key=says("i.id"))), {"SD123": B}),
    "a loop with more at once": (saga(loop("a")), saga(loop("a", at_once=20)), {"SD311": W}),
    "a loop with fewer at once": (saga(loop("a")), saga(loop("a", at_once=2)), {"SD311": W}),
    "a loop of fewer items": (saga(loop("a")), saga(loop("a", max_items=20)), {"SD312": B}),
    "a loop of more items": (saga(loop("a")), saga(loop("a", max_items=200)), {"SD313": S}),
    # Giving up.
    "a step is given up": (saga(A), saga(replace(A, gives_up=True)), {"SD124": B}),
    "a step is not given up any more": (saga(replace(A, gives_up=True)), saga(A), {"SD125": W}),
    # Waits.
    "a wait is added": (saga(A), saga(A, wait("w")), {"SD105": B}),
    "a wait is removed": (saga(A, wait("w")), saga(A), {"SD102": W}),
    "a wait is renamed": (saga(A, wait("w")), saga(A, wait("v")), {"SD103": B}),
    "a wait for another event": (
        saga(wait("w"), events=NAMED),
        saga(wait("w", "other"), events=NAMED),
        {"SD710": B},
    ),
    "a wait has less time": (saga(wait("w")), saga(wait("w", within_s=60.0)), {"SD309": W}),
    "a wait has more time": (saga(wait("w")), saga(wait("w", within_s=900.0)), {"SD307": S}),
    "a wait has a limit of its own": (saga(wait("w", within_s=None)), saga(wait("w")), {"SD309": W}),
    "a wait has no limit of its own": (saga(wait("w")), saga(wait("w", within_s=None)), {"SD307": S}),
    "an event may decline": (
        saga(wait("w")),
        saga(wait("w", decline=Decline(says("x"), "NO"))),
        {"SD711": B},
    ),
    "an event may not decline any more": (
        saga(wait("w", decline=Decline(says("x"), "NO"))),
        saga(wait("w")),
        {"SD711": B},
    ),
    "an event declines otherwise": (
        saga(wait("w", decline=Decline(says("x"), "NO"))),
        saga(wait("w", decline=Decline(says("y"), "NO"))),
        {"SD711": B},
    ),
    "the reason of a decline": (
        saga(wait("w", decline=Decline(says("x"), "NO"))),
        saga(wait("w", decline=Decline(says("x"), "NEVER"))),
        {"SD713": B},
    ),
    "a time-out goes on": (saga(wait("w")), saga(wait("w", on_timeout=None)), {"SD712": B}),
    "a time-out turns back": (saga(wait("w", on_timeout=None)), saga(wait("w")), {"SD712": B}),
    "the reason of a time-out": (saga(wait("w")), saga(wait("w", on_timeout="SILENT")), {"SD713": B}),
    "waits for one event change places": (
        saga(block("p", x=[wait("v")], y=[wait("w")])),
        saga(block("p", y=[wait("w")], x=[wait("v")])),
        {"SD120": S, "SD714": W},
    ),
    "the pivot is a wait": (
        saga(A),
        replace(SAGA, steps=(CREATE, A, replace(wait("w"), kind=StepKind.PIVOT), CONFIRM)),
        {"SD105": B, "SD113": B},
    ),
    # Delays.
    "a longer delay": (saga(delay("d", after_s=60.0)), saga(delay("d", after_s=90.0)), {"SD310": W}),
    "a shorter delay": (saga(delay("d", after_s=60.0)), saga(delay("d", after_s=30.0)), {"SD310": W}),
    "a delay that the input says": (
        saga(delay("d", after_s=60.0)),
        saga(delay("d", after=says("input.pause"))),
        {"SD126": B},
    ),
    "a delay that another field says": (
        saga(delay("d", at=says("input.x"))),
        saga(delay("d", at=says("input.y"))),
        {"SD126": B},
    ),
    "a delay may be less long": (
        saga(delay("d", at=says("input.x"), at_most_s=9.0)),
        saga(delay("d", at=says("input.x"), at_most_s=5.0)),
        {"SD312": B},
    ),
    "a delay may be as long as it will": (
        saga(delay("d", at=says("input.x"), at_most_s=9.0)),
        saga(delay("d", at=says("input.x"))),
        {"SD313": S},
    ),
    "a delay is renamed": (saga(delay("d", after_s=60.0)), saga(delay("e", after_s=60.0)), {"SD103": B}),
    # Events.
    "an event is added": (saga(A), saga(A, events=NAMED), {"SD701": S}),
    "an event is removed": (saga(A, events=NAMED), saga(A), {"SD702": B}),
    "an event is renamed": (
        saga(wait("w"), events=(event("answered"),)),
        saga(wait("w", "said"), events=(event("said"),)),
        {"SD703": B},
    ),
    "an event by another rpc": (
        saga(A, events=(event("e"),)),
        saga(A, events=(event("e", "ReserveStock"),)),
        {"SD704": B, "SD705": B},
    ),
    "an event finds its saga otherwise": (
        saga(A, events=(event("e"),)),
        saga(A, events=(event("e", saga_id=says("event.order")),)),
        {"SD707": B},
    ),
    "an event is for some only": (
        saga(A, events=(event("e"),)),
        saga(A, events=(event("e", allow=says("x")),)),
        {"SD708": B},
    ),
    "an event is for all": (
        saga(A, events=(event("e", allow=says("x")),)),
        saga(A, events=(event("e"),)),
        {"SD708": B},
    ),
    "an event is answered otherwise": (
        saga(A, events=(event("e"),)),
        saga(A, events=(event("e", body=CREATE.action.request),)),
        {"SD508": B},
    ),
    # Cancel.
    "cancel is added": (saga(A), saga(A, cancel=cancel()), {"SD721": S}),
    "cancel is removed": (saga(A, cancel=cancel()), saga(A), {"SD722": B}),
    "cancel comes by another rpc": (
        saga(A, cancel=cancel()),
        saga(A, cancel=cancel(rpc=RPCS["GetOrder"])),
        {"SD704": B, "SD705": B},
    ),
    "cancel is for others": (saga(A, cancel=cancel()), saga(A, cancel=cancel(allow=says("x"))), {"SD708": B}),
    "the reason of a cancel": (saga(A, cancel=cancel()), saga(A, cancel=cancel(reason="GONE")), {"SD713": B}),
    # Start.
    "a later start": (saga(A), saga(A, start=Start(A.span, at=says("input.at"))), {"SD731": W}),
    "no later start": (saga(A, start=Start(A.span, at=says("input.at"))), saga(A), {"SD732": B}),
    "a start at another time": (
        saga(A, start=Start(A.span, at=says("input.at"))),
        saga(A, start=Start(A.span, at=says("input.on"))),
        {"SD733": B},
    ),
    "a start after what the input says": (
        saga(A, start=Start(A.span, after_s=5.0)),
        saga(A, start=Start(A.span, after=says("input.on"))),
        {"SD733": B},
    ),
    "a start after more time": (
        saga(A, start=Start(A.span, after_s=5.0)),
        saga(A, start=Start(A.span, after_s=9.0)),
        {"SD734": W},
    ),
    "a start not so late": (
        saga(A, start=Start(A.span, at=says("input.at"), at_most_s=9.0)),
        saga(A, start=Start(A.span, at=says("input.at"), at_most_s=5.0)),
        {"SD735": B},
    ),
    "a start as late as one likes": (
        saga(A, start=Start(A.span, at=says("input.at"), at_most_s=5.0)),
        saga(A, start=Start(A.span, at=says("input.at"), at_most_s=9.0)),
        {"SD313": S},
    ),
    # Index.
    "an index value is added": (saga(A), saga(A, index=(index("total", "x"),)), {"SD741": S}),
    "an index value is removed": (saga(A, index=(index("total", "x"),)), saga(A), {"SD742": W}),
    "an index value means something else": (
        saga(A, index=(index("total", "x"),)),
        saga(A, index=(index("total", "y"),)),
        {"SD743": W},
    ),
    # Answers.
    "answered after a block": (
        saga(block("p", x=[A])),
        saga(block("p", x=[A]), respond=replace(SAGA.respond, after="p")),
        {"SD507": B},
    ),
    # The first write.
    "the first write goes elsewhere": (
        replace(SAGA, steps=(CREATE, RESERVE)),
        replace(SAGA, steps=(RESERVE, CREATE)),
        {"SD104": B, "SD127": W},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_change_of_elements_has_its_rule_and_severity(name: str) -> None:
    old, new, expected = CASES[name]
    found = compared(old, new)
    assert severities(found) == expected
    for change in found:
        assert (ROOT / change.at.path).is_file(), change.at
        assert change.message
        assert change.subject.startswith("place_order")


@pytest.mark.parametrize("name", CASES)
def test_what_has_not_changed_is_not_told(name: str) -> None:
    old, new, _ = CASES[name]
    assert compared(old, old) == compared(new, new) == ()


def test_an_event_without_a_route_can_never_come() -> None:
    waiting = saga(wait("w"), events=(event("answered"),), cancel=cancel(rpc=RPCS["GetOrder"]))
    old = mesh(waiting)
    new = replace(old, routes=tuple(route for route in old.routes if route.method.name == "PlaceOrder"))
    found = in_order(compare_contracts(old, new))
    assert severities(found) == {"SD706": B, "SD501": B}
    subjects = {change.subject for change in found if change.rule.code == "SD706"}
    assert subjects == {"place_order/answered", "place_order/cancel"}


def test_an_event_of_a_kept_version_needs_its_route() -> None:
    kept = saga(wait("w"), events=(event("answered"),))
    old = replace(MESH, sagas=(replace(SAGA, version=2),), kept=(kept,))
    new = replace(old, routes=tuple(route for route in old.routes if route.method.name != "GetStock"))
    assert severities(in_order(compare_contracts(old, new))) == {"SD706": B, "SD501": B}
    gone = replace(new, kept=())
    assert severities(in_order(compare_contracts(old, gone))) == {"SD003": B, "SD501": B}


def test_a_new_version_leaves_the_events_of_the_old_one_alone() -> None:
    """What its clients find is told; what waits goes on by the kept version."""
    old = saga(wait("w"), events=(event("answered"),), cancel=cancel())
    new = replace(saga(wait("w", "said"), events=(event("said"),)), version=2)
    kept = replace(mesh(new), kept=(old,))
    found = in_order(compare_contracts(mesh(old), kept))
    assert severities(found) == {"SD012": S, "SD722": B}
    assert [change.target for change in found] == [None, None]


def test_what_changes_in_a_kept_version_hits_its_open_sagas() -> None:
    old = saga(wait("w"), events=(event("answered"),))
    changed = saga(wait("w"), events=(event("answered", allow=says("x")),))
    before, after = (
        replace(MESH, sagas=(replace(SAGA, version=2),), kept=(kept,)) for kept in (old, changed)
    )
    (found,) = compare_contracts(before, after)
    assert (found.rule.code, found.target) == ("SD708", Target("place_order", 1))


def test_a_block_in_a_block_in_a_block_is_compared_too() -> None:
    def nested(inner: Element) -> Saga:
        return saga(block("p", x=[block("q", x=[block("r", x=[inner])])]))

    found = compared(nested(A), nested(replace(A, when=says("x"))))
    assert severities(found) == {"SD121": B}
