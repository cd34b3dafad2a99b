"""What a saga may do next, as values: what `decide` answers, and the engine carries out."""

from dataclasses import dataclass
from typing import NamedTuple

from sagagen.runtime.model.definition import Action, Delay, Direction, Element, Step, Wait
from sagagen.runtime.saga.events import Outcome, SagaStatus
from sagagen.runtime.scope import Failure

DEFAULT_BUDGET_S = 24 * 3600.0
"""For compensations, retriable steps and attempted pivots of which the contract names none: nothing is repeated for
ever unseen."""

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
