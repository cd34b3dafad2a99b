"""The gateway with the engine in a process of its own; and how they are put together in any process."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from sagagen.runtime.addresses import Address, ReplicaAddresses
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.audit.trail import AuditTrail
from sagagen.runtime.console.desk import Reach
from sagagen.runtime.edge.entry import Pace
from sagagen.runtime.edge.forward import DEFAULT_TIMEOUT_S
from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.edge.http.connections import Peers
from sagagen.runtime.edge.http.server import serve_http
from sagagen.runtime.edge.problem import ProblemError
from sagagen.runtime.edge.responder import HttpResponder
from sagagen.runtime.edge.shared_answers import SharedAnswers
from sagagen.runtime.engine.context import OnResult
from sagagen.runtime.engine.deaths import Deaths
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.narration import Narrator
from sagagen.runtime.engine.port import Leaving, MovableRuntime
from sagagen.runtime.health import Check, Readiness, service_check
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.log.upkeep import upkeep
from sagagen.runtime.model.definition import Saga, Service
from sagagen.runtime.model.security import GATEWAY, CallerLimits
from sagagen.runtime.process.callers import authentication
from sagagen.runtime.process.listening import listening
from sagagen.runtime.process.operators import operators_app
from sagagen.runtime.process.project import Project, ProjectError, named_errors
from sagagen.runtime.process.trusting import admin_tls, http_tls, mesh_trust
from sagagen.runtime.rpc.transport import ReplicaStanding, Transport
from sagagen.runtime.saga.events import Accepted
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.settings import Settings
from sagagen.runtime.telemetry import logs
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.observation import ObservedTransport

if TYPE_CHECKING:
    from sagagen.runtime.trust.mac import MeshKeys
    from sagagen.runtime.trust.mesh import MeshTrust


def gateway_alone(project: Project, settings: Settings) -> AbstractAsyncContextManager[None]:
    """Gateway and engine, with services reached over gRPC. Raises ProjectError where gateway/app.py can't be used."""
    return _gateway_alone(project, settings, composed(project))


@asynccontextmanager
async def _gateway_alone(project: Project, settings: Settings, gateway: Gateway) -> AsyncGenerator[None]:
    async with reached_services(project, settings) as (transports, always):
        checks = service_checks(project.mesh.services, transports)
        async with running(
            gateway,
            project,
            settings,
            transports,
            checks,
            is_alone=settings.is_only_gateway,
            always=always,
            is_apart=True,
        ):
            yield


def _reach(
    services: Iterable[Service],
    settings: Settings,
    transports: Mapping[str, Transport],
    checks: Mapping[str, Check],
    *,
    is_apart: bool,
) -> dict[str, Reach]:
    """What operators are told of the way to each service."""
    return {
        service.name: Reach(
            tuple(map(str, settings.service_replicas(service).addresses)) if is_apart else (),
            checks.get(service.name),
            _standing(transports.get(service.name)),
        )
        for service in services
    }


def _standing(transport: object) -> Callable[[], Sequence[ReplicaStanding]] | None:
    """Of several processes of a service: they lie below what signs and observes its calls."""
    while (inner := getattr(transport, "inner", None)) is not None:
        transport = inner
    return getattr(transport, "standing", None)


@asynccontextmanager
async def reached_services(
    project: Project, settings: Settings
) -> AsyncGenerator[tuple[Mapping[str, Transport], Mapping[str, Check]]]:
    """Ways to the services over gRPC, and what readiness always asks of them."""
    from sagagen.runtime.trust.signed import (  # a single process trusts itself
        SignedTransport,
        nobody_believes,
    )

    async with AsyncExitStack() as stack:
        transports: dict[str, Transport] = {}
        signed: list[SignedTransport] = []
        keys = _mesh_keys(settings)
        trust = await stack.enter_async_context(mesh_trust(project, settings, GATEWAY))
        for service in project.mesh.services:
            replicas = settings.service_replicas(service)
            reached = await stack.enter_async_context(_all_reached(replicas, service, trust, keys))
            signed.append(SignedTransport(reached, service.name, keys))
            transports[service.name] = ObservedTransport(signed[-1], service.name)
        yield transports, {"mesh": partial(nobody_believes, signed)}


