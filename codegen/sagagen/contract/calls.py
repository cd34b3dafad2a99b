"""Turns the rpcs that saga.yaml names, as `service/Method` or `package.Service/Method`, into methods."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.codes import Code
from sagagen.contract.findings import error, suggest
from sagagen.contract.located import Located
from sagagen.contract.model import Service
from sagagen.contract.outline import Target
from sagagen.contract.protos import Protos, is_read, is_streaming
from sagagen.contract.services import Services
from sagagen.diagnostics import Report
from sagagen.source import Span


@dataclass(frozen=True, slots=True)
class CallResolver:
    protos: Protos
    services: Services
    report: Report

    def target(self, call: Located[str]) -> Target | None:
        """The method that `service/Method` names. None is reported, unless something broken may be to blame."""
        service_name, slash, method_name = call.value.partition("/")
        if not slash or not service_name or not method_name:
            self._malformed(call, "service/Method", self._known_calls())
            return None
        service = self.services.by_name.get(service_name)
        if service is None:
            self._unknown_service(call, service_name)
            return None
        descriptor = _methods(service).get(method_name)
        if descriptor is None:
            self._unknown_rpc(call, service, method_name)
            return None
        return self._unary(call, service, descriptor)

    def trigger(self, trigger: Located[str]) -> MethodDescriptor | None:
        method = self._unimplemented(trigger)
        return None if method is None else self._starting(trigger, method)

    def event(self, rpc: Located[str]) -> MethodDescriptor | None:
        """The rpc of an event or a cancel. None is reported, unless something broken may be to blame."""
        method = self._unimplemented(rpc)
        return None if method is None else self._coming(rpc, method)

    def _unimplemented(self, trigger: Located[str]) -> MethodDescriptor | None:
        service_name, slash, method_name = trigger.value.partition("/")
        if not slash or not service_name or not method_name:
            self._malformed(trigger, "package.Service/Method", self._known_triggers())
            return None
        service = self.protos.services.get(service_name)
        method = service.methods_by_name.get(method_name) if service is not None else None
        if method is None and (service is not None or not self.protos.is_partial):
            self._unknown_trigger(trigger)
        return method

    def _unary(self, call: Located[str], service: Service, descriptor: MethodDescriptor) -> Target | None:
        if is_streaming(descriptor):
            message = f'"{call.value}" is a streaming rpc: a step is one request and one response'
            hint = "call a unary rpc"
            self.report(error(call.span, Code.STREAMING_STEP, message, hint))
            return None
        return Target(service, service.method(descriptor), call.span)

    def _starting(self, trigger: Located[str], method: MethodDescriptor) -> MethodDescriptor | None:
        if is_streaming(method):
            message = f'"{trigger.value}" is a streaming rpc: a saga starts with one request'
            self.report(error(trigger.span, Code.TRIGGER_STREAMS, message, "name a unary rpc"))
            return None
        if is_read(method):
            message = f'"{trigger.value}" is a read (NO_SIDE_EFFECTS), but starting a saga has effects'
            hint = f"remove the idempotency_level at {self.protos.span(method.full_name)}"
            self.report(error(trigger.span, Code.TRIGGER_READS, message, hint))
        return method

    def _coming(self, rpc: Located[str], method: MethodDescriptor) -> MethodDescriptor | None:
        if is_streaming(method):
            message = f'"{rpc.value}" is a streaming rpc: an event is one request'
            self.report(error(rpc.span, Code.TRIGGER_STREAMS, message, "name a unary rpc"))
            return None
        if is_read(method):
            message = f'"{rpc.value}" is a read (NO_SIDE_EFFECTS), but what comes to a saga has effects'
            hint = f"remove the idempotency_level at {self.protos.span(method.full_name)}"
            self.report(error(rpc.span, Code.TRIGGER_READS, message, hint))
        return method

    def _malformed(self, call: Located[str], form: str, known: Mapping[str, Span]) -> None:
        hint = suggest(call.value, known, f"write {form}")
        hint = (
            hint
            if hint.startswith("did you mean")
            else f"write {form}, for example {next(iter(known), form)}"
        )
        self.report(error(call.span, Code.MALFORMED_CALL, f'"{call.value}" is not of the form {form}', hint))

    def _unknown_service(self, call: Located[str], name: str) -> None:
        if self.services.may_lack(name):
            return
        known = {service.name: service.span for service in self.services.by_name.values()}
        hint = suggest(name, known, "declare it under services")
        if owner := self.services.owners.get(name):
            hint = f'did you mean "{call.value.replace(name, owner.name, 1)}"? Steps name the service of the mesh'
        self.report(error(call.span, Code.UNKNOWN_SERVICE, f'there is no service "{name}" in the mesh', hint))

    def _unknown_rpc(self, call: Located[str], service: Service, name: str) -> None:
        if service.name in self.services.broken:
            return
        known = {method: self.protos.span(found.full_name) for method, found in _methods(service).items()}
        message = f'service "{service.name}" has no rpc "{name}"'
        hint = suggest(name, known, "declare it in the proto service that it implements")
        self.report(error(call.at(len(service.name) + 1), Code.UNKNOWN_RPC, message, hint))

    def _unknown_trigger(self, trigger: Located[str]) -> None:
        message = f'no proto declares an rpc "{trigger.value}"'
        hint = suggest(trigger.value, self._known_triggers(), "declare it in a proto file below contracts/")
        self.report(error(trigger.span, Code.UNKNOWN_TRIGGER, message, hint))

    def _known_calls(self) -> dict[str, Span]:
        return {
            f"{service.name}/{name}": self.protos.span(method.full_name)
            for service in self.services.by_name.values()
            for name, method in _methods(service).items()
        }

    def _known_triggers(self) -> dict[str, Span]:
        """The rpcs that a saga can answer: those that no service implements."""
        return {
            f"{service.full_name}/{method.name}": self.protos.span(method.full_name)
            for service in self.protos.services.values()
            for method in service.methods
            if self.services.owner(method) is None
        }


def _methods(service: Service) -> dict[str, MethodDescriptor]:
    """By rpc name, including streaming ones; the first if two share a name, which is reported elsewhere."""
    found: dict[str, MethodDescriptor] = {}
    for implemented in service.implements:
        for method in implemented.methods:
            found.setdefault(method.name, method)
    return found
