"""`sagagen add step`: a call, a wait, a delay or a parallel block, at its place in the tree of steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sagagen.contract.element_shape import VERBS
from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.model import Method
from sagagen.editing.addition import Addition
from sagagen.editing.contract import Contract, text_of, unknown
from sagagen.editing.methods import Methods
from sagagen.editing.names import check_name
from sagagen.editing.saga_yaml import Path
from sagagen.editing.text import CannotAdd
from sagagen.editing.yaml_insert import FIRST, Value
from sagagen.runtime.model.definition import StepKind
from sagagen.source import Mapping as MappingNode
from sagagen.source import Sequence as SequenceNode

NOTHING = "none"


@dataclass(frozen=True, slots=True)
class NewStep:
    """One of `call`, `wait`, `delay` and `parallel` says what it is."""

    saga: str
    name: str
    call: str | None = None
    wait: str | None = None
    """Name of an event."""
    delay: str | None = None
    """A duration."""
    parallel: tuple[str, ...] = ()
    """Names of branches, to which steps are added later."""
    compensate: str | None = None
    """service/Method, `none`, or not given."""
    within: str | None = None
    """Of a wait: a duration."""
    after: str | None = None
    branch: str | None = None
    """block/branch: as its last step."""
    kind: StepKind | None = None


def add_step(contract: Contract, step: NewStep) -> Addition | None:
    """None if it is already there. Raises CannotAdd."""
    check_name("step", step.name)
    sagas = {entry.key.text: entry.value for entry in contract.entries("sagas")}
    saga = sagas.get(step.saga)
    if saga is None:
        raise unknown("saga", step.saga, list(sagas), "`sagagen add saga` adds one")
    tree = _Tree.of(saga, ("sagas", step.saga, "steps"))
    same = next((found for found in tree.steps if found.name == step.name), None)
    if same is not None and _is_same(same, step):
        return None
    if same is not None:
        raise CannotAdd(f'there is already a step "{step.name}", which {same.does}')
    place = tree.place(step)
    value = _value(contract, step, place)
    levels = 2 if step.parallel else 1
    yaml = contract.yaml.with_item(place.path, value, place.after, levels=levels)
    return Addition({SAGA_YAML: yaml}, (f"{SAGA_YAML}: step {step.name} of {step.saga}",), _next(step, value))


def _next(step: NewStep, value: dict[str, Value]) -> tuple[str, ...]:
    if step.parallel:
        to = f"--in {step.name}/{step.parallel[0]}"
        return (f"sagagen add step {step.saga} NAME {to} --call SERVICE/METHOD",)
    return ("sagagen check", "sagagen generate") if "request" in value else ("sagagen generate",)


# What is there


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    verb: str
    what: str
    """What it calls, or waits for."""
    kind: str
    undo: str | None
    path: Path
    """Of the list that it stands in."""
    index: int
    block_kind: StepKind | None
    """Of the outermost block that it stands in."""

    @property
    def does(self) -> str:
        known = {"call": f"calls {self.what}", "wait": f"waits for {self.what}"}
        return known.get(self.verb, f"is a {self.verb}")


def _is_same(there: _Step, step: NewStep) -> bool:
    new = next((verb for verb in VERBS if getattr(step, verb)), "")
    what = step.call or step.wait
    undo = step.compensate or there.undo
    return there.verb == new and (what is None or there.what == what) and there.undo == undo


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    after: int | None
    """The index of the step that it follows; None for the end."""
    kind: StepKind
    is_given: bool
    """By the block, so that the step need not say it."""


@dataclass(frozen=True, slots=True)
class _Tree:
    path: Path
    steps: tuple[_Step, ...]
    """All of them, in the order of the file."""
    branches: dict[str, tuple[Path, StepKind]] = field(default_factory=dict[str, tuple[Path, StepKind]])
    """block/branch -> its list, and the kind of what stands in it."""

    @staticmethod
    def of(saga: object, path: Path) -> "_Tree":
        branches: dict[str, tuple[Path, StepKind]] = {}
        node = saga.get("steps") if isinstance(saga, MappingNode) else None
        return _Tree(path, tuple(_steps(node, path, None, branches)), branches)

    def place(self, step: NewStep) -> _Place:
        if step.branch is not None:
            if step.branch not in self.branches:
                raise unknown(
                    f"branch of {step.saga}", step.branch, list(self.branches), "write BLOCK/BRANCH"
                )
            path, kind = self.branches[step.branch]
            return _Place(path, None, kind, is_given=True)
        if step.after is None:
            return self._at_the_end(step)
        there = next((found for found in self.steps if found.name == step.after), None)
        if there is None:
            raise unknown(f"step of {step.saga}", step.after, [found.name for found in self.steps])
        if there.block_kind is not None:
            return _Place(there.path, there.index, there.block_kind, is_given=True)
        return _Place(self.path, there.index, self._kind(step, there.index), is_given=False)

    def _at_the_end(self, step: NewStep) -> _Place:
        """Or before the pivot, where it is something that can be undone."""
        pivot = self._pivot
        is_undone = step.compensate is not None or step.kind is StepKind.COMPENSATABLE
        after = max(pivot - 1, FIRST) if pivot is not None and is_undone else None
        return _Place(self.path, after, self._kind(step, after), is_given=False)

    @property
    def _pivot(self) -> int | None:
        return next((step.index for step in self.steps if step.kind == StepKind.PIVOT), None)

    def _kind(self, step: NewStep, after: int | None) -> StepKind:
        if step.kind is not None:
            return step.kind
        is_past = self._pivot is not None and (after is None or after >= self._pivot)
        return StepKind.RETRIABLE if is_past else StepKind.COMPENSATABLE


def _steps(
    node: object, path: Path, block: StepKind | None, branches: dict[str, tuple[Path, StepKind]]
) -> Iterator[_Step]:
    items: Sequence[object] = node.items if isinstance(node, SequenceNode) else ()
    for index, item in enumerate(items):
        yield _step(item, path, index, block)
        parallel = item.get("parallel") if isinstance(item, MappingNode) else None
        if isinstance(parallel, MappingNode):
            is_retriable = text_of(item, "kind") == StepKind.RETRIABLE
            kind = block or (StepKind.RETRIABLE if is_retriable else StepKind.COMPENSATABLE)
            for entry in parallel:
                inner = (*path, index, "parallel", entry.key.text)
                branches[f"{text_of(item, 'name')}/{entry.key.text}"] = inner, kind
                yield from _steps(entry.value, inner, kind, branches)


def _step(item: object, path: Path, index: int, block: StepKind | None) -> _Step:
    undo = item.get("compensate") if isinstance(item, MappingNode) else None
    keys = [entry.key.text for entry in item] if isinstance(item, MappingNode) else []
    verb = next((key for key in keys if key in VERBS), "")
    return _Step(
        text_of(item, "name"),
        verb,
        text_of(item, verb),
        text_of(item, "kind"),
        text_of(undo, "call") or text_of(item, "compensate") or None,
        path,
        index,
        block,
    )


# What is added


def _value(contract: Contract, step: NewStep, place: _Place) -> dict[str, Value]:
    kind = {} if place.kind is StepKind.COMPENSATABLE or place.is_given else {"kind": place.kind.value}
    if step.call is not None:
        return _call(step, step.call, place.kind, kind, Methods.of(contract))
    name: dict[str, Value] = {"name": step.name, **kind}
    if step.wait is not None:
        if place.kind is StepKind.RETRIABLE and step.within is None:
            raise CannotAdd("say how long it waits, since no deadline ends it after the pivot: --within 24h")
        within = {} if step.within is None else {"within": step.within}
        return {**name, "wait": step.wait, **within}
    if step.delay is not None:
        return {**name, "delay": {"after": step.delay}}
    for branch in step.parallel:
        check_name("branch", branch)
    return {**name, "parallel": {branch: [] for branch in step.parallel}}


def _call(
    step: NewStep, call: str, kind: StepKind, said: dict[str, str], methods: Methods
) -> dict[str, Value]:
    method = methods.called(call)
    _check_undo(step, kind, method)
    value: dict[str, Value] = {"name": step.name, "call": call, **said, **_request(method)}
    if step.compensate == NOTHING and kind is StepKind.COMPENSATABLE:
        value["compensate"] = NOTHING
    elif step.compensate is not None and step.compensate != NOTHING:
        value["compensate"] = {"call": step.compensate, **_request(methods.called(step.compensate))}
    return value


def _check_undo(step: NewStep, kind: StepKind, method: Method) -> None:
    if kind is not StepKind.COMPENSATABLE and step.compensate not in {None, NOTHING}:
        raise CannotAdd(
            f"a {kind} step is never compensated: leave --compensate out, or put the step before the pivot"
        )
    if kind is StepKind.COMPENSATABLE and not method.is_read and step.compensate is None:
        raise CannotAdd(f"say how {step.call} is undone: --compensate SERVICE/METHOD, or --compensate none")


def _request(method: Method) -> dict[str, Value]:
    """An empty request for the user to fill in, if the message has fields."""
    return {"request": {}} if method.descriptor.input_type.fields else {}
