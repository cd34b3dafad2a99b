"""What generated/docs prints: diagrams and tables for each saga, and an index. Nothing is decided after this."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import Mesh, Route, Saga, Service, Start, ValueExpr, leaves
from sagagen.emit.docs_diagrams import AT_COMPLETION, Requests, back, there
from sagagen.emit.docs_failures import FailureRow, failure_rows, notes
from sagagen.emit.docs_states import states
from sagagen.emit.docs_steps import StepRow, step_rows
from sagagen.emit.docs_text import code, commented, in_words, listed, quoted
from sagagen.emit.failure_paths import failure_paths
from sagagen.emit.header import header, sources_of
from sagagen.emit.saga_tree import CANCEL, rpcs
from sagagen.emit.saga_view import saga_module
from sagagen.expression.tree import Constant
from sagagen.runtime.model.definition import AT_ACCEPTANCE, StepKind, final_status


@dataclass(frozen=True, slots=True)
class SagaDoc:
    header: str
    name: str
    version: int
    is_kept: bool
    newest: str
    doc: tuple[str, ...]
    facts: tuple[str, ...]
    steps: tuple[StepRow, ...]
    there: tuple[str, ...]
    has_back: bool
    back: tuple[str, ...]
    states: tuple[str, ...]
    failures: tuple[FailureRow, ...]
    notes: tuple[str, ...]
    """What else the table has to be read with."""


@dataclass(frozen=True, slots=True)
class SagaRow:
    name: str
    link: str
    version: int
    is_kept: bool
    starts: str
    steps: str
    deadline: str


@dataclass(frozen=True, slots=True)
class ServiceRow:
    name: str
    port: int
    implements: str
    runs: str


@dataclass(frozen=True, slots=True)
class RouteRow:
    route: str
    rpc: str
    target: str


@dataclass(frozen=True, slots=True)
class IndexDoc:
    header: str
    project: str
    has_security: bool
    """There is security.md."""
    sagas: tuple[SagaRow, ...]
    services: tuple[ServiceRow, ...]
    routes: tuple[RouteRow, ...]


def saga_path(saga: Saga) -> str:
    """Beside index.md."""
    return f"{saga_module(saga)}.md"


def index_doc(mesh: Mesh) -> IndexDoc:
    by_service: dict[str, list[str]] = {}
    for saga in mesh.sagas:
        for service in dict.fromkeys(step.action.service.name for step in saga.calls):
            by_service.setdefault(service, []).append(saga.name)
    return IndexDoc(
        header=commented(header(sources_of(mesh, mesh.files), comment="")),
        project=mesh.project,
        has_security=mesh.security is not None,
        sagas=tuple(_saga_row(saga, mesh) for saga in (*mesh.sagas, *mesh.kept)),
        services=tuple(_service_row(service, by_service.get(service.name, ())) for service in mesh.services),
        routes=tuple(_route_row(route) for route in mesh.routes),
    )


def _saga_row(saga: Saga, mesh: Mesh) -> SagaRow:
    return SagaRow(
        name=code(saga.name),
        link=saga_path(saga),
        version=saga.version,
        is_kept=_is_kept(saga, mesh),
        starts=listed(code(start) for start in _starts(saga, mesh)),
        steps=listed(code(leaf.name) for leaf in leaves(saga.steps)),
        deadline=in_words(saga.deadline_s),
    )


def _service_row(service: Service, sagas: Sequence[str]) -> ServiceRow:
    return ServiceRow(
        name=code(service.name),
        port=service.port,
        implements=listed(code(each.full_name) for each in service.implements),
        runs=listed(code(name) for name in sagas) or "none",
    )


def _route_row(route: Route) -> RouteRow:
    return RouteRow(
        route=code(f"{route.verb} {route.template}"),
        rpc=code(route.method.full_name),
        target=_does(route),
    )


def _does(route: Route) -> str:
    target = code(route.target.name)
    if route.event == CANCEL:
        return f"cancels {target}"
    if route.event:
        return f"brings {code(route.event)} to {target}"
    return f"starts {target}" if route.starts else f"is answered by {target}"


def _is_kept(saga: Saga, mesh: Mesh) -> bool:
    return any(saga is each for each in mesh.kept)


def _starts(saga: Saga, mesh: Mesh) -> tuple[str, ...]:
    return _routes(saga.trigger, mesh)


def _routes(rpc: MethodDescriptor, mesh: Mesh) -> tuple[str, ...]:
    """`POST /orders`; the rpc's name if no route leads to it."""
    routes = [f"{route.verb} {route.template}" for route in mesh.routes_to.get(rpc, ())]
    return tuple(routes) or (rpc.full_name,)


