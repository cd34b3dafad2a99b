"""Every rule of the contract diff that is not buf's, one module an idea. The table in docs/diff-rules.md lists them."""

from types import ModuleType

from sagagen.compatibility.change import Rule
from sagagen.compatibility.rules import (
    compensations,
    edge,
    keys,
    outside,
    sagas,
    security,
    services,
    steps,
    timing,
)


def _of(module: ModuleType) -> tuple[Rule, ...]:
    return tuple(value for value in vars(module).values() if isinstance(value, Rule))


OWN_RULES: tuple[Rule, ...] = (
    *_of(sagas),
    *_of(steps),
    *_of(compensations),
    *_of(timing),
    *_of(keys),
    *_of(edge),
    *_of(services),
    *_of(outside),
    *_of(security),
)
"""In the order of the table."""
