"""What generated/docs prints: diagrams and tables for each saga, and an index. Nothing is decided after this."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sagagen.contract.model import Call, Mesh, Route, Saga, Service, Step
from sagagen.emit.docs_diagrams import AT_COMPLETION, back, states, there
from sagagen.emit.docs_text import code, in_words, listed, quoted, repeats
from sagagen.emit.failure_paths import FailurePath, FailurePaths, Fault, failure_paths
from sagagen.emit.header import header, sources_of
from sagagen.emit.saga_view import saga_module
from sagagen.runtime.edge.problem import COMPENSATED, HTTP_STATUS
from sagagen.runtime.model.definition import AT_ACCEPTANCE, StepKind, final_status
from sagagen.runtime.rpc.errors import Code
from sagagen.runtime.saga.decision import DEFAULT_BUDGET_S
from sagagen.runtime.saga.events import Outcome, SagaStatus

DECLINED_STATUS = HTTP_STATUS[Code.FAILED_PRECONDITION]
"""The HTTP status for a step that a service declined: a refusal has only one code on the wire."""


@dataclass(frozen=True, slots=True)
class StepRow:
    number: int
    name: str
    kind: str
    runs: str
    undone_by: str
    timeout: str
    repeated: str
    undoing: str


@dataclass(frozen=True, slots=True)
class FailureRow:
    step: str
    how: str
    undone: str
    ends: str
    client: str


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
        header=_comment(header(sources_of(mesh, mesh.files), comment="")),
        project=mesh.project,
        sagas=tuple(_saga_row(saga, mesh) for saga in (*mesh.sagas, *mesh.kept)),
        services=tuple(_service_row(service, by_service.get(service.name, ())) for service in mesh.services),
        routes=tuple(_route_row(route) for route in mesh.routes),
    )


def _comment(text: str) -> str:
    lines = (line.strip().replace("--", "- -") for line in text.split("\n"))
    return "\n".join(["<!--", *lines, "-->"])


def _saga_row(saga: Saga, mesh: Mesh) -> SagaRow:
    return SagaRow(
        name=code(saga.name),
        link=saga_path(saga),
        version=saga.version,
        is_kept=_is_kept(saga, mesh),
        starts=listed(code(start) for start in _starts(saga, mesh)),
        steps=listed(code(step.name) for step in saga.calls),
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
    starts = isinstance(route.target, Saga)
    return RouteRow(
        route=code(f"{route.verb} {route.template}"),
        rpc=code(route.method.full_name),
        target=f"starts {code(route.target.name)}" if starts else f"is answered by {code(route.target.name)}",
    )


def _is_kept(saga: Saga, mesh: Mesh) -> bool:
    return any(saga is each for each in mesh.kept)


def _starts(saga: Saga, mesh: Mesh) -> tuple[str, ...]:
    """`POST /orders`; the rpc's name if no route leads to it."""
    routes = [f"{route.verb} {route.template}" for route in mesh.routes_to.get(saga.trigger, ())]
    return tuple(routes) or (saga.trigger.full_name,)


def saga_doc(saga: Saga, mesh: Mesh) -> SagaDoc:
    start = _starts(saga, mesh)[0]
    paths = failure_paths(saga)
    backward = back(saga, start, paths)
    calls = [call for step in saga.calls for call in (step.action, step.compensation) if call]
    files = [rpc.containing_service.file for rpc in (saga.trigger, *(c.method.descriptor for c in calls))]
    is_kept = _is_kept(saga, mesh)
    newest = next((each for each in mesh.sagas if each.name == saga.name), None) if is_kept else None
    return SagaDoc(
        header=_comment(header(sources_of(mesh, files), comment="")),
        name=saga.name,
        version=saga.version,
        is_kept=is_kept,
        newest=saga_path(newest) if newest else "",
        doc=quoted(mesh.docs.get(saga.trigger.full_name, "")),
        facts=tuple(_facts(saga, mesh)),
        steps=tuple(_step_row(number, step) for number, step in enumerate(saga.calls, 1)),
        there=there(saga, start),
        has_back=bool(backward),
        back=backward,
        states=states(saga, paths),
        failures=tuple(_failure_rows(saga, paths)),
    )


