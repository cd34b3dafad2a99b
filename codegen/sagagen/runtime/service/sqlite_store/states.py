"""The states of a service's writer, and the events that lead from one to the next. `writer` draws the table.

Two rules. Whoever changes the state does so between two awaits. And an event that the table lacks for a state does not
happen in it: the lookup would raise a KeyError, which is a mistake of the writer's.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class WriterState(StrEnum):
    """Who may use the connection."""

    BUSY = "BUSY"
    """No transaction is open. The owner opens the connection, begins a group, or forgets what is old."""
    IDLE = "IDLE"
    """No transaction is open, and nobody waits: the next call begins a group itself."""
    FREE = "FREE"
    """A group is open, and nobody has the turn: the next call takes it, otherwise the owner commits."""
    OFFERED = "OFFERED"
    """The turn is for a call that has waited in line, and whose task has not run since."""
    HELD = "HELD"
    """A call has the turn."""
    LEFT_TO_OWNER = "LEFT_TO_OWNER"
    """A call's handler has ended, but one of its statements is still in the thread: the owner ends the turn."""
    COMMITTING = "COMMITTING"
    """The thread commits the group."""
    VOID = "VOID"
    """The transaction is broken: nothing of the group is kept, and all of its calls are in doubt."""
    STOPPED = "STOPPED"
    """The owner has ended."""


class WriterEvent(StrEnum):
    """What happens to the connection."""

    BEGIN = "BEGIN"
    """BEGIN IMMEDIATE has succeeded."""
    OFFER = "OFFER"
    """The first call in line is woken."""
    TAKE = "TAKE"
    """A call's turn begins."""
    PASS = "PASS"
    """A turn has ended, or was not wanted any more."""
    LEAVE = "LEAVE"
    """A turn ends as soon as the thread has nothing left of it."""
    COMMIT = "COMMIT"
    """The group is closed; COMMIT goes to the thread."""
    BREAK = "BREAK"
    """A step of the transaction failed."""
    REST = "REST"
    """The owner is done with what it had to do."""
    WAKE = "WAKE"
    """There is something for the owner to do."""
    STOP = "STOP"
    """The store closes, and nothing is left to do."""


_S, _E = WriterState, WriterEvent

AFTER: Mapping[tuple[WriterState, WriterEvent], WriterState] = MappingProxyType(
    {
        (_S.BUSY, _E.BEGIN): _S.FREE,
        (_S.BUSY, _E.BREAK): _S.VOID,
        (_S.BUSY, _E.REST): _S.IDLE,
        (_S.BUSY, _E.STOP): _S.STOPPED,
        (_S.IDLE, _E.BEGIN): _S.FREE,
        (_S.IDLE, _E.WAKE): _S.BUSY,
        (_S.FREE, _E.OFFER): _S.OFFERED,
        (_S.FREE, _E.TAKE): _S.HELD,
        (_S.FREE, _E.COMMIT): _S.COMMITTING,
        (_S.OFFERED, _E.TAKE): _S.HELD,
        (_S.OFFERED, _E.PASS): _S.FREE,
        (_S.HELD, _E.PASS): _S.FREE,
        (_S.HELD, _E.LEAVE): _S.LEFT_TO_OWNER,
        (_S.HELD, _E.BREAK): _S.VOID,
        (_S.LEFT_TO_OWNER, _E.PASS): _S.FREE,
        (_S.LEFT_TO_OWNER, _E.BREAK): _S.VOID,
        (_S.COMMITTING, _E.REST): _S.BUSY,
        (_S.COMMITTING, _E.BREAK): _S.VOID,
        (_S.VOID, _E.REST): _S.BUSY,
    }
)
"""The state that follows; what is not in here does not happen."""
