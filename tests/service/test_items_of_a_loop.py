"""What is undone of a loop costs in proportion to its items."""

from collections.abc import Sequence

from ledger import PUT, UNDO, PutRequest
from small_mesh import BUDGETED, RETRY, Text, acceptance, saga

from sagagen.runtime.engine.acceptance import accepted_row
from sagagen.runtime.engine.requests import Requests
from sagagen.runtime.model.definition import Action, Direction, ForEach, Step, StepKind
from sagagen.runtime.saga.decision import StepCall
from sagagen.runtime.saga.events import LoopPlanned, Outcome, TurnedBack
from sagagen.runtime.saga.history import fold
from sagagen.runtime.scope import Failure, Scope


def test_the_list_is_worked_out_once_for_all_compensations() -> None:
    asked: list[str] = []

    def listed(scope: Scope[Text]) -> Sequence[str]:
        asked.append(scope.input.value)
        return scope.input.value.split()

    def undone(scope: Scope[Text]) -> PutRequest:
        return PutRequest(name=scope.item(str))

    put = Action("ledger", PUT, undone, 10.0, RETRY)
    undo = Action("ledger", UNDO, undone, 10.0, BUDGETED)
    loop = ForEach(listed, lambda scope: scope.item(str))
    step = Step("put", StepKind.COMPENSATABLE, put, undo, for_each=loop)
    definition = saga(step, Step("last", StepKind.PIVOT, put))
    keys = tuple(f"k{n}" for n in range(100))
    history = fold(
        [
            accepted_row(acceptance(definition, input=" ".join(keys)), 0, "run-1"),
            LoopPlanned(at_ms=0, step="put", keys=keys, at_once=10),
            TurnedBack(at_ms=0, failure=Failure("ABORTED", "NO", "", "last"), outcome=Outcome.DOUBT),
        ]
    )
    requests = Requests(definition, history)
    asked.clear()
    names = [
        PutRequest.parse(requests.request(_undoing(step, undo, key), history)).name for key in reversed(keys)
    ]
    assert names == [*reversed(keys)]
    assert len(asked) == 1


def _undoing(step: Step, undo: Action, key: str) -> StepCall:
    return StepCall(
        step=step,
        key=f"put[{key}]",
        direction=Direction.COMPENSATION,
        attempt=1,
        request=None,
        failures=0,
        failed_ms=0,
        retry_after_s=None,
        give_up_at_ms=None,
        is_cut_short=False,
        action=undo,
    )
