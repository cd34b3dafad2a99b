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

from sagagen.runtime.model.definition import Saga
from sagagen.runtime.saga.backward import Backward
from sagagen.runtime.saga.decision import Decision
from sagagen.runtime.saga.forward import Forward, along_the_line
from sagagen.runtime.saga.history import NOBODY_KNOWS, History


def decide(saga: Saga, history: History) -> Decision | None:
    """Say what the saga does next. Pure: the same rows give the same decision, before and after any crash."""
    if history.ended or (history.stuck and NOBODY_KNOWS in history.stuck):
        return None
    if history.turned_back:
        return Backward(saga, history, history.turned_back).decision()
    # In a straight line, what the next call is sent rides on the row before, under no key.
    if saga.is_line and NOBODY_KNOWS in history.planned:
        return along_the_line(saga, history, history.planned[NOBODY_KNOWS])
    return Forward(saga, history).decision()
