"""What a saga does next, from its definition and its history alone.

Theory of operation
-------------------

A saga is in one of three phases:

    FORWARD --TurnedBack--> BACKWARD --Ended--> over
       \\---------------------Ended------------/      (Stuck stops what depends on a step; an operator's row frees it)

`decide` looks at the history and returns one decision; the engine carries it out, appends the row that says what came
of it, and asks again:

    CallNow    make these calls, and wait meanwhile for these events and times; the rows are Done, Compensated,
               Failed, TimeUp and TimedOut
    Plan       these elements are ready: work out what they are sent, or whether they are skipped, and until when they
               wait; the rows are Planned, LoopPlanned and Skipped
    Receive    a wait gets an event; the row is Done or, if the contract takes the event for a refusal, Failed
    PassOver   this step needs no compensation; the row is PassedOver
    GiveUp     a step after the pivot is left as it is; the row is GaveUp
    TurnBack   the row is TurnedBack, and from then on the saga only undoes
    End        the row is Ended
    GetStuck   the row is Stuck

and `None` where there is nothing to do until an operator does something.

Three rules keep this sound:

1. **Only rows count.** There is no clock and no randomness in here. That time has passed is a row too (TimeUp,
   TimedOut), which the engine appends. So recovery is this same function on the rows that survived, and not a second
   code path.
2. **Doubt is never read as 'no'.** Until a service has said DONE or REFUSED, a call may have happened. A Resumed row
   puts every call in doubt that was released and has no outcome, called or not, since rows of mere attempts are not
   waited for.
3. **What may have been called is what was released.** A call is released once it is planned, and in a loop once it has
   one of the places. That depends on rows alone, and what was released stays so.

Elements of a list follow each other; branches of a block and iterations of a loop go on side by side, and none waits
for another. Forward, for each call that is released:

    last word                              compensatable      pivot, not attempted   pivot, attempted   retriable
    -------------------------------------  -----------------  ---------------------  -----------------  ---------
    none yet                               call               call                   call               call
    request can't be built                 back: NOT_CALLED   back: NOT_CALLED       back: NOT_CALLED   stuck *
    REFUSED                                back: REFUSED      -                      back: REFUSED      (unrecorded) *
    failed, may be repeated                call again         -                      call again         call again
    failed, may not be / attempts used up  back: DOUBT        -                      call again         call again
    deadline passed, or cancelled          back               back: NOT_CALLED       call again         call again
    budget spent                           -                  -                      stuck              stuck *
    OTHER_RUN, nothing else released       superseded         -                      superseded         stuck
    OTHER_RUN, a write of ours done        back: NOT_CALLED   -                      back: NOT_CALLED   stuck
    STEP_COMPENSATED                       back: DOUBT        -                      stuck              stuck
    PAYLOAD_MISMATCH, FORGOTTEN            stuck              -                      stuck              stuck
    the same, then cancelled               back: DOUBT        -                      -                  -

    * given up, if the contract says on_give_up: continue

One failure turns the whole saga back. The TurnedBack row fixes what is undone: the step that failed if it is in doubt,
the other calls that were released and have no outcome, and what was DONE before. A budget that has passed while no
process ran ends nothing before one more attempt: a Resumed row grants it. Whatever is stuck, an operator ends:
`commands` says how.

Backward, undoing mirrors the structure: elements of a list last to first, branches and iterations side by side. A step
without compensation is passed over; a compensation is repeated until it is done, or its budget is spent (stuck). Any
refusal of the barrier makes the step stuck, except that OTHER_RUN proves that a step in doubt never happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import (
    Action,
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
from sagagen.runtime.rpc.errors import is_reason
from sagagen.runtime.rpc.refusals import BarrierRefusal
from sagagen.runtime.saga.claim import claim_step
from sagagen.runtime.saga.events import (
    START,
    Cancelled,
    Failed,
    NextRequest,
    Outcome,
    SagaStatus,
    TimedOut,
    TurnedBack,
)
from sagagen.runtime.saga.history import NOBODY_KNOWS, History, Progress
from sagagen.runtime.scope import Failure, step_name

DEFAULT_BUDGET_S = 24 * 3600.0
"""For compensations, retriable steps and attempted pivots of which the contract names none: nothing is repeated for
ever unseen."""

OURS_RETRIED = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED})
"""Refusals of the runtime itself that pass (expired, draining, overloaded), whatever codes the contract names."""

DEADLINE_PASSED = "SAGA_DEADLINE_EXCEEDED"
NOT_BUILT = "REQUEST_NOT_BUILT"
CANCELLED = "CANCELLED_BY_OPERATOR"
ENGINE_ERROR = "ENGINE_ERROR"
"""Not a decision of this function: the engine failed to carry one out."""


class StepCall(NamedTuple):
    """One call that may run now."""

    step: Step
    key: str
    """Of the step: its name, or in a loop the iteration's, `reserve[margherita]`."""
    direction: Direction
    attempt: int
    """Starts at 1."""
    request: bytes | None
    """As logged; None for a compensation, whose request is built when it is sent."""
    failures: int
    """In a row before this attempt: what its backoff grows with."""
    failed_ms: int
    """When it failed last; 0 if it has not."""
    retry_after_s: float | None
    """What the service asked for when it failed last."""
    give_up_at_ms: int | None
    """From then on the engine appends TimeUp instead of calling."""
    is_cut_short: bool
    """Its timeout ends at `give_up_at_ms` at the latest."""
    action: Action
    """The step's, or its compensation."""


class Pause(NamedTuple):
    """A wait or a delay that is under way."""

    key: str
    element: Wait | Delay | None
    """None: the delay before a saga's first step."""
    until_ms: int | None
    """When it ends by itself; None: never."""
    is_deadline: bool = False
    """It ends then since the saga has no time left; the row is TimeUp."""


