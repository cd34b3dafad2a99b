"""What a difference in pace means: deadlines, timeouts, attempts, back-off."""

from sagagen.compatibility.change import ChangeSeverity, Rule

_B, _W, _S = ChangeSeverity.BREAKING, ChangeSeverity.WARNING, ChangeSeverity.SAFE

TIMEOUT_LOWERED = Rule(
    "SD301",
    _W,
    "timeout of a step lowered",
    "the outcome of a slow call now counts as unknown, and the call is repeated or undone",
    "",
)
DEADLINE_LOWERED = Rule(
    "SD302",
    _B,
    "deadline lowered",
    "it applies to open sagas too: older ones turn back at the next start",
    "let sagas older than the new deadline end first",
    True,
)
ATTEMPTS_LOWERED = Rule(
    "SD303",
    _W,
    "fewer attempts",
    "a short outage of a service now turns sagas back",
    "",
)
CODES_NARROWED = Rule(
    "SD304",
    _W,
    "fewer codes are retried",
    "a failure that used to be retried now turns the saga back",
    "",
)
CODES_WIDENED = Rule("SD305", _S, "more codes are retried", "the barrier makes repeated calls harmless", "")
BACKOFF_SHORTENED = Rule(
    "SD306",
    _W,
    "shorter backoff",
    "a recovering service gets more repeated calls at once",
    "",
)
TIMING_RELAXED = Rule(
    "SD307", _S, "more time, or more attempts", "what used to finish in time still does", ""
)
BUDGET_LOWERED = Rule(
    "SD308",
    _W,
    "a step is given up sooner",
    "more sagas end STUCK and wait for an operator",
    "",
)
WITHIN_LOWERED = Rule(
    "SD309",
    _W,
    "a wait has less time",
    "an answer that used to come in time comes too late; what waits already keeps its end",
    "",
)
DELAY_CHANGED = Rule(
    "SD310",
    _W,
    "a delay is shorter or longer",
    "what comes after it happens sooner or later; a delay that has begun keeps its end",
    "",
)
LOOP_PACE = Rule(
    "SD311",
    _W,
    "a loop has more or fewer items under way at once",
    "its service gets more calls at once, or the loop takes longer; one that has begun keeps its number",
    "",
)
BOUND_LOWERED = Rule(
    "SD312",
    _B,
    "a loop or delay may be less long",
    "what is beyond the bound can't be built: the saga turns back, or after the pivot is STUCK",
    "make sure that nobody asks for more, or refuse it at the edge first",
)
BOUND_RAISED = Rule(
    "SD313", _S, "a loop, delay or start may be longer", "what was within the bound still is", ""
)
