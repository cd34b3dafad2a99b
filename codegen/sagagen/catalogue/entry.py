"""What there is to say about a code."""

from dataclasses import dataclass

SAGA_YAML = "contracts/saga.yaml"
PROTO = "contracts/shop/v1/shop.proto"
FILE_NAME = "a file's name"
"""Where the example is about what a file is called."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One code: cause, cure, and an example of both.

    `wrong` in the place of `right` provokes this code and no other; a test does so in the contract that all examples
    are from.
    """

    code: str
    cause: str
    cure: str
    wrong: str = ""
    """Empty where nothing that can be written down provokes it: it guards against what nobody has thought of."""
    right: str = ""
    where: str = SAGA_YAML
    is_warning: bool = False
    also: tuple[tuple[str, str, str], ...] = ()
    """What else must change for that: file, text, and what stands there instead. It may be wrong in itself."""
    beside: tuple[str, ...] = ()
    """Codes that are reported for `also`."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    entries: tuple[Entry, ...]
    note: str = ""
