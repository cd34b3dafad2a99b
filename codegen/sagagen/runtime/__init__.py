"""What generated code, handlers and the composition root import. Nothing in here knows the generator."""

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
