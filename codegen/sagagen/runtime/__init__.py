"""What generated code, handlers and the composition root import. Nothing in here knows the generator.

A name's module is imported when the name is asked for: a service would otherwise import the engine and the edge at its
start, which take longer than all the rest of it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagagen.runtime.access.identity import Identity
    from sagagen.runtime.edge.gateway import Gateway, HttpRequest
    from sagagen.runtime.model.compatibility import API, require_api
    from sagagen.runtime.model.definition import (
        Action,
        Branch,
        Cancel,
        Decline,
        Delay,
        Event,
        ForEach,
        IndexValue,
        Limits,
        Mesh,
        Method,
        Parallel,
        Respond,
        Retry,
        Route,
        Saga,
        Service,
        Start,
        Step,
        StepKind,
        Transaction,
        Wait,
    )
    from sagagen.runtime.model.security import (
        Access,
        AdminAccess,
        ApiKeyScheme,
        CallerLimits,
        OidcScheme,
        Security,
    )
    from sagagen.runtime.rpc.errors import Declined, RpcError
    from sagagen.runtime.rpc.transport import Reply, Transport
    from sagagen.runtime.scope import AccessScope, CompensationScope, EventScope, Scope
    from sagagen.runtime.service.barrier.rules import ActionState
    from sagagen.runtime.service.call import CallContext as Call
    from sagagen.runtime.service.call import Db, IntegrityError, Row

__all__ = [
    "API",
    "Access",
    "AccessScope",
    "Action",
    "ActionState",
    "AdminAccess",
    "ApiKeyScheme",
    "Branch",
    "Call",
    "CallerLimits",
    "Cancel",
    "CompensationScope",
    "Db",
    "Decline",
    "Declined",
    "Delay",
    "Event",
    "EventScope",
    "ForEach",
    "Gateway",
    "HttpRequest",
    "Identity",
    "IndexValue",
    "IntegrityError",
    "Limits",
    "Mesh",
    "Method",
    "OidcScheme",
    "Parallel",
    "Reply",
    "Respond",
    "Retry",
    "Route",
    "Row",
    "RpcError",
    "Saga",
    "Scope",
    "Security",
    "Service",
    "Start",
    "Step",
    "StepKind",
    "Transaction",
    "Transport",
    "Wait",
    "require_api",
]

_HOMES = {
    "API": "sagagen.runtime.model.compatibility",
    "Access": "sagagen.runtime.model.security",
    "AccessScope": "sagagen.runtime.scope",
    "Action": "sagagen.runtime.model.definition",
    "ActionState": "sagagen.runtime.service.barrier.rules",
    "AdminAccess": "sagagen.runtime.model.security",
    "ApiKeyScheme": "sagagen.runtime.model.security",
    "Branch": "sagagen.runtime.model.definition",
    "Call": "sagagen.runtime.service.call:CallContext",
    "CallerLimits": "sagagen.runtime.model.security",
    "Cancel": "sagagen.runtime.model.definition",
    "CompensationScope": "sagagen.runtime.scope",
    "Db": "sagagen.runtime.service.call",
    "Decline": "sagagen.runtime.model.definition",
    "Declined": "sagagen.runtime.rpc.errors",
    "Delay": "sagagen.runtime.model.definition",
    "Event": "sagagen.runtime.model.definition",
    "EventScope": "sagagen.runtime.scope",
    "ForEach": "sagagen.runtime.model.definition",
    "Gateway": "sagagen.runtime.edge.gateway",
    "HttpRequest": "sagagen.runtime.edge.gateway",
    "Identity": "sagagen.runtime.access.identity",
    "IndexValue": "sagagen.runtime.model.definition",
    "IntegrityError": "sagagen.runtime.service.call",
    "Limits": "sagagen.runtime.model.definition",
    "Mesh": "sagagen.runtime.model.definition",
    "Method": "sagagen.runtime.model.definition",
    "OidcScheme": "sagagen.runtime.model.security",
    "Parallel": "sagagen.runtime.model.definition",
    "Reply": "sagagen.runtime.rpc.transport",
    "Respond": "sagagen.runtime.model.definition",
    "Retry": "sagagen.runtime.model.definition",
    "Route": "sagagen.runtime.model.definition",
    "Row": "sagagen.runtime.service.call",
    "RpcError": "sagagen.runtime.rpc.errors",
    "Saga": "sagagen.runtime.model.definition",
    "Scope": "sagagen.runtime.scope",
    "Security": "sagagen.runtime.model.security",
    "Service": "sagagen.runtime.model.definition",
    "Start": "sagagen.runtime.model.definition",
    "Step": "sagagen.runtime.model.definition",
    "StepKind": "sagagen.runtime.model.definition",
    "Transaction": "sagagen.runtime.model.definition",
    "Transport": "sagagen.runtime.rpc.transport",
    "Wait": "sagagen.runtime.model.definition",
    "require_api": "sagagen.runtime.model.compatibility",
}
"""The module of each name, and after a colon the name that it has there if that is another."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, inner = _HOMES[name].partition(":")
    found = globals()[name] = getattr(importlib.import_module(module), inner or name)
    return found


def __dir__() -> list[str]:
    return __all__
