"""What generated code, handlers and the composition root import. Nothing in here knows the generator.

A name's module is imported when the name is asked for: a service would else import the engine and the edge at its
start, which take longer than all the rest of it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagagen.runtime.barrier import ActionState
    from sagagen.runtime.call import Call, Db
    from sagagen.runtime.compatibility import API, require_api
    from sagagen.runtime.definition import (
        Action,
        Limits,
        Mesh,
        Method,
        Respond,
        Retry,
        Route,
        Saga,
        Service,
        Step,
        StepKind,
        Transaction,
    )
    from sagagen.runtime.edge.gateway import Gateway, HttpRequest
    from sagagen.runtime.errors import Declined, RpcError
    from sagagen.runtime.scope import CompensationScope, Scope
    from sagagen.runtime.transport import Reply, Transport

__all__ = [
    "API",
    "Action",
    "ActionState",
    "Call",
    "CompensationScope",
    "Db",
    "Declined",
    "Gateway",
    "HttpRequest",
    "Limits",
    "Mesh",
    "Method",
    "Reply",
    "Respond",
    "Retry",
    "Route",
    "RpcError",
    "Saga",
    "Scope",
    "Service",
    "Step",
    "StepKind",
    "Transaction",
    "Transport",
    "require_api",
]

_HOMES = {
    "API": "sagagen.runtime.compatibility",
    "Action": "sagagen.runtime.definition",
    "ActionState": "sagagen.runtime.barrier",
    "Call": "sagagen.runtime.call",
    "CompensationScope": "sagagen.runtime.scope",
    "Db": "sagagen.runtime.call",
    "Declined": "sagagen.runtime.errors",
    "Gateway": "sagagen.runtime.edge.gateway",
    "HttpRequest": "sagagen.runtime.edge.gateway",
    "Limits": "sagagen.runtime.definition",
    "Mesh": "sagagen.runtime.definition",
    "Method": "sagagen.runtime.definition",
    "Reply": "sagagen.runtime.transport",
    "Respond": "sagagen.runtime.definition",
    "Retry": "sagagen.runtime.definition",
    "Route": "sagagen.runtime.definition",
    "RpcError": "sagagen.runtime.errors",
    "Saga": "sagagen.runtime.definition",
    "Scope": "sagagen.runtime.scope",
    "Service": "sagagen.runtime.definition",
    "Step": "sagagen.runtime.definition",
    "StepKind": "sagagen.runtime.definition",
    "Transaction": "sagagen.runtime.definition",
    "Transport": "sagagen.runtime.transport",
    "require_api": "sagagen.runtime.compatibility",
}
"""The module of each name."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__
