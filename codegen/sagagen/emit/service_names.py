"""The names in the code of a service: its module, its classes, its methods and their constants."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import Mesh, Service
from sagagen.python_names import PythonNames, allot, class_name, identifier, with_underscore

_TAKEN_METHODS = frozenset({"abstractmethod", "float", "str"})
"""Names that the class bodies use after a method's definition; a method of that name would hide them."""
_TAKEN_CONSTANTS = frozenset({"SERVICE", "ABC"})


@dataclass(frozen=True, slots=True)
class ServiceNames:
    """Names in generated/services/<module>.py and handlers/<module>.py."""

    module: str
    handlers_class: str
    """The abstract class: `OrderHandlers`."""
    client_class: str
    implementation: str
    """The class in handlers/: `OrderService`."""
    methods: Mapping[str, str]
    """Full name of an rpc -> the handler's method."""
    constants: Mapping[str, str]
    """Full name of an rpc -> its `Method`."""

    def constant(self, method: MethodDescriptor) -> str:
        return self.constants[method.full_name]


def name_services(mesh: Mesh) -> dict[str, ServiceNames]:
    """By the services' names in the contract."""
    wishes = [identifier(service.name) for service in mesh.services]
    modules = allot(wishes, (), with_underscore, str.casefold)
    return {
        service.name: _name_service(service, module, mesh.names)
        for service, module in zip(mesh.services, modules, strict=True)
    }


def _name_service(service: Service, module: str, names: PythonNames) -> ServiceNames:
    rpcs = [method.descriptor for method in service.methods]
    methods = allot([names.method(rpc) for rpc in rpcs], _TAKEN_METHODS, with_underscore)
    constants = allot([name.rstrip("_").upper() for name in methods], _TAKEN_CONSTANTS, with_underscore)
    stem = class_name(module)
    return ServiceNames(
        module=module,
        handlers_class=f"{stem}Handlers",
        client_class=f"{stem}Client",
        implementation=f"{stem}Service",
        methods={rpc.full_name: name for rpc, name in zip(rpcs, methods, strict=True)},
        constants={rpc.full_name: name for rpc, name in zip(rpcs, constants, strict=True)},
    )
