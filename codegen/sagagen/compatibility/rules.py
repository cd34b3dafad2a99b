"""Every rule of the contract diff that is not buf's. docs/diff-rules.md is made from this list."""

from sagagen.compatibility.change import ChangeSeverity, Rule

_B, _W, _S = ChangeSeverity.BREAKING, ChangeSeverity.WARNING, ChangeSeverity.SAFE

_KEEP = "raise the saga's version and keep the old one beside it until it has drained (`sagagen bump`)"
_DRAIN = "wait until none is open (`sagagen sagas list`), or leave it in"

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
    "its log rows, metrics and routes are known by the old name; open sagas find no definition",
    "keep the name; what people read can change in docs and titles",
)
VERSION_GONE = Rule(
    "SD003",
    _B,
    "version raised, the old one is gone",
    "open sagas end on the version that they began with, and wait for it",
    "keep it beside the new one (`sagagen bump`), or deploy once it has drained: `--running` says when",
    True,
)
VERSION_NOT_RAISED = Rule(
    "SD004",
    _B,
    "behaviour changed, version not raised",
    "one version has two meanings: open sagas see another digest and wait",
    "raise `version` of the saga and keep the old one: `sagagen bump`",
    True,
)
VERSION_LOWERED = Rule(
    "SD005",
    _B,
    "version lowered",
    "a number that was used gets a second meaning",
    "versions only grow: take a new one",
)
VERSION_KEPT = Rule("SD012", _S, "version raised, the old one is kept", "open sagas end on it", "")
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
    "what is logged as input is read as another message; clients send the old one",
    "add fields to the message that is there",
)
NEW_INPUT_READ = Rule(
    "SD009",
    _B,
    "a new field of the input is read",
    "open sagas were started without it: they send its default",
    "read it only where its default is right, or raise the version and drain",
    True,
)
NEW_OUTPUT_READ = Rule(
    "SD010",
    _B,
    "a new field of a step's response is read",
    "responses that are logged already lack it: its default is sent, a refund of 0 for example",
    "raise the version and drain, or read a field that was always there",
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
    "those that did the step still owe its undoing, and nothing knows how any more",
    _KEEP,
    True,
)
STEP_REMOVED = Rule(
    "SD102",
    _W,
    "step removed",
    "open sagas resume at another place than they stopped at",
    _KEEP,
    True,
)
STEP_RENAMED = Rule(
    "SD103",
    _B,
    "step renamed",
    "its name is in the log, in the idempotency key and in spans: the same step may run twice",
    "keep the name; a title belongs into a comment",
)
STEPS_REORDERED = Rule(
    "SD104",
    _B,
    "steps reordered",
    "open sagas resume at the wrong place and are undone in another order",
    _KEEP,
    True,
)
STEP_INSERTED = Rule(
    "SD105",
    _B,
    "step inserted",
    "those that are past its place never ran it, though later steps count on it",
    "append it at the end, or raise the version and drain",
    True,
)
STEP_APPENDED = Rule(
    "SD106",
    _W,
    "step appended",
    "sagas that have not ended yet run it too",
    "raise the version to say from when on",
)
CALL_CHANGED = Rule(
    "SD107",
    _B,
    "a step calls another rpc",
    "a repeat goes to a service that never saw the first attempt: two effects",
    "add a step of another name and remove this one in a new version, after draining",
    True,
)
REQUEST_TYPE_CHANGED = Rule(
    "SD108",
    _B,
    "request type of a step changed",
    "a repeat differs from what the barrier recorded",
    _KEEP,
    True,
)
RESPONSE_TYPE_CHANGED = Rule(
    "SD109",
    _B,
    "response type of a step changed",
    "responses that are logged are read as another message",
    _KEEP,
    True,
)
REQUEST_CHANGED = Rule(
    "SD110",
    _B,
    "request of a step changed",
    "one saga would be sent requests of both kinds: what is logged goes out as it is, the rest as it is built now",
    _KEEP,
    True,
)
KIND_CHANGED = Rule(
    "SD111",
    _B,
    "kind of a step changed",
    "open sagas would turn back where they went forward, or the reverse",
    _KEEP,
)
PIVOT_LATER = Rule(
    "SD112",
    _B,
    "pivot moved later",
    "those past the old pivot would be undone, though what they did is final",
    _KEEP,
    True,
)
PIVOT_EARLIER = Rule("SD113", _B, "pivot moved earlier", "the steps between lose their undoing", _KEEP, True)
READ_CHANGED = Rule(
    "SD114",
    _B,
    "an rpc became a read, or stopped being one",
    "reads pass the barrier by: a repeat of what is a write in fact has two effects",
    "add a new rpc for the other meaning",
)
RPC_DEPRECATED = Rule(
    "SD115",
    _W,
    "a step calls a deprecated rpc",
    "who deprecates it means to remove it",
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
    "it is also called for sagas whose step was done before it existed",
    "",
)
COMPENSATION_CALL_CHANGED = Rule(
    "SD203",
    _B,
    "compensation calls another rpc",
    "the barrier pairs action and undoing in one service: elsewhere an empty compensation would be recorded, and count",
    _KEEP,
    True,
)
COMPENSATION_REQUEST_CHANGED = Rule(
    "SD204",
    _B,
    "request of a compensation changed",
    "a repeat has another payload than the first attempt: PAYLOAD_MISMATCH, and the saga is STUCK",
    _KEEP,
    True,
)
COMPENSATION_TIMING = Rule(
    "SD205",
    _W,
    "compensation gets less time",
    "more sagas end STUCK and wait for an operator",
    "",
)
COMPENSATION_RULES = Rule(
    "SD206",
    _B,
    "a compensation's request is validated more strictly",
    "values that were fine when the step was done are refused now: its undoing can never succeed",
    "keep the old rules on messages that undo something",
)

