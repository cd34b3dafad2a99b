"""The `services` of saga.yaml, bound to the proto services that they implement."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from sagagen.contract.codes import Code
from sagagen.contract.findings import error, suggest, warning
from sagagen.contract.located import Located
from sagagen.contract.model import Method, Service
from sagagen.contract.protos import Protos, http_rule, is_streaming
from sagagen.contract.protos import is_read as is_marked_read
from sagagen.contract.reading import Reading
from sagagen.contract.shape import REPLICAS, MethodShape, ServiceShape
from sagagen.diagnostics import Report, did_you_mean
from sagagen.python_names import PythonNames, identifier
from sagagen.runtime.model.definition import BARRIER_RETENTION_S, ISOLATION, Isolation, Transaction
from sagagen.runtime.model.security import GATEWAY
from sagagen.source import Span

FIRST_PORT = 50051
NO_SETTINGS = MethodShape()
RESERVED_NAMES = {
    "admin": "SAGAGEN_ADMIN_ADDR is the admin listener",
    "gateway": "the gateway's process has that name",
    "grpc": "SAGAGEN_GRPC_ADDR is the address to listen on",
    "http": "SAGAGEN_HTTP_ADDR is the gateway's address",
    **dict.fromkeys(
        ("grafana", "keys", "loki", "prometheus", "redis", "tempo"),
        "the stack in compose.yaml has a service of that name",
    ),
}
LONGEST_NAME = 63
"""A service's name is its host name in a stack. RFC 1035, 2.3.4."""


@dataclass(frozen=True, slots=True)
class Services:
    """The services of the mesh by name, and what is known to be missing from them."""

    by_name: Mapping[str, Service]
    owners: Mapping[str, Service]
    """Full name of a proto service -> the service that implements it."""
    broken: frozenset[str]
    """Services from which something is missing because of a reported mistake; the empty name means any service."""

    def owner(self, method: MethodDescriptor) -> Service | None:
        """The service that implements an rpc."""
        return self.owners.get(method.containing_service.full_name)

    def may_lack(self, name: str) -> bool:
        return name in self.broken or "" in self.broken


def resolve_services(
    reading: Reading, protos: Protos, names: PythonNames, report: Report, on_postgres: Collection[str] = ()
) -> Services:
    """`on_postgres`: as Sources has it."""
    resolver = _Resolver(reading, protos, names, report, on_postgres, {}, set(reading.broken_services))
    by_name = {
        str(name): resolver.service(name, name.span, FIRST_PORT + index, shape)
        for index, (name, shape) in enumerate(reading.file.services.items())
    }
    owners = {proto.full_name: owner for owner in by_name.values() for proto in owner.implements}
    return Services(by_name, owners, frozenset(resolver.broken))


