"""One service in a process of its own, served over gRPC; and how a service is opened in any process."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

import structlog

from sagagen.runtime.addresses import PostgresAddress
from sagagen.runtime.admin.listener import Endpoint, admin_app
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.edge.http.server import serve_http
from sagagen.runtime.health import Readiness
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Service
from sagagen.runtime.process.listening import listening, own
from sagagen.runtime.process.project import Project
from sagagen.runtime.process.trusting import admin_tls, service_tls
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.service.store import HOLD_LIMIT_S, ServiceStore
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import StartupError
from sagagen.runtime.transports.grpc.server import Verify, serve_grpc
from sagagen.runtime.vault.keys import KeyWrapper

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def service_alone(project: Project, settings: Settings, name: str) -> AbstractAsyncContextManager[None]:
    """One service, served over gRPC. Raises ProjectError where there is none, or its handlers can't be used."""
    service = project.service(name)
    schema = Schema(project.mesh.descriptors.read_bytes())
    return _service_alone(project, settings, service, project.handlers(service), schema)


@asynccontextmanager
async def _service_alone(
    project: Project, settings: Settings, service: Service, handlers: object, schema: Schema
) -> AsyncGenerator[None]:
    listens = own(settings.service_listens(service))
    admin = own(settings.service_admin(project.mesh, service))
    async with (
        service_tls(project, settings, service) as tls,
        admin_tls(settings) as of_admin,
        _metrics_guard(project, settings, admin.host) as guard,
        opened(project, settings, service, handlers, schema) as host,
        listening(
            serve_grpc(
                host, listens.host, listens.port, schema, verify=_verifier(settings, service), tls=tls
            ),
            listens,
            f"SAGAGEN_GRPC_ADDR (with --mesh SAGAGEN_{service.name.upper()}_ADDR)",
        ),
        listening(
            serve_http(
                admin_app(Readiness({service.name: host.check}), metrics_guard=guard),
                admin.host,
                admin.port,
                tls=of_admin,
            ),
            admin,
            "SAGAGEN_ADMIN_ADDR",
        ),
    ):
        yield


def _metrics_guard(
    project: Project, settings: Settings, host: str
) -> AbstractAsyncContextManager[Callable[[Endpoint], Endpoint] | None]:
    if not settings.closes_metrics:
        return nullcontext()
    from sagagen.runtime.process.operators import metrics_guard  # only where somebody is to be known

    return metrics_guard(project, settings, host)


def _verifier(settings: Settings, service: Service) -> Verify | None:
    if settings.mesh_key is None:
        if settings.tls_dir is None:
            _logger.warning(
                "every call is believed: whoever reaches this port may act as the gateway; set SAGAGEN_MESH_KEY, or "
                "SAGAGEN_TLS_DIR",
                service=service.name,
            )
        return None
    from sagagen.runtime.trust.mac import MeshKeys  # only where calls are signed
    from sagagen.runtime.trust.verifying import CallVerifier

    return CallVerifier(service.name, MeshKeys(settings.mesh_key))


def opened(
    project: Project, settings: Settings, service: Service, handlers: object, schema: Schema
) -> AbstractAsyncContextManager[ServiceHost]:
    """The service's host, with its database and its handlers."""
    hold_limit_s = settings.patience_s or HOLD_LIMIT_S
    keys = settings.encryption_keys(project.root, service.name)
    if address := settings.service_database(service):
        return ServiceHost.on(
            _postgres(service, address, project.root, hold_limit_s, keys),
            service,
            handlers,
            project=project.mesh.project,
            schema=schema,
            clock=SystemClock(),
            redis=settings.redis,
            sagas=project.mesh.sagas,
            default_claims=project.mesh.default_claims,
            grace=settings.grace,
            is_encrypted=keys is not None,
        )
    return ServiceHost.open(
        service,
        handlers,
        project=project.mesh.project,
        schema=schema,
        data_dir=settings.data_dir,
        root=project.root,
        redis=settings.redis,
        sagas=project.mesh.sagas,
        default_claims=project.mesh.default_claims,
        grace=settings.grace,
        hold_limit_s=hold_limit_s,
        keys=keys,
    )


def _postgres(
    service: Service, address: PostgresAddress, root: Path, hold_limit_s: float, keys: KeyWrapper | None
) -> AbstractAsyncContextManager[ServiceStore]:
    """Raises StartupError where asyncpg is not installed, or the SQL files can't be used."""
    try:
        from sagagen.runtime.service.postgres_store.preparing import PostgresScripts
        from sagagen.runtime.service.postgres_store.store import PostgresStore
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise StartupError(
            f"service {service.name} is on PostgreSQL, and asyncpg is not installed: pip install 'sagagen[postgres]'"
        ) from error
    return PostgresStore.open(
        service.name,
        address.url.current.decode(),
        PostgresScripts.read(root / service.schema),
        SystemClock(),
        read_url=address.read_url.current.decode() if address.read_url else "",
        retention_s=service.barrier_retention_s,
        hold_limit_s=hold_limit_s,
        isolation=service.isolation,
        keys=keys,
    )
