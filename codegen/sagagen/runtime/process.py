"""What runs in one process: the whole mesh (embedded), the gateway with the engine, or one service.

Each is an async context manager that yields when it is ready. Leaving it stops in the opposite order of starting:
first no new requests, then the sagas under way, then the services.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from sagagen.runtime.admin import TOKEN, SagaAdmin, admin_app
from sagagen.runtime.admin_sagas import SagaDesk
from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.edge.server import PortTaken, serve_http
from sagagen.runtime.engine import Engine
from sagagen.runtime.grpc_client import GrpcTransport
from sagagen.runtime.grpc_server import serve_grpc
from sagagen.runtime.log import SagaLog
from sagagen.runtime.log_upkeep import upkeep
from sagagen.runtime.memory_transport import MemoryTransport
from sagagen.runtime.project import Project
from sagagen.runtime.readiness import Check, Readiness, engine_check, log_check, service_check
from sagagen.runtime.schema import Schema
from sagagen.runtime.service import ServiceHost
from sagagen.runtime.settings import Address, Settings, SettingsError
from sagagen.runtime.transport import Transport
from sagagen.runtime.transport_observation import ObservedTransport

LOG_FILE = "saga-log.db"


@asynccontextmanager
async def embedded(project: Project, settings: Settings) -> AsyncGenerator[None]:
    """Gateway, engine and all services in this process, over the in-memory transport."""
    schema = Schema(project.mesh.descriptors.read_bytes())
    async with AsyncExitStack() as stack:
        hosts = {
            service.name: await stack.enter_async_context(_host(project, settings, service.name, schema))
            for service in project.mesh.services
        }
        transports = {name: ObservedTransport(MemoryTransport(host), name) for name, host in hosts.items()}
        checks = {name: host.check for name, host in hosts.items()}
        await stack.enter_async_context(_gateway(project, settings, transports, checks))
        yield


@asynccontextmanager
async def gateway_alone(project: Project, settings: Settings) -> AsyncGenerator[None]:
    """Gateway and engine, with services reached over gRPC."""
    async with AsyncExitStack() as stack:
        transports: dict[str, Transport] = {}
        for service in project.mesh.services:
            address = settings.service_reached(service)
            reached = await stack.enter_async_context(GrpcTransport(address.host, address.port))
            transports[service.name] = ObservedTransport(reached, service.name)
        checks = {name: service_check(transport) for name, transport in transports.items()}
        await stack.enter_async_context(_gateway(project, settings, transports, checks))
        yield


@asynccontextmanager
async def service_alone(project: Project, settings: Settings, name: str) -> AsyncGenerator[None]:
    """One service, served over gRPC."""
    service = project.service(name)
    schema = Schema(project.mesh.descriptors.read_bytes())
    listens = settings.service_listens(service)
    admin = settings.service_admin(project.mesh, service)
    async with (
        _host(project, settings, name, schema) as host,
        _listening(
            serve_grpc(host, listens.host, listens.port, schema),
            listens,
            f"SAGAGEN_GRPC_ADDR (with --mesh SAGAGEN_{name.upper()}_ADDR)",
        ),
        _listening(
            serve_http(admin_app(Readiness({name: host.check})), admin.host, admin.port),
            admin,
            "SAGAGEN_ADMIN_ADDR",
        ),
    ):
        yield


@asynccontextmanager
async def _host(
    project: Project, settings: Settings, name: str, schema: Schema
) -> AsyncGenerator[ServiceHost]:
    service = project.service(name)
    async with ServiceHost.open(
        service,
        project.handlers(service),
        project=project.mesh.project,
        schema=schema,
        data_dir=settings.data_dir,
        root=project.root,
        redis_url=settings.redis_url,
    ) as host:
        yield host


def _sagas(settings: Settings, log: SagaLog, engine: Engine) -> SagaAdmin:
    desk = SagaDesk(log, engine.definitions, engine.order)
    return SagaAdmin(desk, log, settings.gateway_admin.host, settings.environment.get(TOKEN, ""))


@asynccontextmanager
async def _gateway(
    project: Project,
    settings: Settings,
    transports: Mapping[str, Transport],
    services: Mapping[str, Check],
) -> AsyncGenerator[Gateway]:
    gateway = project.gateway()
    limits = settings.limits(project.mesh)
    admin = settings.gateway_admin
    async with (
        SagaLog.open(settings.data_dir / LOG_FILE) as log,
        upkeep(log, project.mesh.sagas),
        Engine(
            sagas=project.mesh.sagas,
            log=log,
            transports=transports,
            responder=gateway.responder,
            grace_s=settings.grace_s,
            max_running=limits.max_running,
            calls_per_service=limits.calls_per_service,
        ) as engine,
        AsyncExitStack() as listeners,
    ):
        readiness = Readiness({"gateway": engine_check(engine), "saga log": log_check(log)}, services)
        for app, address, variable in (
            (admin_app(readiness, _sagas(settings, log, engine)), admin, "SAGAGEN_ADMIN_ADDR"),
            (gateway.application(engine, transports, limits, readiness), settings.http, "SAGAGEN_HTTP_ADDR"),
        ):
            server = serve_http(app, address.host, address.port)
            await listeners.enter_async_context(_listening(server, address, variable))
        try:
            yield gateway
        finally:
            # Before the server stops: whoever waits for an answer gets its 202 now.
            engine.stop_accepting()


@asynccontextmanager
async def _listening(
    server: AbstractAsyncContextManager[object], address: Address, variable: str
) -> AsyncGenerator[None]:
    """Run `server`. Raises SettingsError, naming the variable that decides, where it cannot listen on `address`."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(server)
        except PortTaken as taken:
            raise SettingsError(f"{taken}; set {variable} to listen elsewhere") from taken
        except OSError as error:
            message = (
                f"cannot listen on {address}: {error.strerror}; set {variable} to an address of this machine"
            )
            raise SettingsError(message) from error
        yield
