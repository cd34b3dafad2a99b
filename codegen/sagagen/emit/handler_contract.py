"""What the contract demands of each file in handlers/: the class, its methods and the types they take and return."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sagagen.contract.model import Mesh, Service
from sagagen.emit.docstrings import docstring
from sagagen.emit.message_shapes import Shapes, message_shapes
from sagagen.emit.service_names import ServiceNames, name_services
from sagagen.python_names import PyClass


@dataclass(frozen=True, slots=True)
class HandlerMethod:
    """The handler of one rpc."""

    name: str
    rpc: str
    """Full name, as in the contract."""
    request: PyClass
    response: PyClass
    doc: tuple[str, ...]
    """The lines of its docstring literal; none for an rpc without a comment."""
    unwritten: str
    """Python source of the message that it raises until it is written."""


@dataclass(frozen=True, slots=True)
class HandlerContract:
    """What one file in handlers/ has to define."""

    path: str
    """Relative to the project's root, with forward slashes."""
    implementation: str
    """The class that the mesh loads: `OrderService`."""
    base: PyClass
    """What it implements: `OrderHandlers` of generated/services/order.py."""
    methods: tuple[HandlerMethod, ...]
    """In the order of the contract."""
    messages: frozenset[PyClass]
    """Every message class and enum of the contract, so that classes which are gone can be recognized."""
    shapes: Shapes = field(repr=False)
    """Their fields and values, but for Google's."""


def handler_contracts(mesh: Mesh) -> tuple[HandlerContract, ...]:
    """One for each service, in the order of the contract."""
    names = name_services(mesh)
    messages = frozenset(mesh.names.classes.values())
    shapes = message_shapes(mesh)
    return tuple(_contract(service, names[service.name], mesh, messages, shapes) for service in mesh.services)


def _contract(
    service: Service, names: ServiceNames, mesh: Mesh, messages: frozenset[PyClass], shapes: Shapes
) -> HandlerContract:
    return HandlerContract(
        path=f"handlers/{names.module}.py",
        implementation=names.implementation,
        base=PyClass(f"generated.services.{names.module}", names.handlers_class),
        methods=_methods(service, names.methods, mesh),
        messages=messages,
        shapes=shapes,
    )


def _methods(service: Service, names: Mapping[str, str], mesh: Mesh) -> tuple[HandlerMethod, ...]:
    rpcs = [method.descriptor for method in service.methods]
    return tuple(
        HandlerMethod(
            name=names[rpc.full_name],
            rpc=rpc.full_name,
            request=mesh.names.message(rpc.input_type),
            response=mesh.names.message(rpc.output_type),
            doc=docstring(mesh.docs.get(rpc.full_name, "")),
            unwritten=unwritten(service.name, names[rpc.full_name]),
        )
        for rpc in rpcs
    )


def unwritten(service: str, method: str) -> str:
    """The message of UNIMPLEMENTED, as Python source."""
    return '"' + f"{service}.{method} is not written yet" + '"'
