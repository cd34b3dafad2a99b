"""What changed about the services of the mesh: which exist, what they implement, and how long they remember."""

from collections.abc import Iterator, Mapping

from sagagen.compatibility.change import Change, Target
from sagagen.compatibility.rules import sagas as saga_rules
from sagagen.compatibility.rules import services as service_rules
from sagagen.compatibility.rules import steps as step_rules
from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.model import Mesh, Method, Saga, Service
from sagagen.emit.docs_text import in_words
from sagagen.source import Span

_STRENGTH = ("read_committed", "repeatable_read", "serializable")


def compare_services(old: Mesh, new: Mesh) -> Iterator[Change]:
    if old.project != new.project:
        message = f"project {old.project} -> {new.project}"
        yield Change.of(saga_rules.PROJECT_RENAMED, Span(SAGA_YAML), new.project, message)
    before = {service.name: service for service in old.services}
    after = {service.name: service for service in new.services}
    for name, service in before.items():
        if name in after:
            yield from _compare(service, after[name])
        else:
            yield from _removed(old, service)
    for name, service in after.items():
        if name not in before:
            yield Change.of(service_rules.SERVICE_ADDED, service.span, name, f"service {name} is new")
    yield from _moved(old, new)


def _removed(old: Mesh, service: Service) -> Iterator[Change]:
    callers = [saga for saga in old.sagas if _calls(saga, service)]
    message = f"service {service.name} is gone"
    for saga in callers:
        target = Target(saga.name, saga.version)
        yield Change.of(service_rules.SERVICE_REMOVED, service.span, service.name, message, target)
    if not callers:
        yield Change.of(service_rules.SERVICE_REMOVED, service.span, service.name, message)


def _calls(saga: Saga, service: Service) -> bool:
    calls = [call for step in saga.calls for call in (step.action, step.compensation) if call]
    return any(call.service.name == service.name for call in calls)


def _compare(old: Service, new: Service) -> Iterator[Change]:
    if old.port != new.port:
        message = f"port {old.port} -> {new.port}"
        yield Change.of(service_rules.PORT_CHANGED, new.span, new.name, message)
    if new.retention_s < old.retention_s:
        message = f"retention {in_words(old.retention_s)} -> {in_words(new.retention_s)}"
        yield Change.of(service_rules.MEMORY_SHORTENED, new.retention_span, new.name, message)
    if _STRENGTH.index(new.isolation) < _STRENGTH.index(old.isolation):
        message = f"isolation {old.isolation} -> {new.isolation}"
        yield Change.of(service_rules.ISOLATION_WEAKENED, new.span, new.name, message)
    before, after = _methods(old), _methods(new)
    for name in before.keys() & after.keys():
        yield from _compare_methods(new, before[name], after[name])


def _compare_methods(service: Service, old: Method, new: Method) -> Iterator[Change]:
    subject = f"{service.name}/{new.descriptor.name}"
    if old.is_read != new.is_read:
        message = "is a read now" if new.is_read else "is no longer a read"
        yield Change.of(step_rules.READ_CHANGED, service.span, subject, message)
    if old.transaction != new.transaction:
        message = f"transaction {old.transaction.value} -> {new.transaction.value}"
        yield Change.of(service_rules.TRANSACTION_CHANGED, service.span, subject, message)


def _methods(service: Service) -> Mapping[str, Method]:
    return {method.descriptor.full_name: method for method in service.methods}


def _moved(old: Mesh, new: Mesh) -> Iterator[Change]:
    owners = {name: service for service in old.services for name in _methods(service)}
    names_after = {service.name for service in new.services}
    for service in new.services:
        for proto_service in service.implements:
            owner = next((owners[m.full_name] for m in proto_service.methods if m.full_name in owners), None)
            if owner and owner.name != service.name and owner.name in names_after:
                message = f"{proto_service.full_name}: service {owner.name} -> {service.name}"
                yield from _moved_for(old, service, owner, message)


def _moved_for(old: Mesh, service: Service, owner: Service, message: str) -> Iterator[Change]:
    callers = [saga for saga in old.sagas if _calls(saga, owner)]
    for saga in callers:
        target = Target(saga.name, saga.version)
        yield Change.of(service_rules.IMPLEMENTATION_MOVED, service.span, service.name, message, target)
    if not callers:
        yield Change.of(service_rules.IMPLEMENTATION_MOVED, service.span, service.name, message)
