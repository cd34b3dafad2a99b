"""How the rest learns what a field was called before, without knowing where that is read."""

from collections.abc import Callable
from typing import TypeAlias

Renamed: TypeAlias = Callable[[str, str], str]
"""Full name of a message or enum, and an attribute that it once had -> what the contract calls it now, or nothing."""


def not_known(_name: str, _attribute: str) -> str:
    """Where no earlier contract is at hand."""
    return ""
