"""What keeps a process from starting, and a person can mend."""

import errno


class StartupError(Exception):
    """The message is the whole answer: what is wrong, where, and what to do. Anything else is a traceback."""


class SettingsError(StartupError):
    """An environment variable that can't be used; the message names it, its value and what would do."""


class PortTaken(OSError, StartupError):
    """Another program listens where this one should."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(errno.EADDRINUSE, f"port {port} on {host} is taken: another program listens there")
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return str(self.args[1])
