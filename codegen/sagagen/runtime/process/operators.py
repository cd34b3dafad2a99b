"""The gateway's admin listener: who is let in, and what they get."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import structlog
from starlette.types import ASGIApp

from sagagen.runtime.access.identity import Authentication
from sagagen.runtime.admin.gate import Gate, SchemeGate, TokenGate
from sagagen.runtime.admin.listener import Endpoint, admin_app
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import Orders
from sagagen.runtime.admin.routes import SagaAdmin, audited_metrics, guarded_metrics, saga_routes
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.console.desk import Desk, Reach
from sagagen.runtime.console.mount import console_at
from sagagen.runtime.engine.gauges import set_gauges
from sagagen.runtime.engine.port import Leaving, SagaRuntime
from sagagen.runtime.health import Readiness
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.process.callers import authentication
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import ADMIN_TOKEN, Settings

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def operators_app(
    mesh: Mesh,
    settings: Settings,
    sagas: SagaRuntime,
    auditor: Auditor,
    schema: Schema,
    readiness: Readiness,
    schemes: Authentication | None,
    services: Mapping[str, Reach],
    leaving: Callable[[], Awaitable[Leaving]] | None = None,
) -> ASGIApp:
    """`schemes` are those of the contract; None where it has none. `services` are the ways to them.

    `leaving` is `OpenedEngine`'s.
    """
    gate = admin_gate(mesh, settings, settings.gateway_admin.host, schemes)
    operations = SagaOperations(sagas, lambda: schema, sagas.deliver, leaving)
    access = mesh.security.admin if mesh.security else None
    orders = Orders(operations, auditor, access.four_eyes if access else ())
    admin = SagaAdmin(orders, gate)
    console = console_at(Desk(mesh, gate, orders, sagas, lambda: schema, readiness, services))
    return admin_app(
        readiness,
        [*saga_routes(admin), console],
        before_metrics=partial(set_gauges, sagas),
        metrics_guard=partial(audited_metrics, admin) if settings.closes_metrics else None,
    )


@asynccontextmanager
async def metrics_guard(
    project: Project, settings: Settings, host: str
) -> AsyncGenerator[Callable[[Endpoint], Endpoint] | None]:
    """Of a service's own process: None where everybody may see its metrics."""
    if not settings.closes_metrics:
        yield None
        return
    async with authentication(project, settings) as schemes:
        yield partial(guarded_metrics, admin_gate(project.mesh, settings, host, schemes))


def admin_gate(mesh: Mesh, settings: Settings, host: str, schemes: Authentication | None) -> Gate:
    """By the contract's schemes where it says who operates; otherwise by the token. `host` is where it binds."""
    if mesh.security is None or mesh.security.admin is None:
        return TokenGate(host, settings.admin_token)
    if settings.admin_token:
        _logger.warning("this token opens nothing: the contract's security.admin does", setting=ADMIN_TOKEN)
    assert schemes, "a contract that says who operates has schemes"
    names = [scheme.name for scheme in mesh.security.schemes]
    return SchemeGate(schemes.by(names), mesh.security.admin)
