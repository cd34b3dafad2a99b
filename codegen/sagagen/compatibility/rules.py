"""Every rule of the contract diff that is not buf's. The table in docs/diff-rules.md lists them."""

from sagagen.compatibility.change import ChangeSeverity, Rule

_B, _W, _S = ChangeSeverity.BREAKING, ChangeSeverity.WARNING, ChangeSeverity.SAFE

_KEEP = "raise the saga's version and keep the old one beside it until it has drained (`sagagen bump`)"
_DRAIN = "wait until no saga is open (`sagagen sagas list`), or leave it in"

SAGA_REMOVED = Rule(
    "SD001",
    _B,
    "saga removed",
    "open sagas can neither go on nor be undone",
    _DRAIN,
    True,
)
SAGA_RENAMED = Rule(
    "SD002",
    _B,
    "saga renamed",
    "its log rows, metrics and routes have the old name; open sagas find no definition",
    "keep the name; docs and comments can use a new one",
)
VERSION_GONE = Rule(
    "SD003",
    _B,
    "version raised, the old one removed",
    "open sagas can end only on the version that they began with, and wait for it",
    "keep the old version beside the new one (`sagagen bump`), or deploy once it has drained: `--running` says when",
    True,
)
VERSION_NOT_RAISED = Rule(
    "SD004",
    _B,
    "behaviour changed, version not raised",
    "one version has two meanings: open sagas find a different digest, and wait",
    "raise the saga's `version` and keep the old one (`sagagen bump`)",
    True,
)
VERSION_LOWERED = Rule(
    "SD005",
    _B,
    "version lowered",
    "a number that was used gets a second meaning",
    "versions only grow: use a new number",
)
VERSION_KEPT = Rule("SD012", _S, "version raised, the old one kept", "open sagas end on the old version", "")
SAGA_ADDED = Rule("SD006", _S, "saga added", "nobody has used it yet", "")
TRIGGER_CHANGED = Rule(
    "SD007",
    _B,
    "trigger changed",
    "the rpc is part of each saga's id: a client's retry across the deployment starts a second saga",
    "add a new saga for the new rpc, and let the old one drain",
)
INPUT_CHANGED = Rule(
    "SD008",
    _B,
    "type of the input changed",
    "logged input is read as a different message, and clients send the old one",
    "add fields to the existing message",
)
NEW_INPUT_READ = Rule(
    "SD009",
    _B,
    "a new field of the input is read",
    "open sagas started without it: they send its default",
    "read it only where its default is right, or raise the version and drain",
    True,
)
NEW_OUTPUT_READ = Rule(
    "SD010",
    _B,
    "a new field of a step's response is read",
    "responses already logged do not have it: its default is sent, for example a refund of 0",
    "raise the version and drain, or read a field that has always been there",
    True,
)
PROJECT_RENAMED = Rule(
    "SD011",
    _B,
    "project renamed",
    "it is part of each saga's id: every retry across the deployment is a new saga",
    "keep the name",
)

STEP_REMOVED_OWING = Rule(
    "SD101",
    _B,
    "step with a compensation removed",
    "open sagas that did the step must still undo it, and no longer know how",
    _KEEP,
    True,
)
STEP_REMOVED = Rule(
    "SD102",
    _W,
    "step removed",
    "open sagas resume at a different place from where they stopped",
    _KEEP,
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
    _KEEP,
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
    _KEEP,
    True,
)
RESPONSE_TYPE_CHANGED = Rule(
    "SD109",
    _B,
    "response type of a step changed",
    "logged responses are read as a different message",
    _KEEP,
    True,
)
REQUEST_CHANGED = Rule(
    "SD110",
    _B,
    "request of a step changed",
    "one saga sends requests of both kinds: logged ones unchanged, the rest as they are built now",
    _KEEP,
    True,
)
KIND_CHANGED = Rule(
    "SD111",
    _B,
    "kind of a step changed",
    "open sagas would turn back where they would have gone forward, or the reverse",
    _KEEP,
)
PIVOT_LATER = Rule(
    "SD112",
    _B,
    "pivot moved later",
    "open sagas past the old pivot could be undone, though what they did is final",
    _KEEP,
    True,
)
PIVOT_EARLIER = Rule(
    "SD113", _B, "pivot moved earlier", "the steps between can no longer be undone", _KEEP, True
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

COMPENSATION_REMOVED = Rule(
    "SD201",
    _B,
    "compensation removed",
    "what open sagas did in this step is never undone: stock stays reserved, money stays charged",
    _KEEP,
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
    _KEEP,
    True,
)
COMPENSATION_REQUEST_CHANGED = Rule(
    "SD204",
    _B,
    "request of a compensation changed",
    "a repeated call has a different payload from the first attempt: PAYLOAD_MISMATCH, and the saga is STUCK",
    _KEEP,
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

KEY_REQUIRED = Rule(
    "SD401",
    _B,
    "idempotency key required",
    "clients that send none get 400",
    "tell clients first, and make it required later",
)
KEY_OPTIONAL = Rule("SD402", _W, "idempotency key optional", "a client that forgets it places two orders", "")
CONCURRENT_CHANGED = Rule(
    "SD403",
    _B,
    "answer to a duplicate of an unfinished request changed",
    "clients now wait where they used to get 409, or the reverse",
    "tell clients first",
)
REPLAY_SHORTENED = Rule(
    "SD404",
    _W,
    "answers are kept for less time",
    "a late retry gets 409 KEY_EXPIRED, or starts a new saga",
    "",
)
REPLAY_LENGTHENED = Rule("SD405", _S, "answers are kept longer", "", "")

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

SERVICE_REMOVED = Rule(
    "SD601",
    _B,
    "service removed",
    "open sagas may still need it, to go on or to be undone",
    _DRAIN,
    True,
)
SERVICE_ADDED = Rule("SD602", _S, "service added", "", "")
IMPLEMENTATION_MOVED = Rule(
    "SD603",
    _B,
    "an rpc moved to another service",
    "its barrier and data stay in the old service's database: repeated calls run again",
    "move it after draining, with the data",
    True,
)
PORT_CHANGED = Rule(
    "SD604",
    _W,
    "a service's port changed",
    "old and new processes do not find each other during the rollout",
    "append new services at the end of `services:`",
)
TRANSACTION_CHANGED = Rule(
    "SD605",
    _W,
    "what opens the transaction changed",
    "the handler must be rewritten in the same deployment",
    "",
)
MEMORY_SHORTENED = Rule(
    "SD606",
    _W,
    "a service forgets sooner",
    "a call that comes later is FORGOTTEN, and its saga STUCK",
    "",
)
REDACTION_REMOVED = Rule(
    "SD607",
    _B,
    "debug_redact removed",
    "the field's values appear in logs, traces and consoles",
    "keep it, or have it approved",
)
REDACTION_ADDED = Rule(
    "SD608",
    _W,
    "debug_redact added",
    "what was written earlier stays readable",
    "",
)

OWN_RULES: tuple[Rule, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
