"""What of a saga could not be read: nothing that only follows from it is reported."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Broken:
    """What of a saga could not be read, and was reported."""

    steps: frozenset[str] = frozenset()
    """Names of elements; the empty name: one whose name is unknown."""
    events: frozenset[str] = frozenset()
    """The same of events."""
