"""A saga that goes forward: what is under way, and what follows from the rows so far. `decide` has the theory."""

from collections.abc import Sequence
from dataclasses import replace

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import (
    Delay,
    Direction,
    Element,
    ForEach,
    Parallel,
    Saga,
    Step,
    StepKind,
    Wait,
)
from sagagen.runtime.rpc.claim import CLAIM
from sagagen.runtime.rpc.refusals import BarrierRefusal
from sagagen.runtime.saga.claim import claim_step, has_written
from sagagen.runtime.saga.decision import (
    CANCELLED,
    DEADLINE_PASSED,
    NOT_BUILT,
    CallNow,
    Decision,
    End,
    GetStuck,
    GiveUp,
    Pause,
    Plan,
    Receive,
    StepCall,
    TurnBack,
)
from sagagen.runtime.saga.events import (
    START,
    Cancelled,
    Failed,
    NextRequest,
    Outcome,
    SagaStatus,
    TimedOut,
)
from sagagen.runtime.saga.history import History, Progress
from sagagen.runtime.saga.repeating import (
    budget_end_ms,
    call_of,
    failure_of,
    is_attempted,
    may_repeat,
    stuck_at,
    until_budget,
)
from sagagen.runtime.scope import Failure


def along_the_line(saga: Saga, history: History, plan: NextRequest) -> Decision | None:
    """Decide as `Forward` would, for less: in a line only the first call that is not over can be under way."""
    responses, settled = history.responses, history.settled
    for step in saga.calls:
        key = step.name
        if key in responses or key in settled:
            continue
        if key in history.stuck:
            return None
        found = _forward(saga, history, step, key, plan)
        return CallNow((found,)) if isinstance(found, StepCall) else found
    return End(SagaStatus.COMPLETED)


def is_settled(saga: Saga, history: History, name: str) -> bool:
    """Whether the element of this name is over, however; false if there is none."""
    element = _find(saga.steps, name)
    return element is not None and Forward(saga, history).is_over((element,))


def _find(elements: Sequence[Element], name: str) -> Element | None:
    for element in elements:
        if element.name == name:
            return element
        if isinstance(element, Parallel):
            for branch in element.branches:
                if found := _find(branch.steps, name):
                    return found
    return None


