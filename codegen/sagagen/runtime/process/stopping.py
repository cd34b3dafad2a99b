"""The last word on how long a process takes to stop.

Each wait of a stop has a limit of its own. A thread that hangs in the system, in an fsync for example, has none, and
Python waits for it: so has the process as a whole.
"""

import faulthandler
import sys

FORCED_AFTER_S = 1.0
"""How long after its grace period a process ends by force, in seconds; before a parent or a container engine does."""


def end_within(grace_s: float) -> None:
    """Let the process end by itself for so many seconds and FORCED_AFTER_S more.

    Then it writes to stderr where each of its threads is, and exits with 1. Works while Python itself is ending.
    """
    faulthandler.dump_traceback_later(grace_s + FORCED_AFTER_S, exit=True, file=sys.__stderr__ or 2)
