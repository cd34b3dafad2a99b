"""Gateways and adapters where Restate keeps the sagas: SAGAGEN_ENGINE_URL says so."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from sagagen.runtime.addresses import Address, RestateAddress
from sagagen.runtime.admin.listener import admin_app
from sagagen.runtime.edge.http.server import serve_http
from sagagen.runtime.engine.narration import Narrator
from sagagen.runtime.health import Readiness, service_check
from sagagen.runtime.model.definition import Action, Mesh, Saga
from sagagen.runtime.process.gateway import OpenedEngine, reached_services
from sagagen.runtime.process.listening import listening, own
from sagagen.runtime.process.project import Project
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import SettingsError, StartupError
from sagagen.runtime.telemetry import logs

if TYPE_CHECKING:
    from sagagen.runtime.restate.adapter import Adapter
    from sagagen.runtime.restate.client import RestateClient
    from sagagen.runtime.restate.replies import Replies

REGISTERED_S = 2.0
"""How long, in seconds, a start waits until Restate knows the adapter."""


@asynccontextmanager
async def restate_engine(
    project: Project,
    settings: Settings,
    transports: Mapping[str, Transport],
    *,
    drives: bool,
    is_alone: bool = True,
) -> AsyncGenerator[OpenedEngine]:
    """The gateway's half; with `drives` also an adapter in this process. `is_alone`: all gateways send sagas there.

    Raises StartupError.
    """
    address = _checked(project, settings)
    from sagagen.runtime.restate.audit import RestateAudit
    from sagagen.runtime.restate.client import RestateClient
    from sagagen.runtime.restate.failing import Failing
    from sagagen.runtime.restate.looking import Looking
    from sagagen.runtime.restate.replies import Replies, ReplyListener
    from sagagen.runtime.restate.sagas import RestateSagas

    mesh = project.mesh
    ingress, admin = RestateClient(address.ingress), RestateClient(address.admin)
    names = list(dict.fromkeys(saga.name for saga in mesh.sagas))
    looking = Looking(admin, mesh.project, names)
    max_running = settings.limits(mesh).max_running
    failing = Failing(admin, mesh.project, names)
    audit = RestateAudit(ingress, admin, mesh.project)
    sagas = RestateSagas(
        mesh.project,
        mesh.sagas,
        ingress,
        looking,
        failing,
        max_running=max_running,
        is_alone=is_alone,
        max_running_per_caller=settings.caller_limits(mesh).running,
        audited=audit.told,
    )
    listener = ReplyListener(sagas.hear, None if drives else address.hears)
    await listener.open()
    sagas.heard_by(listener)
    try:
        async with AsyncExitStack() as stack:
            if drives:
                replies = Replies()
                replies.local[listener.token] = sagas.hear
                adapter = _adapter(project, settings, address, transports, replies)
                await stack.enter_async_context(_adapting(adapter, settings, address, admin))
            await stack.enter_async_context(sagas)
            yield OpenedEngine(sagas, audit, {"engine": sagas.check})
    finally:
        listener.close()
        ingress.close()
        admin.close()


@asynccontextmanager
async def adapter_alone(project: Project, settings: Settings) -> AsyncGenerator[None]:
    """An adapter in a process of its own, with services reached over gRPC; also of a Restate that is left.

    Raises StartupError.
    """
    if settings.restate is None and settings.engine_that_is_left.startswith(RestateAddress.SCHEME):
        settings = settings.on_engine(settings.engine_that_is_left)
    address = _checked(project, settings)
    from sagagen.runtime.restate.client import RestateClient
    from sagagen.runtime.restate.replies import Replies

    admin = RestateClient(address.admin)
    try:
        async with reached_services(project, settings) as (transports, always):
            adapter = _adapter(project, settings, address, transports, Replies())
            checks = {name: service_check(transport) for name, transport in transports.items()}
            app = admin_app(Readiness(always, checks))
            of_admin = settings.engine_admin(project.mesh)
            server = serve_http(app, of_admin.host, of_admin.port)
            async with (
                listening(server, of_admin, "SAGAGEN_ADMIN_ADDR"),
                _adapting(adapter, settings, address, admin),
            ):
                yield
    finally:
        admin.close()


def _adapter(
    project: Project,
    settings: Settings,
    address: RestateAddress,
    transports: Mapping[str, Transport],
    replies: "Replies",
) -> "Adapter":
    from sagagen.runtime.restate.adapter import Adapter
    from sagagen.runtime.transports.grpc.fast.protocol import h2_class

    console = logs.console()
    return Adapter(
        project.mesh.project,
        project.mesh.sagas,
        transports,
        replies=replies,
        calls_per_service=settings.limits(project.mesh).calls_per_service,
        audit_s=settings.audit_s,
        keys=address.identity_keys,
        narrator=Narrator(console, project.mesh.sagas) if console else None,
        frames=h2_class(),
    )


@asynccontextmanager
async def _adapting(
    adapter: "Adapter", settings: Settings, address: RestateAddress, admin: "RestateClient"
) -> AsyncGenerator[None]:
    """Listen, and tell Restate so, now or as soon as it can be reached."""
    from sagagen.runtime.restate.adapter import keep_registered

    try:
        async with adapter.listening(own(address.listens), settings.grace) as port:
            url = address.public_url or f"http://{_reachable(address.listens, port)}"
            registering = asyncio.create_task(keep_registered(admin, url), name="registering")
            try:
                await asyncio.wait([registering], timeout=REGISTERED_S)
                yield
            finally:
                registering.cancel()
    except OSError as error:
        raise SettingsError(
            f"SAGAGEN_ENGINE_ADDR={address.listens} can't be used: {error.strerror}; free it, or choose another"
        ) from error


def _reachable(listens: Address, port: int) -> Address:
    return Address("127.0.0.1" if listens.host == "0.0.0.0" else listens.host, port)


def _checked(project: Project, settings: Settings) -> RestateAddress:
    """Raises StartupError where something is asked for that sagas on Restate do not have."""
    address = settings.restate
    if address is None:
        raise SettingsError(
            "--only engine is for sagas on another engine: set SAGAGEN_ENGINE_URL=restate+http://host:8080"
        )
    try:
        import restate as _  # noqa: F401
    except ModuleNotFoundError as error:
        raise StartupError(
            "SAGAGEN_ENGINE_URL names Restate, and its SDK is not installed: pip install 'sagagen[restate]'"
        ) from error
    refuse_short_memory(project.mesh)
    if settings.is_encrypted:
        raise StartupError(
            "sagas are on Restate, where sagagen encrypts nothing: let its disks be encrypted, and start this process "
            "without SAGAGEN_ENCRYPTION_KEYS_FILE"
        )
    return address


def _writes(saga: Saga) -> Iterator[Action]:
    for step in saga.calls:
        yield from (each for each in (step.action, step.compensation) if each and not each.method.is_read)


def refuse_short_memory(mesh: Mesh) -> None:
    """Restate forgets a key with its workflow; a service that remembers its calls longer would refuse a new saga."""
    for name in dict.fromkeys(saga.name for saga in mesh.sagas):
        versions = [saga for saga in mesh.sagas if saga.name == name]
        kept_s = max(saga.retention_s for saga in versions)
        called = {action.service for saga in versions for action in _writes(saga)}
        remembering = [service for service in mesh.services if service.name in called]
        longest = max(remembering, key=lambda service: service.barrier_retention_s, default=None)
        if longest and longest.barrier_retention_s > kept_s:
            raise StartupError(
                f'sagas are on Restate, which forgets a key of saga "{name}" after {kept_s:.0f} s, and service '
                f'"{longest.name}" remembers its calls for {longest.barrier_retention_s:.0f} s: a request that comes '
                "in between would be a new saga, and be refused. Set `idempotency.retention` of the saga to the "
                "service's `retention`, or more (`sagagen explain SG083`)"
            )
