"""What of a saga could not be read: nothing that only follows from it is reported."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Broken:
    """What of a saga could not be read, and was reported."""

    steps: frozenset[str] = frozenset()
    """Names of elements; the empty name: one whose name is unknown."""
    events: frozenset[str] = frozenset()
    """The same of events."""


@dataclass(frozen=True, slots=True)
class BrokenSecurity:
    """What of the `security` section could not be read, and was reported."""

    schemes: frozenset[str] = frozenset()
    """Names of schemes; the empty name: any."""
    rules: frozenset[str] = frozenset()
    """Rpcs whose rule is missing; the empty name: any, or the default."""

    @property
    def hides_claims(self) -> bool:
        """A claim that nobody names may be one of them."""
        return bool(self.schemes)

    def may_lack_scheme(self, name: str) -> bool:
        return name in self.schemes or "" in self.schemes

    def may_lack_rule(self, rpc: str) -> bool:
        return rpc in self.rules or "" in self.rules