TIMEOUT_LOWERED = Rule(
    "SD301",
    _W,
    "timeout of a step lowered",
    "what answers late now counts as in doubt, and is repeated or undone",
    "",
)
DEADLINE_LOWERED = Rule(
    "SD302",
    _B,
    "deadline lowered",
    "it holds for open sagas too: those that are older turn back at the next start",
    "let those that are older than the new deadline end first",
    True,
)
ATTEMPTS_LOWERED = Rule(
    "SD303",
    _W,
    "fewer attempts",
    "a short failure of a service now turns sagas back",
    "",
)
CODES_NARROWED = Rule(
    "SD304",
    _W,
    "fewer codes are retried",
    "a failure that was repeated now turns the saga back",
    "",
)
CODES_WIDENED = Rule("SD305", _S, "more codes are retried", "the barrier makes repeats harmless", "")
BACKOFF_SHORTENED = Rule(
    "SD306",
    _W,
    "shorter backoff",
    "a service that recovers meets more repeats at once",
    "",
)
TIMING_RELAXED = Rule("SD307", _S, "more time, or more attempts", "what ended in time still does", "")

KEY_REQUIRED = Rule(
    "SD401",
    _B,
    "idempotency key required",
    "clients that send none get 400",
    "warn them before, and make it required later",
)
KEY_OPTIONAL = Rule("SD402", _W, "idempotency key optional", "a client that forgets it places two orders", "")
CONCURRENT_CHANGED = Rule(
    "SD403",
    _B,
    "answer to a duplicate under way changed",
    "clients wait where they got 409, or the reverse",
    "tell them before",
)
REPLAY_SHORTENED = Rule(
    "SD404",
    _W,
    "answers are kept for less time",
    "a late retry gets 409 KEY_EXPIRED, or starts anew",
    "",
)
REPLAY_LENGTHENED = Rule("SD405", _S, "answers are kept longer", "", "")

ROUTE_REMOVED = Rule(
    "SD501",
    _B,
    "route removed",
    "clients that use it get 404 or 405",
    "keep it as an additional binding beside the new one",
)
ROUTE_VARIABLE = Rule(
    "SD502",
    _B,
    "a path variable fills another field",
    "the same URL means another thing",
    "add a route beside it",
)
ROUTE_BODY = Rule(
    "SD503",
    _B,
    "body of a route changed",
    "what clients send, or read, has another shape",
    "add a route beside it",
)
ROUTE_TARGET = Rule(
    "SD504",
    _B,
    "a route calls another rpc",
    "the same URL does another thing",
    "add a route beside it",
)
ROUTE_ADDED = Rule("SD505", _S, "route added", "", "")
STATUS_CHANGED = Rule("SD506", _B, "status of the answer changed", "clients decide by it", "tell them before")
ANSWER_MOVED = Rule(
    "SD507",
    _B,
    "the answer leaves at another step",
    "it says more or less than it did: what came synchronously comes later, or the reverse",
    "tell clients before",
)
ANSWER_BODY = Rule(
    "SD508",
    _B,
    "body of the answer changed",
    "clients read fields that are gone or mean another thing",
    "add fields",
)
WAIT_LOWERED = Rule("SD509", _W, "202 comes sooner", "clients meet 202 and a Location more often", "")
LIMITS_LOWERED = Rule("SD510", _W, "limits lowered", "more requests get 503", "")
EDGE_RULES = Rule(
    "SD511",
    _B,
    "a request is validated more strictly",
    "requests that were fine get 400",
    "tell clients before, or add a field",
)
RULES_RELAXED = Rule("SD512", _S, "a message is validated less strictly", "what was fine still is", "")

SERVICE_REMOVED = Rule(
    "SD601",
    _B,
    "service removed",
    "open sagas may still call it, to go on or to be undone",
    _DRAIN,
    True,
)
SERVICE_ADDED = Rule("SD602", _S, "service added", "", "")
IMPLEMENTATION_MOVED = Rule(
    "SD603",
    _B,
    "an rpc moved to another service",
    "its barrier and its data stay in the old service's database: repeats run again",
    "move it after draining, with the data",
    True,
)
PORT_CHANGED = Rule(
    "SD604",
    _W,
    "a service's port changed",
    "processes of the old and the new version do not find each other during the rollout",
    "append new services at the end of `services:`",
)
TRANSACTION_CHANGED = Rule(
    "SD605",
    _W,
    "who opens the transaction changed",
    "its handler must be rewritten in the same deployment",
    "",
)
MEMORY_SHORTENED = Rule(
    "SD606",
    _W,
    "a service forgets sooner",
    "what comes later than that is FORGOTTEN: the saga is STUCK",
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
    "what was written before stays readable where it is",
    "",
)

OWN_RULES: tuple[Rule, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
