"""The rows of the matrix: each element of a saga, and each way in which it can go wrong.

Rows come from the runtime's definition, and from what the saga does where nothing fails (`Reached`): a step that is
skipped with a sample, or a loop without items, can't fail.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sagagen.runtime.model.definition import Delay, Saga, Step, StepKind, Wait
from sagagen.testing.places import Place, Reached, is_undone, places, turning_place, undone_keys


class Way(StrEnum):
    """How an element goes wrong."""

    STRAIGHT = "straight"
    """It does not: the run that others are compared with."""
    TURNED_BACK = "turned-back"
    """The last element that may fail does: all that can be undone is."""

    # -- of a call -------------------------------------------------------------------------------------------------
    DECLINED = "declined"
    FAILS_ONCE = "fails-once"
    """The service is not there for the first attempt."""
    KEEPS_FAILING = "keeps-failing"
    """The service is not there until attempts or time are used up."""
    ANSWER_LOST = "answer-lost"
    """The first attempt takes effect, and its answer does not arrive."""
    ANSWERS_LOST = "answers-lost"
    """No answer arrives until attempts or time are used up."""
    TIMES_OUT = "times-out"
    """The first attempt arrives after its time-out."""
    CRASH_BEFORE = "crash-before"
    """The gateway dies before the call leaves."""
    CRASH_BETWEEN = "crash-between"
    """The gateway dies when the effect is committed, before the answer arrives."""
    CRASH_AFTER = "crash-after"
    """The gateway dies when the answer is in its log."""
    SERVICE_CRASH_BEFORE = "service-crash-before"
    """The service dies before the effect is committed."""
    SERVICE_CRASH_AFTER = "service-crash-after"
    """The service dies when the effect is committed, before it answers."""
    TWICE = "delivered-twice"
    LATE = "delivered-late"
    """The call arrives when the saga has ended: after its compensation, or after it was repeated."""
    CANCELLED = "cancelled"
    """The saga is cancelled while the element is under way."""

    # -- of a compensation -----------------------------------------------------------------------------------------
    UNDO_FAILS = "undo-fails"
    """Its compensation fails three times, and then works."""
    UNDO_KEEPS_FAILING = "undo-keeps-failing"
    """Its compensation fails until its budget is spent; then an operator has it tried again."""
    UNDO_ANSWER_LOST = "undo-answer-lost"
    UNDO_CRASH_BEFORE = "undo-crash-before"
    UNDO_CRASH_BETWEEN = "undo-crash-between"
    UNDO_TWICE = "undo-delivered-twice"

    # -- of a wait -------------------------------------------------------------------------------------------------
    EVENT_EARLY = "event-early"
    EVENT_TWICE = "event-twice"
    EVENT_DECLINES = "event-declines"
    """The event is one that the contract takes for a refusal."""
    NEVER = "never"
    """No event comes."""
    EVENT_LATE = "event-late"
    """The event comes when the saga has ended."""
    CRASH_WAITING = "crash-waiting"
    """The gateway dies while the saga waits."""
    CRASH_AT_EVENT = "crash-at-event"
    """The gateway dies when the event is in its log."""


UNDO_WAYS = (
    Way.UNDO_FAILS,
    Way.UNDO_KEEPS_FAILING,
    Way.UNDO_ANSWER_LOST,
    Way.UNDO_CRASH_BEFORE,
    Way.UNDO_CRASH_BETWEEN,
    Way.UNDO_TWICE,
)
"""What may happen to a compensation."""

_CALL_WAYS = (
    Way.FAILS_ONCE,
    Way.KEEPS_FAILING,
    Way.ANSWER_LOST,
    Way.ANSWERS_LOST,
    Way.TIMES_OUT,
    Way.CRASH_BEFORE,
    Way.CRASH_BETWEEN,
    Way.CRASH_AFTER,
    Way.SERVICE_CRASH_BEFORE,
    Way.SERVICE_CRASH_AFTER,
    Way.TWICE,
    Way.LATE,
    Way.CANCELLED,
)


@dataclass(frozen=True, slots=True)
class Row:
    saga: str
    element: str = ""
    """Its name; empty for a row that is about the whole saga."""
    way: Way = Way.STRAIGHT
    key: str = ""
    """Step key of the call that is hit: in a loop that of an item."""
    reason: str = ""
    """Of a refusal."""
    sample: str = ""
    """Name of the sample that reaches the element; empty for the saga's first."""

    @property
    def name(self) -> str:
        """What `--only` takes: `place_order/authorise/declined:NO_MONEY`."""
        parts = (self.saga, self.key or self.element, f"{self.way}{':' if self.reason else ''}{self.reason}")
        named = "/".join(part for part in parts if part)
        return f"{named}@{self.sample}" if self.sample else named

    @property
    def within_saga(self) -> str:
        """The same without the saga's name."""
        return self.name.partition("/")[2]

    def __str__(self) -> str:
        return self.name


Reasons = Callable[[Step], Sequence[str]]
"""The reasons with which a step's handler declines; empty if none is known."""

ANY_REASON = "DECLINED"
"""For a handler that names none."""


def rows(saga: Saga, reached: Reached, reasons: Reasons, sample: str = "") -> Iterator[Row]:
    """All rows of a saga that a sample reaches, in the order of the contract."""
    yield Row(saga.name, sample=sample)
    if turning_place(saga, reached):
        yield Row(saga.name, way=Way.TURNED_BACK, sample=sample)
    for place in places(saga):
        yield from element_rows(saga, place, reached, reasons, sample)


def element_rows(
    saga: Saga, place: Place, reached: Reached, reasons: Reasons, sample: str = ""
) -> Iterator[Row]:
    """The rows of one element."""
    element = place.element
    match element:
        case Step() if keys := reached.get(element.name):
            # Of a loop the last item: those before it have begun, and may be done.
            for way, reason in _step_ways(saga, element, reached, reasons):
                yield Row(saga.name, element.name, way, keys[-1], reason, sample)
        case Wait() | Delay() if element.name in reached:
            for way in _pause_ways(element):
                yield Row(saga.name, element.name, way, element.name, sample=sample)
        case _:
            pass


def _step_ways(saga: Saga, step: Step, reached: Reached, reasons: Reasons) -> Iterator[tuple[Way, str]]:
    yield from ((Way.DECLINED, reason) for reason in reasons(step) or (ANY_REASON,))
    yield from ((way, "") for way in _CALL_WAYS if not step.action.method.is_read or way not in _OF_WRITES)
    turning = turning_place(saga, reached)
    if (
        is_undone(step)
        and turning
        and step.name in {key.partition("[")[0] for key in undone_keys(turning.before, reached)}
    ):
        yield from ((way, "") for way in UNDO_WAYS)


_OF_WRITES = frozenset({Way.SERVICE_CRASH_BEFORE, Way.TWICE, Way.LATE, Way.ANSWERS_LOST})
"""What a read shows no otherwise than another way does: it has no effect that could be doubled."""


def _pause_ways(element: Wait | Delay) -> Iterator[Way]:
    yield Way.CRASH_WAITING
    if isinstance(element, Wait):
        yield from (Way.CRASH_AT_EVENT, Way.EVENT_EARLY, Way.EVENT_TWICE)
        if element.decline:
            yield Way.EVENT_DECLINES
        if element.within_s is not None or element.kind is not StepKind.RETRIABLE:
            yield from (Way.NEVER, Way.EVENT_LATE)
    yield Way.CANCELLED
