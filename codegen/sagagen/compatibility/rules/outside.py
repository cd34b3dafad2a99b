"""What a difference in what reaches a saga from outside means: events, cancel, its start; and how it is found."""

from sagagen.compatibility.change import ChangeSeverity, Rule
from sagagen.compatibility.rules.recipes import KEEP

_B, _W, _S = ChangeSeverity.BREAKING, ChangeSeverity.WARNING, ChangeSeverity.SAFE

EVENT_ADDED = Rule("SD701", _S, "event added", "nobody has sent it yet", "")
EVENT_REMOVED = Rule(
    "SD702",
    _B,
    "event removed",
    "who sends it gets 404 or 409, and an open saga that waits for it waits in vain",
    "keep it until no saga waits for it (`sagagen sagas list --waiting EVENT`)",
)
EVENT_RENAMED = Rule(
    "SD703",
    _B,
    "event renamed",
    "its name is in the log: no wait takes what has come already, and a repeat is kept as another event",
    "keep the name; docs and comments can use a new one",
    True,
)
EVENT_RPC_CHANGED = Rule(
    "SD704",
    _B,
    "an event or cancel comes by a different rpc",
    "who sends it by the old one is no longer heard",
    "add an event for the new rpc beside it",
)
EVENT_TYPE_CHANGED = Rule(
    "SD705",
    _B,
    "type of an event changed",
    "events in the log are read as a different message, and senders send the old one",
    "add fields to the existing message",
)
EVENT_UNREACHABLE = Rule(
    "SD706",
    _B,
    "no route leads to an event or cancel any more",
    "it can never come: sagas wait for it in vain, unless an operator sends it",
    "keep the route until no saga waits for it (`sagagen sagas list --waiting EVENT`)",
)
SAGA_ID_CHANGED = Rule(
    "SD707",
    _B,
    "an event or cancel finds its saga differently",
    "what senders send reaches another saga, or none",
    "tell senders first, or add an event beside it",
)
ALLOW_CHANGED = Rule(
    "SD708",
    _B,
    "who may send an event or cancel changed",
    "somebody who could gets 403, or somebody can who could not; of open sagas too",
    "tell senders first, and have it approved",
)
EVENT_FIELD_READ = Rule(
    "SD709",
    _B,
    "a new field of an event is read",
    "senders that don't know it, and events in the log, have its default: that decides",
    "read it only where its default is right",
)
WAIT_EVENT_CHANGED = Rule(
    "SD710",
    _B,
    "a wait is for a different event",
    "what was sent to open sagas, or will be, no longer ends it",
    KEEP,
    True,
)
DECLINE_CHANGED = Rule(
    "SD711",
    _B,
    "when an event is a refusal changed",
    "open sagas turn back where they would have gone on, or the reverse",
    KEEP,
    True,
)
ON_TIMEOUT_CHANGED = Rule(
    "SD712",
    _B,
    "what follows when a wait times out changed",
    "open sagas turn back where they would have gone on, or the reverse",
    KEEP,
    True,
)
REASON_CHANGED = Rule(
    "SD713",
    _B,
    "reason of a decline, time-out or cancel changed",
    "clients and compensations that decide by the reason do not know the new one",
    "tell clients first",
)
WAITS_SWAPPED = Rule(
    "SD714",
    _W,
    "waits for one event changed places",
    "where both are ready, an event ends the first one in the file, which is now the other",
    "",
    True,
)
CANCEL_ADDED = Rule(
    "SD721", _S, "cancel added", "nobody has sent it yet; open sagas can be cancelled too", ""
)
CANCEL_REMOVED = Rule(
    "SD722",
    _B,
    "cancel removed",
    "who cancels gets 404, and the saga goes on",
    "tell clients first",
)
START_ADDED = Rule(
    "SD731",
    _W,
    "sagas start later than they are accepted",
    "what used to begin at once begins later; what was accepted before is not held back",
    "",
)
START_REMOVED = Rule(
    "SD732",
    _B,
    "sagas start at once",
    "what a client asked for a later time happens now; what was accepted before keeps its time",
    "tell clients first",
)
START_CHANGED = Rule(
    "SD733",
    _B,
    "time of the start comes from elsewhere",
    "the same request starts at a different time; what was accepted before keeps its time",
    "tell clients first",
)
START_MOVED = Rule(
    "SD734",
    _W,
    "sagas start sooner or later",
    "by a fixed time after they are accepted; what was accepted before keeps its time",
    "",
)
START_BOUND_LOWERED = Rule(
    "SD735",
    _B,
    "the latest start is sooner",
    "requests for a later time, which used to be valid, get 400",
    "tell clients first",
)
INDEX_ADDED = Rule("SD741", _S, "index value added", "a search finds by it what is accepted from now on", "")
INDEX_REMOVED = Rule("SD742", _W, "index value removed", "searches that name it fail", "")
INDEX_CHANGED = Rule(
    "SD743",
    _W,
    "index value means something else",
    "sagas that were accepted before keep the old value: a search finds both kinds",
    "give the new meaning a new name",
)
