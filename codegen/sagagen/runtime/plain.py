"""Whether a library is used in the way that it documents, or in a quicker one that leans on its private names.

Each quick way has modules of its own, the plain one stands beside it behind the same seam, and both pass the same
tests. `SAGAGEN_PLAIN` chooses (`h2,otlp`, or `all`). docs/decisions/144-private-names.md says which names those are.
"""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Literal, get_args

Switch = Literal["aiosqlite", "grpclib", "h2", "otlp", "uvicorn"]
"""What can be plain: named after the library whose private names the quick way uses."""
SWITCHES: tuple[Switch, ...] = get_args(Switch)

_plain: frozenset[Switch] = frozenset()


def choose(switches: Collection[Switch]) -> None:
    """Have these plain, and no others, in all that this process opens from now on."""
    global _plain
    _plain = frozenset(switches)


def is_plain(switch: Switch) -> bool:
    """To be asked when something is opened; what is open stays as it is."""
    return switch in _plain


@contextmanager
def using(switches: Collection[Switch]) -> Generator[None]:
    """`choose` within the block."""
    before = _plain
    choose(switches)
    try:
        yield
    finally:
        choose(before)
