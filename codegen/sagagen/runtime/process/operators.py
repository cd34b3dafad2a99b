"""The gateway's admin listener: who is let in, and what they get."""

from functools import partial

from starlette.types import ASGIApp

from sagagen.runtime.access.identity import Authentication
from sagagen.runtime.admin.gate import Gate, SchemeGate, TokenGate
from sagagen.runtime.admin.listener import admin_app
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import Orders
from sagagen.runtime.admin.routes import SagaAdmin, guarded_metrics, saga_routes
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.engine.gauges import set_gauges
from sagagen.runtime.engine.port import SagaRuntime
from sagagen.runtime.health import Readiness
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.settings import Settings


def operators_app(
    mesh: Mesh,
    settings: Settings,
    sagas: SagaRuntime,
    auditor: Auditor,
    schema: Schema,
    readiness: Readiness,
    authentication: Authentication | None,
) -> ASGIApp:
    """`authentication` is that of the contract's schemes; None where it has none."""
    gate = admin_gate(mesh, settings, authentication)
    operations = SagaOperations(sagas, lambda: schema, sagas.deliver)
    access = mesh.security.admin if mesh.security else None
    orders = Orders(operations, auditor, access.four_eyes if access else ())
    return admin_app(
        readiness,
        saga_routes(SagaAdmin(orders, gate)),
        before_metrics=partial(set_gauges, sagas),
        metrics_guard=partial(guarded_metrics, gate) if settings.closes_metrics else None,
    )


def admin_gate(mesh: Mesh, settings: Settings, authentication: Authentication | None) -> Gate:
    """By the contract's schemes where it says who operates; otherwise by the token."""
    if mesh.security is None or mesh.security.admin is None:
        return TokenGate(settings.gateway_admin.host, settings.admin_token)
    assert authentication, "a contract that says who operates has schemes"
    names = [scheme.name for scheme in mesh.security.schemes]
    return SchemeGate(authentication.by(names), mesh.security.admin)
