"""What the dashboards of a mesh show, as data: a run rebuilds a dashboard when its data has changed."""

from typing import NamedTuple, Self

from sagagen.contract.model import Mesh, Saga, Service, Step


class StepRow(NamedTuple):
    """A step on its saga's board."""

    name: str
    title: str
    is_undone: bool
    """It has a compensation."""

    @classmethod
    def of(cls, step: Step) -> Self:
        undone = f", undone by {step.compensation.method.descriptor.name}" if step.compensation else ""
        title = f"{step.name}: {step.action.service.name}/{step.action.method.descriptor.name}{undone}"
        return cls(step.name, title, step.compensation is not None)


class SagaBoard(NamedTuple):
    """One saga: how its runs end, and a row for each step with its compensation."""

    project: str
    name: str
    deadline_s: float
    steps: tuple[StepRow, ...]

    @classmethod
    def of(cls, mesh: Mesh, saga: Saga) -> Self:
        return cls(mesh.project, saga.name, saga.deadline_s, tuple(StepRow.of(step) for step in saga.calls))


class ServiceBoard(NamedTuple):
    """One service: its rpcs, what its barrier decides, and its commits."""

    project: str
    name: str
    implements: tuple[str, ...]
    """Full names of proto services."""

    @classmethod
    def of(cls, mesh: Mesh, service: Service) -> Self:
        return cls(mesh.project, service.name, tuple(each.full_name for each in service.implements))
