"""The states of the saga log's commit, and the events that move it from one state to the next.

Theory of operation
-------------------

Rows are queued, and are committed in groups, one group at a time. One state says how far that is:

    RESTING      no row is queued and nothing is being done
    LINGERING    rows that ride along are queued; they wait a while for company
    PAUSED       the same after a commit has failed (a full disk): they wait before the next try
    DUE          the task has been called to commit what is queued
    GATHERING    the task waits a little for the rows of writers that are at work
    GATHERED     that wait is over, and the task has been called
    COMMITTING   a group is on its way to the disk
    BROKEN       a commit that was begun at once has failed, and the task has been called to repair it
    CLOSED       the queue is written, and the task has ended

Two parties commit. Whoever brings a row that is waited for begins a commit *at once* if the log rests (RESTING,
LINGERING, PAUSED) and enough rows are there: that saves two turns of the event loop. Otherwise the row calls *the task*
(`GroupWriter.run`), which may wait: for company, for another program's lock, and for room on the disk.

    event        what has happened
    -----------  ----------------------------------------------------------------------------------------------
    RIDES        a row that rides along was queued
    AWAITED      a row that somebody waits for was queued, and no commit could be begun at once
    CROWDED      the queue is full, and somebody waits for room in it
    TIMER        the time of LINGERING, PAUSED or GATHERING is over
    TURN         the task, which was called, has its turn
    BEGUN        a commit was begun at once
    COMMITTED    the group is on disk
    FAILED       the task could not commit: whoever waits has the error, and what rides along is queued as before
    BROKE        a commit that was begun at once failed
    CLOSE        no more rows are accepted; what is queued is still written

Each cell is the state that follows: `.` is the same state, `-` can't happen, and a letter stands for a choice below.

    state        RIDES      AWAITED   CROWDED  TIMER     TURN        BEGUN       COMMITTED  FAILED  BROKE   CLOSE
    -----------  ---------  --------  -------  --------  ----------  ----------  ---------  ------  ------  --------
    RESTING      LINGERING  DUE       -        -         -           COMMITTING  -          -       -       DUE
    LINGERING    .          DUE       DUE      DUE       -           COMMITTING  -          -       -       DUE
    PAUSED       .          DUE       DUE      DUE       -           COMMITTING  -          -       -       DUE
    DUE          .          .         .        -         t           -           -          -       -       .
    GATHERING    .          e         .        GATHERED  -           -           -          -       -       GATHERED
    GATHERED     .          .         .        -         COMMITTING  -           -          -       -       .
    COMMITTING   .          .         .        -         -           -           c          f       BROKEN  .
    BROKEN       .          .         .        -         COMMITTING  -           -          -       -       .
    CLOSED       -          -         -        -         -           -           -          -       -       .

    t   CLOSED if nothing is queued, COMMITTING if enough rows are there or the log closes, otherwise GATHERING
    e   GATHERED if enough rows are there now, otherwise the same state
    c   DUE if a queued row is waited for, the queue is full or the log closes; otherwise LINGERING if a row is queued,
        and RESTING if none is
    f   DUE if the log closes, otherwise PAUSED if a row is queued, and RESTING if none is

A state that waits has a timer of its own: it starts on entering and ends on leaving. DUE, GATHERED and BROKEN are the
states in which the task has been called; it is called on entering, and TURN is what it makes of that.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    """How far the commit is."""

    RESTING = "RESTING"
    LINGERING = "LINGERING"
    PAUSED = "PAUSED"
    DUE = "DUE"
    GATHERING = "GATHERING"
    GATHERED = "GATHERED"
    COMMITTING = "COMMITTING"
    BROKEN = "BROKEN"
    CLOSED = "CLOSED"


class Event(StrEnum):
    """What moves it."""

    RIDES = "RIDES"
    AWAITED = "AWAITED"
    CROWDED = "CROWDED"
    TIMER = "TIMER"
    TURN = "TURN"
    BEGUN = "BEGUN"
    COMMITTED = "COMMITTED"
    FAILED = "FAILED"
    BROKE = "BROKE"
    CLOSE = "CLOSE"


class Queued(Protocol):
    """What the choices of the table look at: the queue, apart from the group that is being committed."""

    @property
    def is_empty(self) -> bool: ...
    @property
    def is_awaited(self) -> bool:
        """Somebody waits for one of its rows."""
        ...

    @property
    def is_enough(self) -> bool:
        """A commit of what is there is worth its fsync."""
        ...

    @property
    def is_full(self) -> bool: ...
    @property
    def is_closing(self) -> bool: ...


RESTFUL = frozenset({State.RESTING, State.LINGERING, State.PAUSED})
"""Nothing is being done: a commit may be begun at once."""
CALLING = frozenset({State.DUE, State.GATHERED, State.BROKEN})
"""The task has been called."""


class ImpossibleEvent(AssertionError):
    """An event that can't happen in this state: a mistake in `GroupWriter`."""


