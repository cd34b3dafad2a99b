"""Who sits at this machine, for orders that nobody else vouches for."""

import getpass
import os


def os_user() -> str:
    """The user's name; a container's user may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