class CallNow(NamedTuple):
    """What is under way side by side: the calls that may run now, and what is waited for meanwhile."""

    calls: tuple[StepCall, ...] = ()
    pauses: tuple[Pause, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Elements that are ready and not planned yet."""

    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Receive:
    """The wait gets this event: the oldest of its name that no wait has got."""

    wait: Wait
    event: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """`failure.step` is the step's key."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class PassOver:
    step: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TurnBack:
    failure: Failure
    outcome: Outcome
    doubt: tuple[str, ...] = ()
    """Keys of the other calls that may have happened."""


@dataclass(frozen=True, slots=True)
class End:
    status: SagaStatus


@dataclass(frozen=True, slots=True)
class GetStuck:
    direction: Direction
    failure: Failure


Decision = CallNow | Plan | Receive | PassOver | GiveUp | TurnBack | End | GetStuck


def decide(saga: Saga, history: History) -> Decision | None:
    """Say what the saga does next. Pure: the same rows give the same decision, before and after any crash."""
    if history.ended or (history.stuck and NOBODY_KNOWS in history.stuck):
        return None
    if history.turned_back:
        return _Backward(saga, history, history.turned_back).decision()
    # In a straight line, what the next call is sent rides on the row before, under no key.
    if saga.is_line and NOBODY_KNOWS in history.planned:
        return _along_the_line(saga, history, history.planned[NOBODY_KNOWS])
    return _Forward(saga, history).decision()


def _along_the_line(saga: Saga, history: History, plan: NextRequest) -> Decision | None:
    """As a look at all elements would find: the first call that is not over is all that can be under way."""
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
    return element is not None and _Forward(saga, history).is_over((element,))


def _find(elements: Sequence[Element], name: str) -> Element | None:
    for element in elements:
        if element.name == name:
            return element
        if isinstance(element, Parallel):
            for branch in element.branches:
                if found := _find(branch.steps, name):
                    return found
    return None


class _Forward:
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
        return _until_budget(step, key, Direction.ACTION, progress, plan.body)
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
    return _call(step, key, Direction.ACTION, step.action, progress, request, deadline_ms, is_cut_short)


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
    if last and not _may_repeat(step.action, last):
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
        return _stuck(key, Direction.ACTION, progress)
    action, give_up_at_ms = step.action, _budget_end_ms(progress, step.action)
    return _call(step, key, Direction.ACTION, action, progress, request, give_up_at_ms, is_cut_short=False)


def _until_budget(
    step: Step, key: str, direction: Direction, progress: Progress, request: bytes | None
) -> StepCall | GetStuck | GiveUp:
    """A retriable step or a compensation: repeated whatever the failure, until its budget is spent."""
    gives_up = step.gives_up and direction is Direction.ACTION
    if gives_up and progress.last and progress.last.outcome is Outcome.REFUSED:
        return GiveUp(failure_of(progress.last))
    if progress.is_time_up:
        stuck = _stuck(key, direction, progress)
        return GiveUp(stuck.failure) if gives_up else stuck
    action = _action(step, direction)
    give_up_at_ms = _budget_end_ms(progress, action)
    return _call(step, key, direction, action, progress, request, give_up_at_ms, is_cut_short=False)


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


class _Backward:
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
        return _stuck(key, Direction.COMPENSATION, progress)
    undo = _until_budget(step, key, Direction.COMPENSATION, progress, None)
    assert not isinstance(undo, GiveUp), "no compensation is given up"
    return undo


def failure_of(last: Failed) -> Failure:
    """The failure that expressions and problem documents read; its reason is a token and never empty."""
    reason = last.reason if is_reason(last.reason) else last.code.name
    return Failure(last.code.name, reason, last.message, last.step)


def _stuck(key: str, direction: Direction, progress: Progress) -> GetStuck:
    if progress.last:
        return GetStuck(direction, failure_of(progress.last))
    return GetStuck(direction, Failure(Code.UNKNOWN.name, "GAVE_UP", "no answer within its budget", key))


def _call(
    step: Step,
    key: str,
    direction: Direction,
    action: Action,
    progress: Progress,
    request: bytes | None,
    give_up_at_ms: int | None,
    is_cut_short: bool,
) -> StepCall:
    last = progress.last
    return StepCall(
        step,
        key,
        direction,
        progress.attempts + 1,
        request,
        progress.failures,
        last.at_ms if last else 0,
        last.retry_after_s if last else None,
        give_up_at_ms,
        is_cut_short,
        action,
    )


def _action(step: Step, direction: Direction) -> Action:
    action = step.action if direction is Direction.ACTION else step.compensation
    assert action is not None, "only steps that have a compensation are compensated"
    return action


def _may_repeat(action: Action, last: Failed) -> bool:
    return last.code in (OURS_RETRIED if last.is_ours else action.retry.codes)


def is_attempted(history: History, key: str) -> bool:
    """The call may have been made, and nothing has settled yet whether it happened."""
    return history.was_resumed(key) or history.of(key, Direction.ACTION).is_in_doubt


def has_written(saga: Saga, history: History) -> bool:
    """A write of the saga's own is DONE, so it owns what it wrote to."""
    responses = history.responses
    if not responses:
        return False
    if saga.is_line:
        return any(step.name in responses and not step.action.method.is_read for step in saga.calls)
    writes = {step.name for step in saga.calls if not step.action.method.is_read} | {CLAIM}
    return any(step_name(key) in writes for key in responses)


def _budget_end_ms(progress: Progress, action: Action) -> int | None:
    if progress.first_failure_ms is None or progress.is_untried:
        return None
    return progress.first_failure_ms + round((action.retry.give_up_after_s or DEFAULT_BUDGET_S) * 1000)
