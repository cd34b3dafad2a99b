"""What a difference between services, and in what they show of data, means."""

from sagagen.compatibility.change import ChangeSeverity, Rule
from sagagen.compatibility.rules.recipes import DRAIN

_B, _W, _S = ChangeSeverity.BREAKING, ChangeSeverity.WARNING, ChangeSeverity.SAFE

SERVICE_REMOVED = Rule(
    "SD601",
    _B,
    "service removed",
    "open sagas may still need it, to go on or to be undone",
    DRAIN,
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
ISOLATION_WEAKENED = Rule(
    "SD609",
    _W,
    "a service's isolation got weaker",
    "handlers that read and then write may lose updates, or each miss what another one writes",
    "look through its handlers with docs/postgres.md beside them",
)
