"""What this log raises."""

from sagagen.runtime.saga.journal import JournalUnavailable, JournalUnreadable


class DatabaseAway(JournalUnavailable):
    """PostgreSQL can't be reached, or does not do what was asked. Nothing was written."""


class Superseded(JournalUnavailable):
    """Others have taken this gateway for dead, and own its sagas now. Nothing was written, nor will be."""


class SagaUnreadable(JournalUnreadable):
    """A saga's rows can't be read; the message names the saga."""
