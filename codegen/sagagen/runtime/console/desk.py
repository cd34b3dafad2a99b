"""What there is to see at one gateway, for every view."""

from collections.abc import Callable
from dataclasses import dataclass

from sagagen.runtime.admin.gate import Gate
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import Orders
from sagagen.runtime.engine.port import SagaControl
from sagagen.runtime.health import Readiness
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Mesh


@dataclass(frozen=True, slots=True)
class Desk:
    mesh: Mesh
    gate: Gate
    orders: Orders
    sagas: SagaControl
    schema: Callable[[], Schema]
    readiness: Readiness

    @property
    def operations(self) -> SagaOperations:
        return self.orders.operations
