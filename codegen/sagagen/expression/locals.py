"""Names inside an emitted function: responses, the loop's item, variables of macros, names that they must not hide."""

from collections.abc import Iterable, Sequence
from itertools import chain, count

from sagagen.python_names import identifier

HELPERS = frozenset(
    {
        "EPOCH",
        "both",
        "bytes_to_string",
        "divide",
        "double_sum",
        "double_to_int",
        "double_to_string",
        "double_to_uint",
        "either",
        "every",
    }
    | {
        "float32",
        "greatest_of",
        "int32",
        "int64",
        "int64_sum",
        "item_at",
        "least_of",
        "milliseconds_of",
        "or_if_unset",
        "quotient",
        "remainder",
        "some",
        "string_to_double",
    }
    | {"string_to_int", "string_to_uint", "uint32", "uint64", "uint64_sum", "unless_unset", "value_at"}
)
"""What emitted functions import from sagagen.runtime.expression."""
_BUILTINS = frozenset({"all", "any", "bool", "bytes", "float", "int", "len", "str", "sum"})
RESERVED = (
    HELPERS | _BUILTINS | {"AccessScope", "CompensationScope", "EventScope", "Scope", "scope", "timedelta"}
)
"""Names that an emitted function may use, so that no class in its file may have them."""


class Locals:
    """Gives each step and variable a name of its own, as close to the contract's as possible."""

    def __init__(self, steps: Iterable[str], item: str | None = None) -> None:
        self._steps: dict[str, str] = {}
        self._variables: dict[int, str] = {}
        self._item = ""
        for step in dict.fromkeys(steps):
            self._steps[step] = _free(_lower(identifier(step)), "_response", self._taken({}))
        if item is not None:
            self._item = _free(_lower(identifier(item)), "_item", self._taken({}))

    @property
    def steps(self) -> dict[str, str]:
        """Step -> the local variable that holds its response, in the order in which they are read."""
        return self._steps

    @property
    def item(self) -> str:
        """The local variable that holds the item of the loop."""
        return self._item

    def variable(self, number: int) -> str:
        return self._variables[number]

    def bind(self, numbers: Sequence[int], name: str) -> str:
        """One name for the variable of a macro, or of two macros written as one; it hides no outer name."""
        local = _free(_lower(identifier(name)), "_item", self._taken(self._variables))
        self._variables.update(dict.fromkeys(numbers, local))
        return local

    def release(self, numbers: Sequence[int]) -> None:
        """The macro has ended; the name is free again."""
        for number in numbers:
            del self._variables[number]

    def _taken(self, variables: dict[int, str]) -> set[str]:
        return {*RESERVED, *self._steps.values(), self._item, *variables.values()}


def _lower(name: str) -> str:
    """Capitals begin the names of classes."""
    return name[0].lower() + name[1:]


def _free(name: str, suffix: str, taken: set[str]) -> str:
    """`name`; `len_item` if Python or the runtime has a `len`; `x2` inside another `x`."""
    wish = f"{name}{suffix}" if name in RESERVED else name
    numbered = (f"{wish}{n}" for n in count(2))
    return next(candidate for candidate in chain([wish], numbered) if candidate not in taken)