def service_checks(services: Iterable[Service], transports: Mapping[str, Transport]) -> dict[str, Check]:
    """Of those that take the gateway's calls: it would wait for ever for one that keeps it out."""
    return {
        service.name: service_check(transports[service.name])
        for service in services
        if GATEWAY in service.callers
    }


def _mesh_keys(settings: Settings) -> "MeshKeys | None":
    if settings.mesh_key is None:
        return None
    from sagagen.runtime.trust.mac import MeshKeys  # only where calls are signed

    return MeshKeys(settings.mesh_key)


def _all_reached(
    replicas: ReplicaAddresses, service: Service, trust: "MeshTrust | None", keys: "MeshKeys | None"
) -> AbstractAsyncContextManager[Transport]:
    if len(replicas.addresses) == 1 and not replicas.is_name:
        return _reached(replicas.addresses[0], service, trust, keys)
    from sagagen.runtime.transports.one_database import OneDatabase  # only where there are several
    from sagagen.runtime.transports.replicas import Replicas
    from sagagen.runtime.trust.signed import SignedTransport

    reach = partial(_reached, service=service, trust=trust, keys=keys)
    databases = OneDatabase(service.name, lambda plain: SignedTransport(plain, service.name, keys))
    return Replicas(reach, replicas.addresses, is_name=replicas.is_name, databases=databases)


def _reached(
    address: Address, service: Service, trust: "MeshTrust | None", keys: "MeshKeys | None"
) -> AbstractAsyncContextManager[Transport]:
    if trust is None:
        return GrpcTransport(address.host, address.port)
    from sagagen.runtime.transports.grpc.renewing import RenewingTransport
    from sagagen.runtime.trust.signed import SignedTransport

    def signed(plain: Transport) -> Transport:
        return SignedTransport(plain, service.name, keys)

    return RenewingTransport(address.host, address.port, service.name, trust, signed=signed)


@asynccontextmanager
async def running(
    gateway: Gateway,
    project: Project,
    settings: Settings,
    transports: Mapping[str, Transport],
    services: Mapping[str, Check],
    *,
    is_alone: bool,
    drives: bool = False,
    always: Mapping[str, Check] = MappingProxyType({}),
    is_apart: bool = False,
) -> AsyncGenerator[None]:
    """Gateway and engine, with these ways to the services; `services` says whether each has been reached.

    `is_apart`: they are processes of their own.

    `is_alone` says that no other gateway reaches these services. `drives`: where sagas are on another engine, this
    process drives them too. `always` are other checks of readiness.
    """
    limits = settings.limits(project.mesh)
    callers = settings.caller_limits(project.mesh)
    admin = settings.gateway_admin
    async with (
        SharedAnswers.open(project.mesh.project, settings) as shared,
        authentication(project, settings) as schemes,
        _engine(gateway, project, settings, transports, shared, is_alone=is_alone, drives=drives) as engine,
        Auditor.open(engine.audit) as auditor,
        AsyncExitStack() as listeners,
    ):
        sagas = engine.sagas
        known = schemes.checks if schemes else dict[str, Check]()
        readiness = Readiness({**engine.checks, **always, **known}, services)
        peers = Peers(limits.max_connections, limits.max_connections_per_address, settings.trusted_proxies)
        with named_errors(project.root, "gateway/app.py"):
            public = gateway.application(
                sagas,
                transports,
                limits,
                readiness,
                shared,
                at_most_s=settings.patience_s or DEFAULT_TIMEOUT_S,
                authentication=schemes,
                pace=_pace(callers),
            )
        reach = _reach(project.mesh.services, settings, transports, services, is_apart=is_apart)
        operators = operators_app(
            project.mesh,
            settings,
            sagas,
            auditor,
            gateway.schema,
            readiness,
            schemes,
            reach,
            engine.leaving,
        )
        admin_certificates = await listeners.enter_async_context(admin_tls(settings))
        http_certificates = await listeners.enter_async_context(http_tls(settings))
        for app, address, variable, room, tls in (
            (operators, admin, "SAGAGEN_ADMIN_ADDR", None, admin_certificates),
            (public, settings.http, "SAGAGEN_HTTP_ADDR", sagas.room, http_certificates),
        ):
            server = serve_http(app, address.host, address.port, room=room, peers=peers, tls=tls)
            await listeners.enter_async_context(listening(server, address, variable))
        try:
            yield
        finally:
            # Before the server stops: whoever waits for an answer gets a 202 now.
            sagas.stop_accepting()


