"""`sagagen add saga` and `sagagen add step`."""

from collections.abc import Sequence
from dataclasses import dataclass

from sagagen.contract.calls import CallResolver
from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.located import Located, text_scalar
from sagagen.contract.model import Method
from sagagen.contract.protos import link
from sagagen.contract.reading import read_shapes
from sagagen.contract.services import resolve_services
from sagagen.diagnostics import Diagnostic
from sagagen.editing.addition import Addition
from sagagen.editing.contract import Contract, text_of, unknown
from sagagen.editing.names import check_name
from sagagen.editing.text import CannotAdd
from sagagen.editing.yaml_insert import FIRST, Value
from sagagen.python_naming import assign_names
from sagagen.runtime.model.definition import StepKind
from sagagen.source import Mapping as MappingNode
from sagagen.source import Sequence as SequenceNode
from sagagen.source import Span

NOTHING = "none"


def add_saga(contract: Contract, name: str, trigger: str) -> Addition | None:
    """None if it is already there. Raises CannotAdd."""
    check_name("saga", name)
    there = next((entry.value for entry in contract.entries("sagas") if entry.key.text == name), None)
    if there is not None and text_of(there, "trigger") == trigger:
        return None
    if there is not None:
        raise CannotAdd(f'there is already a saga "{name}", triggered by {text_of(there, "trigger")}')
    value: dict[str, Value] = {"version": "1", "trigger": trigger, "steps": []}
    yaml = contract.yaml.with_entry(("sagas",), name, value, spaced=True, levels=2)
    return Addition(
        {SAGA_YAML: yaml},
        (f"{SAGA_YAML}: saga {name}",),
        (f"sagagen add step {name} NAME --call SERVICE/METHOD",),
    )


@dataclass(frozen=True, slots=True)
class NewStep:
    saga: str
    name: str
    call: str
    compensate: str | None
    """service/Method, `none`, or not given."""
    after: str | None
    kind: StepKind | None


def add_step(contract: Contract, step: NewStep) -> Addition | None:
    """None if it is already there. Raises CannotAdd."""
    check_name("step", step.name)
    sagas = {entry.key.text: entry.value for entry in contract.entries("sagas")}
    saga = sagas.get(step.saga)
    if saga is None:
        raise unknown("saga", step.saga, list(sagas), "`sagagen add saga` adds one")
    steps = _steps(saga)
    same = next((found for found in steps if found.name == step.name), None)
    if same is not None and (same.call, step.compensate or same.undo) == (step.call, same.undo):
        return None
    if same is not None:
        raise CannotAdd(f'there is already a step "{step.name}", which calls {same.call}')
    methods = _Methods.of(contract)
    method = methods.find(step.call)
    after = _index(steps, step)
    kind = _kind(steps, step, after)
    _check_undo(step, kind, method)
    value = _value(step, kind, method, methods)
    yaml = contract.yaml.with_item(("sagas", step.saga, "steps"), value, after)
    following = ("sagagen check", "sagagen generate") if "request" in value else ("sagagen generate",)
    return Addition({SAGA_YAML: yaml}, (f"{SAGA_YAML}: step {step.name} of {step.saga}",), following)


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    call: str
    kind: str
    undo: str | None


def _steps(saga: object) -> list[_Step]:
    node = saga.get("steps") if isinstance(saga, MappingNode) else None
    return [_step(item) for item in node.items] if isinstance(node, SequenceNode) else []


def _step(item: object) -> _Step:
    undo = item.get("compensate") if isinstance(item, MappingNode) else None
    called = text_of(undo, "call") or text_of(item, "compensate") or None
    return _Step(text_of(item, "name"), text_of(item, "call"), text_of(item, "kind"), called)


def _pivot(steps: Sequence[_Step]) -> int | None:
    return next((index for index, step in enumerate(steps) if step.kind == StepKind.PIVOT), None)


def _index(steps: Sequence[_Step], step: NewStep) -> int | None:
    """The index of the step that it follows; None for the end. Steps that can be undone go before the pivot."""
    if step.after is not None:
        names = [found.name for found in steps]
        if step.after not in names:
            raise unknown(f"step of {step.saga}", step.after, names)
        return names.index(step.after)
    pivot = _pivot(steps)
    is_undone = step.compensate is not None or step.kind is StepKind.COMPENSATABLE
    return max(pivot - 1, FIRST) if pivot is not None and is_undone else None


def _kind(steps: Sequence[_Step], step: NewStep, after: int | None) -> StepKind:
    if step.kind is not None:
        return step.kind
    pivot = _pivot(steps)
    is_past = pivot is not None and (after is None or after >= pivot)
    return StepKind.RETRIABLE if is_past else StepKind.COMPENSATABLE


def _check_undo(step: NewStep, kind: StepKind, method: Method) -> None:
    if kind is not StepKind.COMPENSATABLE and step.compensate not in {None, NOTHING}:
        raise CannotAdd(
            f"a {kind} step is never compensated: leave --compensate out, or put the step before the pivot"
        )
    if kind is StepKind.COMPENSATABLE and not method.is_read and step.compensate is None:
        raise CannotAdd(f"say how {step.call} is undone: --compensate SERVICE/METHOD, or --compensate none")


def _value(step: NewStep, kind: StepKind, method: Method, methods: "_Methods") -> dict[str, Value]:
    value: dict[str, Value] = {"name": step.name, "call": step.call}
    if kind is not StepKind.COMPENSATABLE:
        value["kind"] = kind.value
    value.update(_request(method))
    if step.compensate == NOTHING and kind is StepKind.COMPENSATABLE:
        value["compensate"] = NOTHING
    elif step.compensate is not None and step.compensate != NOTHING:
        value["compensate"] = _undo(step.compensate, methods)
    return value


def _undo(call: str, methods: "_Methods") -> Value:
    return {"call": call, **_request(methods.find(call))}


def _request(method: Method) -> dict[str, Value]:
    """An empty request for the user to fill in, if the message has fields."""
    return {"request": {}} if method.descriptor.input_type.fields else {}


@dataclass(frozen=True, slots=True)
class _Methods:
    """The rpcs that steps can call."""

    calls: CallResolver
    found: list[Diagnostic]

    @staticmethod
    def of(contract: Contract) -> "_Methods":
        found: list[Diagnostic] = []
        protos = link(contract.sources, found.append)
        reading = read_shapes(contract.yaml.document, found.append)
        names = assign_names(protos.files, found.append, protos.span)
        services = resolve_services(reading, protos, names, found.append)
        found.clear()  # `sagagen check` reports these
        return _Methods(CallResolver(protos, services, found.append), found)

    def find(self, call: str) -> Method:
        target = self.calls.target(Located(call, text_scalar(call, Span(SAGA_YAML))))
        if target is not None:
            return target.method
        if not self.found:
            raise CannotAdd(
                f"{call} can't be found, since the contract has errors: `sagagen check` reports them"
            )
        raise CannotAdd(f"{self.found[0].message}: {self.found[0].hint}")
