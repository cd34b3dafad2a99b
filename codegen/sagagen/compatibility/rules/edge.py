"""What a difference means to clients: routes, answers, limits, validation."""

from sagagen.compatibility.change import ChangeSeverity, Rule

_B, _W, _S = ChangeSeverity.BREAKING, ChangeSeverity.WARNING, ChangeSeverity.SAFE

ROUTE_REMOVED = Rule(
    "SD501",
    _B,
    "route removed",
    "clients that use it get 404 or 405",
    "keep it as an additional binding of the new route",
)
ROUTE_VARIABLE = Rule(
    "SD502",
    _B,
    "a path variable sets a different field",
    "the same URL means something else",
    "add a route beside it",
)
ROUTE_BODY = Rule(
    "SD503",
    _B,
    "body of a route changed",
    "what clients send or read has a different shape",
    "add a route beside it",
)
ROUTE_TARGET = Rule(
    "SD504",
    _B,
    "a route calls a different rpc",
    "the same URL does something else",
    "add a route beside it",
)
ROUTE_ADDED = Rule("SD505", _S, "route added", "", "")
STATUS_CHANGED = Rule(
    "SD506", _B, "status of the answer changed", "clients decide by it", "tell clients first"
)
ANSWER_MOVED = Rule(
    "SD507",
    _B,
    "the answer is sent after a different step",
    "it contains more or less than it did: something that came at once comes later, or the reverse",
    "tell clients first",
)
ANSWER_BODY = Rule(
    "SD508",
    _B,
    "body of the answer changed",
    "clients read fields that are gone or mean something else",
    "add fields",
)
WAIT_LOWERED = Rule("SD509", _W, "202 comes sooner", "clients get 202 and a Location more often", "")
LIMITS_LOWERED = Rule("SD510", _W, "limits lowered", "more requests get 503, or 413", "")
EDGE_RULES = Rule(
    "SD511",
    _B,
    "a request is validated more strictly",
    "requests that used to be valid get 400",
    "tell clients first, or add a field",
)
RULES_RELAXED = Rule("SD512", _S, "a message is validated less strictly", "what was valid still is", "")