def _facts(saga: Saga, mesh: Mesh) -> Iterator[str]:
    starts = listed(code(start) for start in _starts(saga, mesh))
    yield f"Started by {starts} ({code(saga.trigger.full_name)})."
    yield f"Idempotency key: {saga.key}. {_duplicates(saga)} Answers are kept for {in_words(saga.retention_s)}."
    yield f"Deadline: {in_words(saga.deadline_s)}, for the steps up to the pivot; compensations have their own budgets."
    yield _answers(saga)


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


def _step_row(number: int, step: Step) -> StepRow:
    return StepRow(
        number=number,
        name=code(step.name),
        kind="read" if step.action.method.is_read else step.kind.value,
        runs=_call(step.action),
        undone_by=_undone_by(step),
        timeout=in_words(step.action.timeout_s),
        repeated=repeats(step.action.retry, _until(step)),
        undoing=_undoing(step.compensation) if step.compensation else "",
    )


def _call(call: Call) -> str:
    return code(f"{call.service.name}/{call.method.descriptor.name}")


def _undone_by(step: Step) -> str:
    if step.compensation:
        return _call(step.compensation)
    if step.kind is not StepKind.COMPENSATABLE:
        return "never undone"
    return "nothing to undo" if step.action.method.is_read else "left as it is"


def _until(step: Step) -> str:
    match step.kind:
        case StepKind.COMPENSATABLE:
            return "until the saga's deadline"
        case StepKind.PIVOT:
            return f"once attempted, for {in_words(_budget_s(step.action))}"
        case StepKind.RETRIABLE:
            return f"for {in_words(_budget_s(step.action))}"


def _undoing(call: Call) -> str:
    return f"time-out {in_words(call.timeout_s)}; {repeats(call.retry, f'for {in_words(_budget_s(call))}')}"


def _budget_s(call: Call) -> float:
    return call.retry.give_up_after_s or DEFAULT_BUDGET_S


def _failure_rows(saga: Saga, paths: FailurePaths) -> Iterator[FailureRow]:
    for step in saga.calls:
        for fault in Fault:
            path = paths[step.name, fault]
            yield FailureRow(
                step=code(step.name),
                how=_how(step, fault),
                undone=_undone(path, saga),
                ends=_ends(path, step),
                client=client_gets(saga, path),
            )


def _how(step: Step, fault: Fault) -> str:
    if fault is Fault.DECLINED:
        return "the service declines"
    return {
        StepKind.COMPENSATABLE: "it keeps failing: the outcome is unknown",
        StepKind.PIVOT: "it was attempted, and keeps failing",
        StepKind.RETRIABLE: "it keeps failing",
    }[step.kind]


def _undone(path: FailurePath, saga: Saga) -> str:
    steps = {step.name: step for step in saga.calls}
    sent = [
        f"{code(each.step)} by {_call(call)}"
        for each in path.undone
        if (call := steps[each.step].compensation)
    ]
    left = [each.step for each in path.undone if each.is_left and not steps[each.step].action.method.is_read]
    words = ", then ".join(sent) or "nothing"
    return f"{words}; {listed(map(code, left))} stays as it is" if left else words


def _ends(path: FailurePath, step: Step) -> str:
    if path.status is SagaStatus.STUCK:
        return f"{code('STUCK')} after {in_words(_budget_s(step.action))}: it waits for an operator"
    return code(str(path.status))


def client_gets(saga: Saga, path: FailurePath) -> str:
    """What the client gets in the end for the request that started the saga."""
    names = [step.name for step in saga.calls]
    if saga.respond.after in names[: names.index(path.step)]:
        return f"{code(str(final_status(saga.respond.status)))}, already {_after(saga)}"
    final = _final(path)
    return f"{code('202')} at once, then {final}" if saga.respond.after == AT_ACCEPTANCE else final


def _final(path: FailurePath) -> str:
    if path.outcome is None:
        return f"{code('202')}, and {code('409')} for the same key, until there is an answer"
    if path.outcome is Outcome.REFUSED:
        return f"{code(str(DECLINED_STATUS))} with the service's {code('reason')}"
    return f"{code('502')} {code(COMPENSATED)}"