class Forward:
    """One look at a saga that goes forward: all that is under way, and what follows from the rows so far."""

    __slots__ = (
        "_calls",
        "_history",
        "_pauses",
        "_ready",
        "_receive",
        "_released",
        "_row",
        "_saga",
        "_turn_back",
    )

    def __init__(self, saga: Saga, history: History) -> None:
        self._saga = saga
        self._history = history
        self._calls: list[StepCall] = []
        self._pauses: list[Pause] = []
        self._ready: list[Element] = []
        self._released: list[str] = []
        """Calls without an outcome that may have been made."""
        self._receive: Receive | None = None
        self._turn_back: TurnBack | None = None
        self._row: GetStuck | GiveUp | End | None = None

    def decision(self) -> Decision | None:
        is_over = (self._saga.is_line or self._prelude()) and self._list(self._saga.steps)
        # An event that is in the log comes before whatever happened after it.
        if self._receive:
            return self._receive
        if self._turn_back:
            return self._turn_back_with_doubt(self._turn_back)
        if self._row:
            return self._row
        if self._ready:
            return self._plan()
        if is_over:
            return End(SagaStatus.COMPLETED)
        if self._calls or self._pauses:
            return CallNow(tuple(self._calls), tuple(self._pauses))
        return None

    def is_over(self, elements: Sequence[Element]) -> bool:
        """Whether the saga has gone on past elements that follow each other."""
        return self._list(elements)

    def _prelude(self) -> bool:
        """What comes before the first step of a saga that claims its id, or starts later. True if it is over."""
        history = self._history
        if history.accepted.next.step == CLAIM and CLAIM not in history.responses:
            self._call(claim_step(self._saga), CLAIM, history.accepted.next)
            return False
        if history.accepted.starts_ms is not None and START not in history.responses:
            self._pause(START, None)
            return False
        return True

    def _list(self, elements: Sequence[Element]) -> bool:
        """Look at elements that follow each other. True if all of them are over."""
        responses, settled = self._history.responses, self._history.settled
        for element in elements:
            name = element.name
            if name in responses:
                continue
            if not (self._is_settled(element) if name in settled else self._element(element)):
                return False
        return True

    def _is_settled(self, element: Element) -> bool:
        """Whether the saga goes on after an element that is over without being done."""
        row = self._history.settled[element.name]
        if isinstance(element, Wait) and element.on_timeout and isinstance(row, TimedOut):
            message = f"no event {element.event} came in time"
            failure = Failure(Code.FAILED_PRECONDITION.name, element.on_timeout, message, element.name)
            self._turn(TurnBack(failure, Outcome.REFUSED))
            return False
        return True

    def _element(self, element: Element) -> bool:
        """Look at one element that may be under way. True if it is over."""
        plan = self._history.plan(element.name)
        match element:
            case Parallel():
                return self._block(element, plan)
            case Step(for_each=ForEach()) if plan is None:
                return self._loop(element)
            case _ if plan is None:
                self._ready.append(element)
            case Step():
                self._call(element, element.name, plan)
            case Wait() | Delay() if plan.problem:
                self._not_built(element, plan.problem)
            case Wait() if self._received(element):
                pass
            case Wait() | Delay():
                self._pause(element.name, element)
        return False

    def _block(self, block: Parallel, plan: NextRequest | None) -> bool:
        if block.when and plan is None:
            self._ready.append(block)
            return False
        if plan and plan.problem:
            self._not_built(block, plan.problem)
            return False
        left = [branch for branch in block.branches if not self._list(branch.steps)]
        return not left

    def _not_built(self, element: Wait | Delay | Parallel, problem: str) -> None:
        if element.name not in self._history.stuck:
            self._keep(_not_built(element.kind, element.name, problem))

    def _loop(self, step: Step) -> bool:
        history = self._history
        loop = history.loops.get(step.name)
        if loop is None:
            self._ready.append(step)
            return False
        responses, settled, was_stuck = history.responses, history.settled, history.was_stuck
        places, is_over = loop.at_once, True
        for key in history.iterations[step.name]:
            if key in responses or key in settled:
                continue
            is_over = False
            if key in was_stuck:  # it was released, and its place is another's for good
                self._call(step, key, history.planned[key])
            elif places:
                places -= 1
                self._call(step, key, history.planned[key])
            elif not was_stuck:
                break
        return is_over

    def _received(self, wait: Wait) -> bool:
        """Whether the wait has had an event. If one is kept for it, it gets that."""
        last = self._history.of(wait.name, Direction.ACTION).last
        if last:  # the event was a refusal
            self._turn(TurnBack(failure_of(last), Outcome.REFUSED))
            return True
        for number, event in enumerate(self._history.events):
            if event.event == wait.event and number not in self._history.used:
                # Of waits for one name the first one in the contract gets it.
                self._receive = self._receive or Receive(wait, number)
                return True
        return False

    def _pause(self, key: str, element: Wait | Delay | None) -> None:
        history = self._history
        until_ms = history.planned[key].until_ms
        deadline_ms = _deadline_ms(self._saga, history)
        if element is not None and element.kind is StepKind.RETRIABLE:
            self._pauses.append(Pause(key, element, until_ms))
        elif history.cancelled:
            self._turn(TurnBack(_cancelled(history.cancelled, key), Outcome.NOT_CALLED))
        elif history.of(key, Direction.ACTION).is_time_up:
            self._turn(TurnBack(_too_late(key, None), Outcome.NOT_CALLED))
        elif until_ms is not None and (element is None or until_ms < deadline_ms):
            self._pauses.append(Pause(key, element, until_ms))
        else:
            self._pauses.append(Pause(key, element, deadline_ms, is_deadline=True))

    def _turn(self, back: TurnBack) -> None:
        # The first in the contract's order is the reason.
        self._turn_back = self._turn_back or back

    def _turn_back_with_doubt(self, back: TurnBack) -> TurnBack:
        others = (key for key in self._released if key != back.failure.step)
        doubt = (key for key in others if not _is_known_no(self._history, key))
        return replace(back, doubt=tuple(doubt))

    def _plan(self) -> Decision:
        """What is ready is planned, unless the saga has to turn back before it."""
        first = self._ready[0]
        if self._history.cancelled and first.kind is not StepKind.RETRIABLE:
            back = TurnBack(_cancelled(self._history.cancelled, first.name), Outcome.NOT_CALLED)
            return self._turn_back_with_doubt(back)
        return Plan(tuple(self._ready))

    def _call(self, step: Step, key: str, plan: NextRequest) -> None:
        """Look at a call that is planned, and has its place."""
        self._released.append(key)
        if key not in self._history.stuck:
            self._keep(_forward(self._saga, self._history, step, key, plan))

    def _keep(self, found: "StepCall | TurnBack | GetStuck | GiveUp | End") -> None:
        match found:
            case StepCall():
                self._calls.append(found)
            case TurnBack():
                self._turn(found)
            case row:
                self._row = self._row or row


def _forward(
    saga: Saga, history: History, step: Step, key: str, plan: NextRequest
) -> StepCall | TurnBack | GetStuck | GiveUp | End:
    """What becomes of a call that was released and is not stuck: the table above."""
    progress = history.of(key, Direction.ACTION)
    last = progress.last
    if last and last.barrier_refusal:
        return _refused(saga, history, step, last, last.barrier_refusal)
    if plan.problem:
        return _not_built(step.kind, key, plan.problem, gives_up=step.gives_up)
    if step.kind is StepKind.RETRIABLE:
        return until_budget(step, key, Direction.ACTION, progress, plan.body)
    if last and last.outcome is Outcome.REFUSED:
        return TurnBack(failure_of(last), Outcome.REFUSED)
    if step.kind is StepKind.PIVOT and is_attempted(history, key):
        return _until_known(step, key, progress, plan.body)
    return _until_deadline(saga, history, step, key, progress, plan.body)


