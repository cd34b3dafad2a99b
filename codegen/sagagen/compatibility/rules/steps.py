"""What a difference between the steps of a saga means."""

from sagagen.compatibility.change import ChangeSeverity, Rule
from sagagen.compatibility.rules.recipes import KEEP

_B, _W = ChangeSeverity.BREAKING, ChangeSeverity.WARNING

STEP_REMOVED_OWING = Rule(
    "SD101",
    _B,
    "step with a compensation removed",
    "open sagas that did the step must still undo it, and no longer know how",
    KEEP,
    True,
)
STEP_REMOVED = Rule(
    "SD102",
    _W,
    "step removed",
    "open sagas resume at a different place from where they stopped",
    KEEP,
    True,
)
STEP_RENAMED = Rule(
    "SD103",
    _B,
    "step renamed",
    "its name is in the log, the idempotency key and spans: the same step may run twice",
    "keep the name, and put the new title in a comment",
)
STEPS_REORDERED = Rule(
    "SD104",
    _B,
    "steps reordered",
    "open sagas resume at the wrong place, and are undone in a different order",
    KEEP,
    True,
)
STEP_INSERTED = Rule(
    "SD105",
    _B,
    "step inserted",
    "open sagas past its place never run it, though later steps rely on it",
    "append it at the end, or raise the version and drain",
    True,
)
STEP_APPENDED = Rule(
    "SD106",
    _W,
    "step appended",
    "open sagas run it too",
    "raise the version if only new sagas should run it",
)
CALL_CHANGED = Rule(
    "SD107",
    _B,
    "a step calls a different rpc",
    "a repeat goes to a service that never saw the first attempt: two effects",
    "add a step with a new name, and remove this one in a new version after draining",
    True,
)
REQUEST_TYPE_CHANGED = Rule(
    "SD108",
    _B,
    "request type of a step changed",
    "a repeated call differs from what the barrier recorded",
    KEEP,
    True,
)
RESPONSE_TYPE_CHANGED = Rule(
    "SD109",
    _B,
    "response type of a step changed",
    "logged responses are read as a different message",
    KEEP,
    True,
)
REQUEST_CHANGED = Rule(
    "SD110",
    _B,
    "request of a step changed",
    "one saga sends requests of both kinds: logged ones unchanged, the rest as they are built now",
    KEEP,
    True,
)
KIND_CHANGED = Rule(
    "SD111",
    _B,
    "kind of a step changed",
    "open sagas would turn back where they would have gone forward, or the reverse",
    KEEP,
)
PIVOT_LATER = Rule(
    "SD112",
    _B,
    "pivot moved later",
    "open sagas past the old pivot could be undone, though what they did is final",
    KEEP,
    True,
)
PIVOT_EARLIER = Rule(
    "SD113", _B, "pivot moved earlier", "the steps between can no longer be undone", KEEP, True
)
READ_CHANGED = Rule(
    "SD114",
    _B,
    "an rpc became a read, or stopped being one",
    "reads bypass the barrier: if the rpc does write, a repeated call has two effects",
    "add a new rpc for the other meaning",
)
RPC_DEPRECATED = Rule(
    "SD115",
    _W,
    "a step calls a deprecated rpc",
    "a deprecated rpc will be removed sooner or later",
    "move the step to its successor",
)
