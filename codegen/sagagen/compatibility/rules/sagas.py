"""What a difference between whole sagas means: identity, version, trigger, input."""

from sagagen.compatibility.change import ChangeSeverity, Rule
from sagagen.compatibility.rules.recipes import DRAIN

_B, _S = ChangeSeverity.BREAKING, ChangeSeverity.SAFE

SAGA_REMOVED = Rule(
    "SD001",
    _B,
    "saga removed",
    "open sagas can neither go on nor be undone",
    DRAIN,
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
