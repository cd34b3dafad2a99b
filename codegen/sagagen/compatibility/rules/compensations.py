"""What a difference in how a step is undone means."""

from sagagen.compatibility.change import ChangeSeverity, Rule
from sagagen.compatibility.rules.recipes import KEEP

_B, _W = ChangeSeverity.BREAKING, ChangeSeverity.WARNING

COMPENSATION_REMOVED = Rule(
    "SD201",
    _B,
    "compensation removed",
    "what open sagas did in this step is never undone: stock stays reserved, money stays charged",
    KEEP,
    True,
)
COMPENSATION_ADDED = Rule(
    "SD202",
    _W,
    "compensation added",
    "it is also called for sagas that did the step before the compensation existed",
    "",
)
COMPENSATION_CALL_CHANGED = Rule(
    "SD203",
    _B,
    "compensation calls a different rpc",
    "the barrier pairs an action with its compensation in one service: any other records that nothing was to be undone",
    KEEP,
    True,
)
COMPENSATION_REQUEST_CHANGED = Rule(
    "SD204",
    _B,
    "request of a compensation changed",
    "a repeated call has a different payload from the first attempt: PAYLOAD_MISMATCH, and the saga is STUCK",
    KEEP,
    True,
)
COMPENSATION_TIMING = Rule(
    "SD205",
    _W,
    "compensation has less time",
    "more sagas end STUCK and wait for an operator",
    "",
)
COMPENSATION_RULES = Rule(
    "SD206",
    _B,
    "a compensation's request is validated more strictly",
    "values that were valid when the step was done are now refused: it can never be undone",
    "keep the old rules on the requests of compensations",
)
