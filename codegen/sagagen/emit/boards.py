"""What the dashboards of a mesh show, as data: a run rebuilds a dashboard when its data has changed."""

from typing import NamedTuple, Self

from sagagen.contract.model import Delay, Mesh, Saga, Service, Step, Wait, leaves
from sagagen.emit.docs_text import in_words


class StepRow(NamedTuple):
    """A step on its saga's board."""

    name: str
    title: str
    is_undone: bool
    """It has a compensation."""

    @classmethod
    def of(cls, step: Step) -> Self:
        undone = f", undone by {step.compensation.method.descriptor.name}" if step.compensation else ""
        each = f", for each {step.for_each.variable}" if step.for_each else ""
        title = f"{step.name}: {step.action.service.name}/{step.action.method.descriptor.name}{each}{undone}"
        return cls(step.name, title, step.compensation is not None)


class PauseRow(NamedTuple):
    """A wait or a delay on its saga's board."""

    name: str
    title: str

    @classmethod
    def of(cls, pause: Wait | Delay) -> Self:
        if isinstance(pause, Wait):
            limit = "" if pause.within_s is None else f", at most {in_words(pause.within_s)}"
            return cls(pause.name, f"{pause.name}: waits for {pause.event}{limit}")
        length = "" if pause.after_s is None else f" of {in_words(pause.after_s)}"
        return cls(pause.name, f"{pause.name}: a delay{length}")


class SagaBoard(NamedTuple):
    """One saga: how its runs end, and a row for each step with its compensation."""

    project: str
    name: str
    deadline_s: float
    steps: tuple[StepRow | PauseRow, ...]
    pauses: bool
    """It waits for something, or begins later than it is accepted."""
    hears: bool
    """Events reach it, or requests to cancel it."""
    gives_up: bool
    """It may go on without what comes after its pivot."""

    @classmethod
    def of(cls, mesh: Mesh, saga: Saga) -> Self:
        rows = tuple(
            StepRow.of(each) if isinstance(each, Step) else PauseRow.of(each) for each in leaves(saga.steps)
        )
        return cls(
            mesh.project,
            saga.name,
            saga.deadline_s,
            rows,
            pauses=saga.start is not None or any(isinstance(row, PauseRow) for row in rows),
            hears=bool(saga.events) or saga.cancel is not None,
            gives_up=any(step.gives_up for step in saga.calls),
        )


class ServiceBoard(NamedTuple):
    """One service: its rpcs, what its barrier decides, and its commits."""

    project: str
    name: str
    implements: tuple[str, ...]
    """Full names of proto services."""

    @classmethod
    def of(cls, mesh: Mesh, service: Service) -> Self:
        return cls(mesh.project, service.name, tuple(each.full_name for each in service.implements))