@dataclass(frozen=True, slots=True)
class _Resolver:
    reading: Reading
    protos: Protos
    names: PythonNames
    report: Report
    on_postgres: Collection[str]
    """Modules of services that have their SQL for PostgreSQL."""
    owners: dict[str, tuple[str, Span]]
    """Proto service -> the service that implements it, and where that is written."""
    broken: set[str]

    def service(self, name: str, span: Span, port: int, shape: ServiceShape) -> Service:
        self._check_name(name, span)
        if not shape.implements and name not in self.broken:
            message = f'service "{name}" implements nothing'
            self.report(
                error(
                    span,
                    Code.IMPLEMENTS_NOTHING,
                    message,
                    "name a proto service: implements: [a.b.v1.CService]",
                )
            )
        self._check_replicas(name, shape)
        implements = tuple(self._implements(name, shape))
        self._check_settings(name, shape, implements)
        self._check_handler_names(name, shape, implements)
        methods = tuple(self._methods(shape, implements))
        return Service(
            name=str(name),
            port=port,
            implements=implements,
            methods=methods,
            retention_s=BARRIER_RETENTION_S if shape.retention is None else shape.retention.value,
            retention_span=span if shape.retention is None else shape.retention.span,
            isolation=ISOLATION if shape.isolation is None else cast(Isolation, shape.isolation.value),
            replicas=REPLICAS if shape.replicas is None else shape.replicas.value,
            has_postgres_sql=self._can_be_on_postgres(name),
            callers=tuple(dict.fromkeys(self._callers(shape))),
            callers_span=shape.callers[0].span if shape.callers else span,
            span=span,
        )

    def _callers(self, shape: ServiceShape) -> Iterator[str]:
        """The gateway where nothing is said."""
        if shape.callers is None:
            yield GATEWAY
            return
        known = {GATEWAY: Span(""), **{str(name): name.span for name in self.reading.file.services}}
        for caller in shape.callers:
            if caller.value in known:
                yield caller.value
                continue
            yield GATEWAY  # so that nothing else is said of it
            if not self.reading.broken_services & {caller.value, ""}:
                message = f'there is no service "{caller.value}" in the mesh that could call'
                hint = did_you_mean(caller.value, known)
                self.report(error(caller.span, Code.UNKNOWN_CALLER, message, hint))

    def _check_name(self, name: str, span: Span) -> None:
        why = RESERVED_NAMES.get(name, "")
        if len(name) > LONGEST_NAME:
            why = f"it is a host name, which has at most {LONGEST_NAME} characters, and this one has {len(name)}"
        if why:
            message = f'a service cannot be named "{name}": {why}'
            self.report(error(span, Code.RESERVED_SERVICE_NAME, message, "choose another name"))

    def _check_replicas(self, name: str, shape: ServiceShape) -> None:
        if shape.replicas is not None and shape.replicas.value > 1 and not self._can_be_on_postgres(name):
            message = (
                f'service "{name}" cannot have {shape.replicas.value} replicas: it can be on SQLite only, and such a '
                "database is one file with one owner"
            )
            sql = f"handlers/{identifier(name)}.postgres.sql"
            hint = f"write {sql}, so that it can be on PostgreSQL (docs/postgres.md), or remove this"
            self.report(error(shape.replicas.span, Code.SERVICE_REPLICATED, message, hint))

    def _can_be_on_postgres(self, name: str) -> bool:
        return identifier(name) in self.on_postgres

    def _implements(self, name: str, shape: ServiceShape) -> Iterator[ServiceDescriptor]:
        for wanted in shape.implements:
            descriptor = self.protos.services.get(wanted.value)
            if descriptor is None:
                self.broken.add(name)
                self._report_unknown(wanted)
            elif wanted.value in self.owners:
                self._report_twice(wanted)
            else:
                self.owners[wanted.value] = (name, wanted.span)
                yield descriptor

    def _report_unknown(self, wanted: Located[str]) -> None:
        if not self.protos.is_partial:
            known = {name: self.protos.span(name) for name in self.protos.services}
            message = f'no proto declares a service "{wanted.value}"'
            hint = suggest(wanted.value, known, "declare it in a proto file below contracts/")
            self.report(error(wanted.span, Code.UNKNOWN_PROTO_SERVICE, message, hint))

    def _report_twice(self, wanted: Located[str]) -> None:
        owner, at = self.owners[wanted.value]
        message = f'"{wanted.value}" is implemented twice; service "{owner}" does so in line {at.line}'
        self.report(error(wanted.span, Code.IMPLEMENTED_TWICE, message, "leave it to one of the two"))

    def _check_settings(
        self, name: str, shape: ServiceShape, implements: tuple[ServiceDescriptor, ...]
    ) -> None:
        known = {method.name: method for service in implements for method in service.methods}
        for key, setting in shape.methods.items():
            method = known.get(key)
            if method is None:
                self._report_unknown_setting(name, key, key.span, known)
            elif _is_read(method, setting) and setting.transaction and _is_manual(setting):
                message = f'"{key}" is a read: it has no transaction to open by hand'
                hint = "remove the setting, or what marks the rpc a read"
                self.report(error(setting.transaction.span, Code.MANUAL_READ, message, hint))

    def _report_unknown_setting(
        self, name: str, method: str, at: Span, known: Mapping[str, MethodDescriptor]
    ) -> None:
        if name not in self.broken:
            places = {known_name: self.protos.span(found.full_name) for known_name, found in known.items()}
            message = f'service "{name}" has no rpc "{method}"'
            hint = suggest(method, places, "remove the setting")
            self.report(error(at, Code.UNKNOWN_METHOD_SETTING, message, hint))

    def _check_handler_names(
        self, name: str, shape: ServiceShape, implements: tuple[ServiceDescriptor, ...]
    ) -> None:
        """A handler class has only one method of a name, even if two proto services have an rpc of that name."""
        first: dict[str, MethodDescriptor] = {}
        places = {wanted.value: wanted.span for wanted in shape.implements}
        for service in implements:
            for method in service.methods:
                other = first.setdefault(self.names.method(method), method)
                if other is not method:
                    message = (
                        f'service "{name}" would have two handler methods "{self.names.method(method)}": '
                        f"for {other.full_name} and {method.full_name}"
                    )
                    hint = "let two services implement them, or rename one of the rpcs"
                    self.report(error(places[service.full_name], Code.HANDLER_COLLISION, message, hint))

    def _methods(self, shape: ServiceShape, implements: tuple[ServiceDescriptor, ...]) -> Iterator[Method]:
        settings: Mapping[str, MethodShape] = {**shape.methods}
        for service in implements:
            for method in service.methods:
                if is_streaming(method):
                    self._report_streaming(method)
                else:
                    setting = settings.get(method.name, NO_SETTINGS)
                    transaction = Transaction.MANUAL if _is_manual(setting) else Transaction.LOCAL
                    yield Method(method, _is_read(method, setting), transaction)

    def _report_streaming(self, method: MethodDescriptor) -> None:
        left_out = ", and its HTTP route is left out" if http_rule(method) is not None else ""
        message = (
            f'"{method.name}" is a streaming rpc; the mesh serves only unary rpcs, so it stays unimplemented'
            f"{left_out}"
        )
        hint = "make it unary, or move it to a proto service that no service here implements"
        self.report(warning(self.protos.span(method.full_name), Code.STREAMING_NOT_SERVED, message, hint))


def _is_manual(setting: MethodShape) -> bool:
    return setting.transaction is not None and setting.transaction.value == "manual"


def _is_read(method: MethodDescriptor, setting: MethodShape) -> bool:
    """saga.yaml has the last word: the proto may be somebody else's."""
    return is_marked_read(method) if setting.read is None else setting.read.value
