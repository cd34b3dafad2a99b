"""What a difference in idempotency keys, and in how long answers are kept, means."""

from sagagen.compatibility.change import ChangeSeverity, Rule

_B, _W, _S = ChangeSeverity.BREAKING, ChangeSeverity.WARNING, ChangeSeverity.SAFE

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