def next_state(state: State, event: Event, queue: Queued) -> State:
    """Where `event` leads from `state`. Pure. Raises ImpossibleEvent for what can't happen."""
    cell = _TABLE[state].get(event)
    if cell is None:
        raise ImpossibleEvent(f"{event} can't happen while the log's commit is {state}")
    return cell if isinstance(cell, State) else cell(queue)


def _after_call(queue: Queued) -> State:
    if queue.is_empty:
        return State.CLOSED  # nothing but closing calls the task without a row
    return State.COMMITTING if queue.is_closing or queue.is_enough else State.GATHERING


def _after_company(queue: Queued) -> State:
    return State.GATHERED if queue.is_enough else State.GATHERING


def _after_commit(queue: Queued) -> State:
    if queue.is_closing or queue.is_awaited or queue.is_full:
        return State.DUE
    return State.RESTING if queue.is_empty else State.LINGERING


def _after_failure(queue: Queued) -> State:
    if queue.is_closing:
        return State.DUE
    return State.RESTING if queue.is_empty else State.PAUSED


Row = Mapping[Event, State | Callable[[Queued], State]]


def _at_rest(state: State) -> Row:
    return {
        Event.RIDES: state,
        Event.AWAITED: State.DUE,
        Event.CROWDED: State.DUE,
        Event.TIMER: State.DUE,
        Event.BEGUN: State.COMMITTING,
        Event.CLOSE: State.DUE,
    }


def _busy(state: State) -> Row:
    """A commit is on its way or the task has been called: it looks at the queue itself."""
    return {Event.RIDES: state, Event.AWAITED: state, Event.CROWDED: state, Event.CLOSE: state}


_TABLE: Mapping[State, Row] = {
    State.RESTING: {
        Event.RIDES: State.LINGERING,
        Event.AWAITED: State.DUE,
        Event.BEGUN: State.COMMITTING,
        Event.CLOSE: State.DUE,
    },
    State.LINGERING: _at_rest(State.LINGERING),
    State.PAUSED: _at_rest(State.PAUSED),
    State.DUE: {**_busy(State.DUE), Event.TURN: _after_call},
    State.GATHERING: {
        **_busy(State.GATHERING),
        Event.AWAITED: _after_company,
        Event.TIMER: State.GATHERED,
        Event.CLOSE: State.GATHERED,
    },
    State.GATHERED: {**_busy(State.GATHERED), Event.TURN: State.COMMITTING},
    State.COMMITTING: {
        **_busy(State.COMMITTING),
        Event.COMMITTED: _after_commit,
        Event.FAILED: _after_failure,
        Event.BROKE: State.BROKEN,
    },
    State.BROKEN: {**_busy(State.BROKEN), Event.TURN: State.COMMITTING},
    State.CLOSED: {Event.CLOSE: State.CLOSED},
}
