"""Gateways on one saga log in PostgreSQL: SAGAGEN_ENGINE_URL names it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from sagagen.runtime.engine.context import OnResult
from sagagen.runtime.engine.narration import Narrator
from sagagen.runtime.engine.shared import SharedEngine
from sagagen.runtime.log.upkeep import upkeep
from sagagen.runtime.process.gateway import OpenedEngine
from sagagen.runtime.process.project import Project
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import StartupError
from sagagen.runtime.telemetry import logs


@asynccontextmanager
async def shared_engine(
    project: Project,
    settings: Settings,
    url: Secret,
    transports: Mapping[str, Transport],
    on_result: OnResult | None,
    *,
    is_alone: bool = True,
) -> AsyncGenerator[OpenedEngine]:
    """This gateway's engine. `is_alone`: all gateways are on this log. Raises StartupError."""
    _check(settings)
    from sagagen.runtime.postgres_log.log import PostgresLog

    mesh, limits = project.mesh, settings.limits(project.mesh)
    console = logs.console()
    async with (
        PostgresLog.open(
            url.current.decode(), mesh.project, keys=settings.encryption_keys(project.root)
        ) as log,
        upkeep(log, mesh.sagas, clock=log.clock, audit_s=settings.audit_s),
        SharedEngine(
            sagas=mesh.sagas,
            log=log,
            transports=transports,
            clock=log.clock,
            grace=settings.grace,
            max_running=limits.max_running,
            running_per_caller=settings.caller_limits(mesh).running,
            max_waiting_sagas=limits.max_waiting_sagas,
            calls_per_service=limits.calls_per_service,
            on_result=on_result,
            is_alone=is_alone,
            narrator=Narrator(console, mesh.sagas) if console else None,
        ) as engine,
    ):
        yield OpenedEngine(engine, log.audit, {"gateway": engine.check, "saga log": log.check})


def _check(settings: Settings) -> None:
    """Raises StartupError where something is asked for that this log does not have."""
    try:
        import asyncpg as _  # noqa: F401
    except ModuleNotFoundError as error:
        raise StartupError(
            "SAGAGEN_ENGINE_URL names PostgreSQL, and its driver is not installed: pip install 'sagagen[postgres]'"
        ) from error
