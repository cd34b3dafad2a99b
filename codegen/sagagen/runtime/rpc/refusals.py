"""How a service's barrier turns calls down, as both sides of the wire know it."""

from enum import StrEnum


class BarrierRefusal(StrEnum):
    """Why the barrier itself turns a call down: ErrorInfo.reason in the runtime's domain."""

    EXPIRED = "EXPIRED"
    """The call arrived after its deadline. Nothing follows from that for the saga."""
    OTHER_RUN = "OTHER_RUN"
    FORGOTTEN = "FORGOTTEN"
    STEP_COMPENSATED = "STEP_COMPENSATED"
    PAYLOAD_MISMATCH = "PAYLOAD_MISMATCH"


class MacRefusal(StrEnum):
    """Why a service does not believe that its mesh has made a call: ErrorInfo.reason in the runtime's domain."""

    UNSIGNED = "UNSIGNED"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    ALTERED = "ALTERED"
    STALE = "STALE"


UNKNOWN_CALL = "UNKNOWN_CALL"
"""ErrorInfo.reason: no saga of the service's contract makes this call. It passes once that is deployed here too."""
STOPPING = "STOPPING"
"""ErrorInfo.reason: the process takes no calls any more, and did nothing of this one. Another replica may take it."""
OTHER_PAYLOAD = "other-payload"
"""In ErrorInfo.metadata of OTHER_RUN: `true` if the run that owns the saga sent another request in this step."""
OWNER_RUN = "owner-run"
"""In ErrorInfo.metadata of OTHER_RUN: the run that owns the saga, as `identity.owner_digest` names it."""
