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