def saga_doc(saga: Saga, mesh: Mesh) -> SagaDoc:
    requests = Requests(
        _starts(saga, mesh)[0], {event.name: _routes(event.rpc, mesh)[0] for event in saga.events}
    )
    paths = failure_paths(saga)
    backward = back(saga, requests, paths)
    files = [rpc.containing_service.file for rpc in rpcs(saga)]
    is_kept = _is_kept(saga, mesh)
    newest = next((each for each in mesh.sagas if each.name == saga.name), None) if is_kept else None
    return SagaDoc(
        header=commented(header(sources_of(mesh, files), comment="")),
        name=saga.name,
        version=saga.version,
        is_kept=is_kept,
        newest=saga_path(newest) if newest else "",
        doc=quoted(mesh.docs.get(saga.trigger.full_name, "")),
        facts=tuple(_facts(saga, mesh)),
        steps=tuple(step_rows(saga)),
        there=there(saga, requests),
        has_back=bool(backward),
        back=backward,
        states=states(saga, paths),
        failures=tuple(failure_rows(saga, paths)),
        notes=tuple(notes(saga)),
    )


def _facts(saga: Saga, mesh: Mesh) -> Iterator[str]:
    starts = listed(code(start) for start in _starts(saga, mesh))
    yield f"Started by {starts} ({code(saga.trigger.full_name)})."
    yield f"Idempotency key: {saga.key}. {_duplicates(saga)} Answers are kept for {in_words(saga.retention_s)}."
    yield f"Deadline: {in_words(saga.deadline_s)}, for the steps up to the pivot; compensations have their own budgets."
    yield _answers(saga)
    if saga.start:
        yield _begins(saga.start)
    for event in saga.events:
        yield f"Event {code(event.name)}: {_sent(event.rpc, mesh)}. {_allowed(event.allow, 'send it', 'Anybody')}"
    if saga.cancel:
        allowed = _allowed(saga.cancel.allow, "do so", "Whoever started the saga")
        until = "until the pivot is attempted" if _has_pivot(saga) else "until nothing can be undone any more"
        yield (
            f"Cancelled by {_sent(saga.cancel.rpc, mesh)}, {until}; `failure.reason` is then "
            f"{code(saga.cancel.reason)}. {allowed}"
        )
    if saga.subject:
        yield "Says whose data it holds (`subject`): `sagagen forget` erases them where encryption is on."
    if saga.index:
        yield f"Can be found by {listed(code(value.name) for value in saga.index)}."


def _begins(start: Start) -> str:
    if start.after_s is not None:
        return f"Starts {in_words(start.after_s)} after it was accepted; its deadline counts from then on."
    return (
        f"Starts when its request says, at most {in_words(start.at_most_s)} after it was accepted (later is `400`); "
        "its deadline counts from then on."
    )


def _sent(rpc: MethodDescriptor, mesh: Mesh) -> str:
    return f"{listed(map(code, _routes(rpc, mesh)))} ({code(rpc.full_name)})"


def _allowed(allow: ValueExpr | None, what: str, otherwise: str) -> str:
    match allow:
        case None:
            return f"{otherwise} may {what}."
        case ValueExpr(root=Constant(value=True)):
            return f"Anybody may {what}."
        case _:
            return f"Whom `allow` names may {what}."


def _has_pivot(saga: Saga) -> bool:
    return any(element.kind is StepKind.PIVOT for element in saga.steps)


def _duplicates(saga: Saga) -> str:
    if saga.on_concurrent == "wait":
        return f"A duplicate waits up to {in_words(saga.respond.wait_s)} for the answer, then gets 409."
    return "A duplicate gets 409 until there is an answer."


def _answers(saga: Saga) -> str:
    status, wait = code(str(final_status(saga.respond.status))), in_words(saga.respond.wait_s)
    if saga.respond.after == AT_ACCEPTANCE:
        told = " and the answer's body" if saga.respond.is_known_at_once else ""
        return f"Answered with {code('202')}{told} at once; the same key gets {status} once the saga has completed."
    after = "once the saga has completed" if saga.respond.after == AT_COMPLETION else _after(saga)
    return (
        f"Answered with {status} {after}. A client that has waited {wait} gets {code('202')} and the saga's address, "
        "and can get the answer later with the same key."
    )


def _after(saga: Saga) -> str:
    return f"after {code(saga.respond.after)}"
