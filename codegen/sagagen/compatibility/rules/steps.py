"""What a difference between the steps of a saga means."""

from sagagen.compatibility.change import ChangeSeverity, Rule
from sagagen.compatibility.rules.recipes import KEEP

_B, _W, _S = ChangeSeverity.BREAKING, ChangeSeverity.WARNING, ChangeSeverity.SAFE

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
ELEMENT_MOVED = Rule(
    "SD116",
    _B,
    "element moved into a branch, out of it, or to another",
    "it begins after something else, and is undone in a different order: open sagas may have done it too early",
    KEEP,
    True,
)
ELEMENT_REPLACED = Rule(
    "SD117",
    _B,
    "an element became another kind of thing",
    "what open sagas logged under its name is no outcome of what it is now",
    "remove it, and add the new one under a new name, in a new version",
    True,
)
BRANCH_ADDED = Rule(
    "SD118",
    _B,
    "branch added",
    "open sagas past its block run it late, though what comes after the block relies on it",
    KEEP,
    True,
)
BRANCH_REMOVED = Rule(
    "SD119",
    _W,
    "branch removed",
    "open sagas no longer wait for it: what comes after the block begins without it",
    KEEP,
    True,
)
BRANCHES_REARRANGED = Rule(
    "SD120",
    _S,
    "branches renamed or reordered",
    "they begin together, and nothing reads their names",
    "",
)
CONDITION_CHANGED = Rule(
    "SD121",
    _B,
    "`when` of an element added, removed or changed",
    "open sagas skip what they would have done, or do what they would have skipped; what was decided stays",
    KEEP,
    True,
)
LOOP_SOURCE_CHANGED = Rule(
    "SD122",
    _B,
    "a loop runs over a different list",
    "open sagas undo the items that they logged with what the new list has under their keys",
    KEEP,
    True,
)
LOOP_KEY_CHANGED = Rule(
    "SD123",
    _B,
    "key of a loop changed",
    "items that open sagas logged are not found again: they can't be undone, or another one is undone in their place",
    KEEP,
    True,
)
GIVES_UP = Rule(
    "SD124",
    _B,
    "a step is left as it is when it can't be done",
    "open sagas end COMPLETED without it, where an operator would have seen to it",
    KEEP,
    True,
)
GIVES_UP_NO_MORE = Rule(
    "SD125",
    _W,
    "a step is no longer left as it is when it can't be done",
    "sagas that would have gone on are STUCK, and wait for an operator",
    "",
    True,
)
DELAY_SOURCE_CHANGED = Rule(
    "SD126",
    _B,
    "time of a delay comes from elsewhere",
    "open sagas that have not begun it wait for a different time; an end that was logged stays",
    KEEP,
    True,
)
FIRST_WRITE_MOVED = Rule(
    "SD127",
    _W,
    "the first write goes to a different service",
    "during the rollout, two gateways that accept one key meet too late: both of their sagas may be turned back",
    "let no old gateway accept sagas beside a new one",
)
