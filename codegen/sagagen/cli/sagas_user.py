"""The user of this machine, in whose name commands on a log at rest are given."""

import getpass
import os


def os_user() -> str:
    """The user's name; a container's user may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
