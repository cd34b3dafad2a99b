"""A saga that turned back: what is undone next. `decide` has the theory."""

from collections.abc import Sequence

from sagagen.runtime.model.definition import Direction, Element, Parallel, Saga, Step
from sagagen.runtime.rpc.refusals import BarrierRefusal
from sagagen.runtime.saga.claim import has_written
from sagagen.runtime.saga.decision import CallNow, Decision, End, GetStuck, GiveUp, PassOver, StepCall
from sagagen.runtime.saga.events import Outcome, SagaStatus, TurnedBack
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.repeating import stuck_at, until_budget


class Backward:
    """One look at a saga that turned back: what may be undone now."""

    __slots__ = ("_calls", "_history", "_row", "_saga", "_undone_by")

    def __init__(self, saga: Saga, history: History, turned_back: TurnedBack) -> None:
        self._saga = saga
        self._history = history
        self._undone_by = {*turned_back.doubt}
        """Steps that are undone although nobody knows whether they happened."""
        if turned_back.outcome is Outcome.DOUBT:
            self._undone_by.add(turned_back.failure.step)
        self._calls: list[StepCall] = []
        self._row: GetStuck | PassOver | None = None

    def decision(self) -> Decision | None:
        is_over = self._list(self._saga.steps)
        if self._row:
            return self._row
        if is_over:
            is_superseded = self._history.is_other_run_met and not has_written(self._saga, self._history)
            return End(SagaStatus.SUPERSEDED if is_superseded else SagaStatus.COMPENSATED)
        return CallNow(tuple(self._calls)) if self._calls else None

    def _list(self, elements: Sequence[Element]) -> bool:
        return all(self._element(element) for element in reversed(elements))

    def _element(self, element: Element) -> bool:
        """Look at what may have to be undone. True if nothing of it is left."""
        match element:
            case Step(for_each=None):
                return self._step(element, element.name)
            case Step():
                return self._loop(element)
            case Parallel():
                left = [branch for branch in element.branches if not self._list(branch.steps)]
                return not left
            case _:
                return True

    def _loop(self, step: Step) -> bool:
        """Iterations are undone side by side, as many at once as were done at once."""
        loop, stuck = self._history.loops.get(step.name), self._history.stuck
        if loop is None:
            return True
        places, is_over = loop.at_once, True
        for key in self._history.iterations[step.name]:
            if self._is_undone(key):
                continue
            is_over = False
            if key in stuck:
                continue
            if not places:
                break
            places -= 1
            self._step(step, key)
        return is_over

    def _is_undone(self, key: str) -> bool:
        """Nothing is left to undo of it."""
        history = self._history
        return (key not in history.responses and key not in self._undone_by) or key in history.settled

    def _step(self, step: Step, key: str) -> bool:
        history = self._history
        if self._is_undone(key):
            return True
        if key not in history.stuck:
            match _undo(history, step, key):
                case StepCall() as call:
                    self._calls.append(call)
                case row:
                    self._row = self._row or row
        return False


def _undo(history: History, step: Step, key: str) -> StepCall | GetStuck | PassOver:
    if step.compensation is None:
        if step.action.method.is_read:
            return PassOver(key, "READ", "a read changes nothing")
        return PassOver(key, "NO_COMPENSATION", "compensate: none")
    progress = history.of(key, Direction.COMPENSATION)
    refusal = progress.last.barrier_refusal if progress.last else None
    if refusal is BarrierRefusal.OTHER_RUN and key not in history.responses:
        return PassOver(key, refusal.value, "another run owns the saga there: the step never happened")
    if refusal:
        return stuck_at(key, Direction.COMPENSATION, progress)
    undo = until_budget(step, key, Direction.COMPENSATION, progress, None)
    assert not isinstance(undo, GiveUp), "no compensation is given up"
    return undo
