"""What there is to see at one gateway, for every view."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sagagen.runtime.admin.gate import Gate
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import Orders
from sagagen.runtime.engine.port import SagaControl
from sagagen.runtime.health import Check, Readiness
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.rpc.transport import ReplicaStanding


@dataclass(frozen=True, slots=True)
class Reach:
    """How this gateway reaches a service."""

    addresses: tuple[str, ...] = ()
    """None: it runs in this process."""
    check: Check | None = None
    """Whether it serves; None: this gateway does not call it."""
    replicas: Callable[[], Sequence[ReplicaStanding]] | None = None
    """Where it has several addresses: how each does."""


@dataclass(frozen=True, slots=True)
class Desk:
    mesh: Mesh
    gate: Gate
    orders: Orders
    sagas: SagaControl
    schema: Callable[[], Schema]
    readiness: Readiness
    services: Mapping[str, Reach] = field(default_factory=dict[str, Reach])
    """By name; those that are not in it are of no known reach."""

    @property
    def operations(self) -> SagaOperations:
        return self.orders.operations