@dataclass(frozen=True, slots=True)
class OpenedEngine:
    """An engine at work, and what goes with it."""

    sagas: MovableRuntime
    audit: AuditTrail
    checks: Mapping[str, Check]
    """Of readiness."""
    leaving: Callable[[], Awaitable[Leaving]] | None = None
    """What remains in the engine that the project leaves; None: it leaves none."""


@asynccontextmanager
async def _engine(
    gateway: Gateway,
    project: Project,
    settings: Settings,
    transports: Mapping[str, Transport],
    shared: SharedAnswers | None,
    *,
    is_alone: bool,
    drives: bool,
) -> AsyncGenerator[OpenedEngine]:
    """The engine that the settings name, and while the project leaves another that one too."""
    on_result = partial(_share, shared, gateway.responder) if shared else None

    def open_(of: Settings, is_alone: bool) -> AbstractAsyncContextManager[OpenedEngine]:
        return _one_engine(project, of, transports, on_result, is_alone=is_alone, drives=drives)

    if not (settings.engine_that_is_left or (not settings.has_own_log and settings.saga_log.exists())):
        async with open_(settings, is_alone or not settings.has_own_log) as opened:
            yield opened
        return
    from sagagen.runtime.process.moving import moving_engine

    async with moving_engine(project, settings, open_, is_alone=is_alone) as opened:
        yield opened


def _one_engine(
    project: Project,
    settings: Settings,
    transports: Mapping[str, Transport],
    on_result: OnResult | None,
    *,
    is_alone: bool,
    drives: bool,
) -> AbstractAsyncContextManager[OpenedEngine]:
    if settings.restate is not None:
        from sagagen.runtime.process.restate import restate_engine

        return restate_engine(project, settings, transports, drives=drives, is_alone=is_alone)
    if url := settings.engine_log:
        from sagagen.runtime.process.shared_log import shared_engine

        return shared_engine(project, settings, url, transports, on_result, is_alone=is_alone)
    return _engine_on_file(project, settings, transports, on_result, is_alone=is_alone)


@asynccontextmanager
async def _engine_on_file(
    project: Project,
    settings: Settings,
    transports: Mapping[str, Transport],
    on_result: OnResult | None,
    *,
    is_alone: bool,
) -> AsyncGenerator[OpenedEngine]:
    limits = settings.limits(project.mesh)
    async with (
        SagaLog.open(settings.saga_log, settings.encryption_keys(project.root)) as log,
        upkeep(log, project.mesh.sagas, audit_s=settings.audit_s),
        EmbeddedEngine(
            sagas=project.mesh.sagas,
            log=log,
            transports=transports,
            grace=settings.grace,
            max_running=limits.max_running,
            max_running_per_caller=settings.caller_limits(project.mesh).running,
            max_waiting_sagas=limits.max_waiting_sagas,
            calls_per_service=limits.calls_per_service,
            deaths=None if settings.patience_s else Deaths(settings.saga_log),
            is_alone=is_alone,
            on_result=on_result,
            narrator=Narrator(console, project.mesh.sagas) if (console := logs.console()) else None,
        ) as engine,
    ):
        yield OpenedEngine(engine, log.audit, {"gateway": engine.check, "saga log": log.check})


def _pace(limits: CallerLimits) -> Pace | None:
    """What turns away whoever sends too much, where the contract or the environment says how much that is."""
    if limits.rate_per_s is None:
        return None
    from sagagen.runtime.edge.caller_rates import CallerRates

    return CallerRates(limits.rate_per_s, limits.burst)


def composed(project: Project) -> Gateway:
    """The composition root's gateway. Raises ProjectError if gateway/app.py does not define one."""
    gateway = project.composition_root()
    if not isinstance(gateway, Gateway):
        raise ProjectError("gateway/app.py must define `gateway = Gateway(MESH, ...)`")
    return gateway


def _share(
    shared: SharedAnswers, responder: HttpResponder, saga: Saga, accepted: Accepted, result: SagaResult
) -> None:
    with suppress(ProblemError):  # what can't be answered here can't be repeated elsewhere
        answer = responder.answer(saga.trigger.path, result, accepted.saga_id, accepted.trace.trace_id)
        shared.store(saga, accepted, answer)
