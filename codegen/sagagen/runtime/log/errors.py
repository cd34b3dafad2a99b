"""What the saga log raises. Each class asks its caller for another reaction."""

from sagagen.runtime.saga.journal import JournalUnavailable, JournalUnreadable
from sagagen.runtime.startup import StartupError


class LogError(Exception):
    """The saga log can't do what was asked."""


class LogUnavailable(LogError, JournalUnavailable):
    """Nothing can be written now (disk full, I/O error, closing), and nothing was. Try again after `retry_after_s`."""

    retry_after_s = 1.0
    """Seconds."""


class LogCorrupted(LogError, JournalUnreadable, StartupError):
    """The file is damaged, or a saga's rows can't be read; the message names the file or the saga."""
