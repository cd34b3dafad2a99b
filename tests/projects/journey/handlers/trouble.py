"""What goes wrong, as a request's script says it: "hold_seat: down" is about a step, "undo hold_seat: down" about its
compensation.

    declined   the handler declines
    broken     the handler fails in a way that is not repeated
    down       the handler is not available ...
    away       ... and this as well
    silent     the handler does not answer
    endless    the response holds a duration that JSON cannot say

All but `declined` and `endless` only come true where the environment variable TROUBLE names them.
"""

import asyncio
import os
from collections.abc import Sequence

from grpclib.const import Status

from sagagen.runtime import Declined, RpcError

LATER_S = 60.0
"""After which a service that is down wants to be called again: longer than a recording takes."""


async def obey(script: Sequence[str], call: str) -> None:
    """Let happen what the script says of this call: `hold_seat`, or `undo hold_seat`."""
    word = word_for(script, call)
    if word == "declined":
        raise Declined("SCRIPT_SAYS_NO", f"{call} is declined")
    if word not in os.environ.get("TROUBLE", "").split(","):
        return
    if word == "broken":
        raise RpcError(Status.DATA_LOSS, f"{call} is broken")
    if word in ("down", "away"):
        raise RpcError(Status.UNAVAILABLE, f"{call} is {word}", retry_after_s=LATER_S)
    if word == "silent":
        await asyncio.Event().wait()


def word_for(script: Sequence[str], call: str) -> str:
    """What the script says of this call; empty if nothing."""
    lines = (line.partition(": ") for line in script)
    return next((word for about, _, word in lines if about == call), "")
