"""The rpcs of a contract, as saga.yaml names them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.calls import CallResolver
from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.located import Located, text_scalar
from sagagen.contract.model import Method
from sagagen.contract.protos import link
from sagagen.contract.reading import read_shapes
from sagagen.contract.services import resolve_services
from sagagen.diagnostics import Diagnostic
from sagagen.editing.contract import Contract
from sagagen.editing.text import CannotAdd
from sagagen.python_naming import assign_names
from sagagen.source import Span

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Methods:
    calls: CallResolver
    found: list[Diagnostic]

    @staticmethod
    def of(contract: Contract) -> "Methods":
        found: list[Diagnostic] = []
        protos = link(contract.sources, found.append)
        reading = read_shapes(contract.yaml.document, found.append)
        names = assign_names(protos.files, found.append, protos.span)
        services = resolve_services(reading, protos, names, found.append)
        found.clear()  # `sagagen check` reports these
        return Methods(CallResolver(protos, services, found.append), found)

    def called(self, call: str) -> Method:
        """The rpc that a step calls: service/Method. Raises CannotAdd."""
        target = self._find(call, self.calls.target)
        return target.method

    def event(self, rpc: str) -> MethodDescriptor:
        """The rpc of an event: package.Service/Method. Raises CannotAdd."""
        return self._find(rpc, self.calls.event)

    def _find(self, name: str, find: Callable[[Located[str]], T | None]) -> T:
        target = find(Located(name, text_scalar(name, Span(SAGA_YAML))))
        if self.found:
            raise CannotAdd(f"{self.found[0].message}: {self.found[0].hint}")
        if target is None:
            raise CannotAdd(
                f"{name} can't be found, since the contract has errors: `sagagen check` reports them"
            )
        return target