def _until_deadline(
    saga: Saga, history: History, step: Step, key: str, progress: Progress, request: bytes | None
) -> StepCall | TurnBack:
    """Before the point of no return: any of several reasons turns the saga back."""
    failure = _reason_to_turn_back(history, step, key, progress)
    if failure:
        outcome = Outcome.DOUBT if is_attempted(history, key) else Outcome.NOT_CALLED
        return TurnBack(failure, outcome)
    deadline_ms, is_cut_short = _deadline_ms(saga, history), step.kind is not StepKind.PIVOT
    return call_of(step, key, Direction.ACTION, step.action, progress, request, deadline_ms, is_cut_short)


def _deadline_ms(saga: Saga, history: History) -> int:
    return history.accepted.started_ms + saga.deadline_ms


def _refused(
    saga: Saga, history: History, step: Step, last: Failed, refusal: BarrierRefusal
) -> TurnBack | GetStuck | End:
    key, failure = last.step, failure_of(last)
    if step.kind is not StepKind.RETRIABLE and refusal is BarrierRefusal.OTHER_RUN:
        # Rows of another run at that service prove that no earlier attempt of ours came through either.
        if has_written(saga, history) or _is_other_released(saga, history, key):
            return TurnBack(failure, Outcome.NOT_CALLED)
        return End(SagaStatus.SUPERSEDED)
    if step.kind is StepKind.COMPENSATABLE:
        if history.cancelled:
            return TurnBack(_cancelled(history.cancelled, key), Outcome.DOUBT)
        if refusal is BarrierRefusal.STEP_COMPENSATED:
            return TurnBack(failure, Outcome.DOUBT)
    return GetStuck(Direction.ACTION, failure)


def _is_other_released(saga: Saga, history: History, key: str) -> bool:
    """Another call may have been made: an element of another branch, or another item of a loop."""
    if saga.is_line or key == CLAIM:
        return False
    return any(
        planned != key and not history.is_over(planned) and not _is_known_no(history, planned)
        for planned, plan in history.planned.items()
        if plan.body is not None
    )


def _is_known_no(history: History, key: str) -> bool:
    """It has not happened, and will not."""
    last = history.of(key, Direction.ACTION).last
    is_refused = last is not None and last.outcome is Outcome.REFUSED
    is_elsewhere = last is not None and last.barrier_refusal is BarrierRefusal.OTHER_RUN
    plan = history.plan(key)
    return is_refused or is_elsewhere or (plan is not None and bool(plan.problem))


def _reason_to_turn_back(history: History, step: Step, key: str, progress: Progress) -> Failure | None:
    last = progress.last
    if history.cancelled:
        return _cancelled(history.cancelled, key)
    if last and not may_repeat(step.action, last):
        return failure_of(last)
    if last and step.action.retry.max_attempts and progress.charged >= step.action.retry.max_attempts:
        return failure_of(last)
    return _too_late(key, last) if progress.is_time_up else None


def _too_late(key: str, last: Failed | None) -> Failure:
    message = "the saga's deadline has passed" + (f"; last failure: {last}" if last else "")
    return Failure(Code.DEADLINE_EXCEEDED.name, DEADLINE_PASSED, message, key)


def _until_known(step: Step, key: str, progress: Progress, request: bytes | None) -> StepCall | GetStuck:
    """A pivot that was attempted: neither deadline nor attempts end it, only the service's word, or its budget."""
    if progress.is_time_up:
        return stuck_at(key, Direction.ACTION, progress)
    action, give_up_at_ms = step.action, budget_end_ms(progress, step.action)
    return call_of(step, key, Direction.ACTION, action, progress, request, give_up_at_ms, is_cut_short=False)


def is_cancelled_by_client(history: History, failure: Failure) -> bool:
    """Whether a saga turns back with this failure because a client cancelled it."""
    row = history.cancelled
    return row is not None and bool(row.reason) and failure == _cancelled(row, failure.step)


def _cancelled(row: Cancelled, key: str) -> Failure:
    if row.reason:
        return Failure(Code.CANCELLED.name, row.reason, "the client cancelled it", key)
    return Failure(Code.CANCELLED.name, CANCELLED, "an operator cancelled the saga", key)


def _not_built(
    kind: StepKind, key: str, problem: str, *, gives_up: bool = False
) -> TurnBack | GetStuck | GiveUp:
    failure = Failure(Code.OUT_OF_RANGE.name, NOT_BUILT, problem, key)
    if gives_up:
        return GiveUp(failure)
    if kind is StepKind.RETRIABLE:
        return GetStuck(Direction.ACTION, failure)
    return TurnBack(failure, Outcome.NOT_CALLED)
