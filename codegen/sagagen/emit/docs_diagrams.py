"""A saga as Mermaid draws it: its calls in sequence, forward and back, and the states that it may be in."""

from collections.abc import Iterator

from sagagen.contract.model import Call, Saga, Step
from sagagen.emit.docs_text import label
from sagagen.emit.failure_paths import FailurePath, FailurePaths, Fault
from sagagen.runtime.model.definition import AT_ACCEPTANCE, final_status
from sagagen.runtime.saga.events import SagaStatus

AT_COMPLETION = "completion"


def there(saga: Saga, start: str) -> tuple[str, ...]:
    """The calls of a saga in which everything goes well. `start`: what the client sends."""
    return _Sequence(saga, start).well()


def back(saga: Saga, start: str, paths: FailurePaths) -> tuple[str, ...]:
    """The calls if the last step that can turn the saga back declines; empty if no step has anything to undo."""
    declined = [paths[step.name, Fault.DECLINED] for step in saga.calls]
    turning = [path for path in declined if any(not undoing.is_left for undoing in path.undone)]
    return _Sequence(saga, start).declined(turning[-1]) if turning else ()


class _Sequence:
    def __init__(self, saga: Saga, start: str) -> None:
        self._saga = saga
        self._start = start
        calls = [call for step in saga.calls for call in (step.action, step.compensation) if call]
        names = dict.fromkeys(call.service.name for call in calls)
        self._ids = {name: f"s{number}" for number, name in enumerate(names, 1)}

    def well(self) -> tuple[str, ...]:
        return (
            *self._opening(),
            *(line for step in self._saga.calls for line in self._done(step)),
            *self._answer_at(AT_COMPLETION),
            "    Note over gateway: COMPLETED",
        )

    def declined(self, path: FailurePath) -> tuple[str, ...]:
        steps = {step.name: step for step in self._saga.calls}
        before = self._saga.calls[: self._saga.calls.index(steps[path.step])]
        failed = steps[path.step].action
        return (
            *self._opening(),
            *(line for step in before for line in self._done(step)),
            self._call(failed),
            f"    {self._ids[failed.service.name]}--xgateway: declined",
            "    Note over gateway: COMPENSATING",
            *(line for undoing in path.undone for line in self._undone(steps[undoing.step])),
            "    Note over gateway: COMPENSATED",
        )

    def _opening(self) -> Iterator[str]:
        yield "sequenceDiagram"
        yield "    participant client as Client"
        yield "    participant gateway as Gateway"
        for name, identifier in self._ids.items():
            yield f"    participant {identifier} as {label(name)}"
        yield f"    client->>gateway: {label(self._start)}"
        if self._saga.respond.after == AT_ACCEPTANCE:
            yield "    gateway-->>client: 202"

    def _done(self, step: Step) -> Iterator[str]:
        yield self._call(step.action)
        yield f"    {self._ids[step.action.service.name]}-->>gateway: done"
        yield from self._answer_at(step.name)

    def _undone(self, step: Step) -> Iterator[str]:
        if step.compensation:
            yield self._call(step.compensation)
            yield f"    {self._ids[step.compensation.service.name]}-->>gateway: undone"

    def _answer_at(self, place: str) -> Iterator[str]:
        if self._saga.respond.after == place:
            yield f"    gateway-->>client: {final_status(self._saga.respond.status)}"

    def _call(self, call: Call) -> str:
        return f"    gateway->>{self._ids[call.service.name]}: {label(call.method.descriptor.name)}"


def states(saga: Saga, paths: FailurePaths) -> tuple[str, ...]:
    """Every way through the saga, as the engine decides it."""
    return tuple(_States(saga, paths).lines())


class _States:
    def __init__(self, saga: Saga, paths: FailurePaths) -> None:
        self._saga = saga
        self._paths = paths
        self._numbers = {step.name: number for number, step in enumerate(saga.calls, 1)}
        self._compensated = [step for step in saga.calls if step.compensation]

    def lines(self) -> Iterator[str]:
        yield "stateDiagram-v2"
        for name, number in self._numbers.items():
            yield f'    state "{label(name)}" as step{number}'
        for step in self._compensated:
            yield f'    state "undo {label(step.name)}" as undo{self._numbers[step.name]}'
        transitions = dict.fromkeys([*self._forward(), *self._turning(), *self._backward()])
        yield from transitions
        for end in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED):
            if any(f"--> {end}" in line for line in transitions):
                yield f"    {end} --> [*]"

    def _forward(self) -> Iterator[str]:
        yield "    [*] --> step1"
        count = len(self._saga.calls)
        for number in range(1, count):
            yield f"    step{number} --> step{number + 1} : done"
        yield f"    step{count} --> {SagaStatus.COMPLETED} : done"

    def _turning(self) -> Iterator[str]:
        for step in self._saga.calls:
            ends = {fault: self._goes_to(step, fault) for fault in Fault}
            for fault, end in ends.items():
                how = "fails" if len(set(ends.values())) == 1 else fault.value
                if end == SagaStatus.STUCK:
                    how = "gives up"
                yield f"    step{self._numbers[step.name]} --> {end} : {how}"

    def _goes_to(self, step: Step, fault: Fault) -> str:
        path = self._paths[step.name, fault]
        return next(
            (f"undo{self._numbers[each.step]}" for each in path.undone if not each.is_left), str(path.status)
        )

    def _backward(self) -> Iterator[str]:
        """Compensations are LIFO: from each to the one before it."""
        names = [f"undo{self._numbers[step.name]}" for step in self._compensated]
        for name, before in zip(names, [str(SagaStatus.COMPENSATED), *names], strict=False):
            yield f"    {name} --> {before} : undone"
            yield f"    {name} --> {SagaStatus.STUCK} : gives up"
