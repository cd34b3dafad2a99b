"""What the catalogue says about a code."""

from dataclasses import dataclass

SAGA_YAML = "contracts/saga.yaml"
PROTO = "contracts/shop/v1/shop.proto"
FILE_NAME = "a file's name"
"""Used where the example is about a file's name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One code: its cause, a fix, and an example of both.

    `wrong` in place of `right` provokes this code and no other; a test proves it in the contract that all examples
    are from.
    """

    code: str
    cause: str
    cure: str
    wrong: str = ""
    """Empty where no example can provoke it: such a code guards against what nobody has thought of."""
    right: str = ""
    where: str = SAGA_YAML
    is_warning: bool = False
    is_note: bool = False
    also: tuple[tuple[str, str, str], ...] = ()
    """What else must change for that: file, text, and its replacement. The replacement may be wrong in itself."""
    beside: tuple[str, ...] = ()
    """Codes that are reported for `also`."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    entries: tuple[Entry, ...]
    note: str = ""
