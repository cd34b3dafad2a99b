"""What was planned is not planned again, though nothing is said of it: a block that runs, a wait without a time."""

from dataclasses import replace

import pytest
from small_mesh import saga, step

from sagagen.runtime.model.definition import Branch, Element, Parallel, StepKind, Wait
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import CallNow, Plan
from sagagen.runtime.saga.events import Accepted, NextRequest, Planned
from sagagen.runtime.saga.history import History

BRANCH = Branch("one", (Wait("inner", StepKind.COMPENSATABLE, "told"),))
ELEMENTS = [
    Wait("alone", StepKind.COMPENSATABLE, "told"),
    Parallel("block", StepKind.COMPENSATABLE, (BRANCH,), when=lambda _: True),
]


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda element: element.name)
def test_an_element_of_which_nothing_is_said_is_planned_once(element: Element) -> None:
    definition = replace(saga(step("first")), steps=(element,))
    history = History.begin(accepted())
    assert decide(definition, history) == Plan((element,))
    planned = history.with_row(Planned(at_ms=0, next=NextRequest(step=element.name)))
    match decide(definition, planned):
        case Plan(elements):
            assert [each.name for each in elements] == ["inner"]
        case CallNow((), pauses):
            assert [pause.key for pause in pauses] == ["alone"]
        case other:
            pytest.fail(f"{other}")


def accepted() -> Accepted:
    return Accepted(
        at_ms=0,
        saga_id="s",
        saga="s",
        version=1,
        digest="",
        run="r",
        caller="",
        key="k",
        fingerprint=b"",
        input=b"",
        trace=TraceContext("", ""),
        next=NextRequest(),
    )
