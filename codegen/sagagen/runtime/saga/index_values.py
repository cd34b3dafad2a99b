"""The values by which a saga can be found, worked out again from its first row: for whoever has no table of them."""

from collections.abc import Mapping
from contextlib import suppress

from sagagen.runtime.model.definition import Saga
from sagagen.runtime.rpc.caller_claims import claims_of
from sagagen.runtime.saga.events import Accepted
from sagagen.runtime.scope import Scope


def index_values(saga: Saga | None, accepted: Accepted) -> Mapping[str, str | int]:
    """By name, in the order of the contract; true and false are 1 and 0. Without those that can't be worked out."""
    if saga is None or not saga.index:
        return {}
    scope = Scope(
        accepted.saga_id,
        saga.trigger.request,
        accepted.input,
        {},
        caller=accepted.caller,
        claims=claims_of(accepted.claims),
        started_ms=accepted.started_ms,
    )
    found: dict[str, str | int] = {}
    for each in saga.index:
        with suppress(Exception):  # of the contract's expressions; the acceptance has told of it
            value = each.value(scope)
            found[each.name] = value if isinstance(value, str) else int(value)
    return found
