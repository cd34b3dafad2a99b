"""A saga with its names bound, but before its expressions are compiled: what the static checks look at."""

from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import Method, Service
from sagagen.contract.policies import Policy
from sagagen.contract.shape import CompensateShape, SagaShape, StepShape
from sagagen.runtime.model.definition import StepKind
from sagagen.source import Span


@dataclass(frozen=True, slots=True)
class Target:
    """A method of a service, as a step or compensation names it."""

    service: Service
    method: Method
    span: Span


class Undo(StrEnum):
    """What a step says about its compensation."""

    CALL = "call"
    NONE = "none"
    UNSAID = "unsaid"


@dataclass(frozen=True, slots=True)
class StepOutline:
    name: str
    span: Span
    kind: StepKind
    kind_span: Span
    """The place of the word that says it, otherwise of the step's name."""
    action: Target | None
    """None if it is wrong; then it was reported."""
    action_policy: Policy
    undo: Undo
    undo_span: Span
    compensation: Target | None
    compensation_policy: Policy
    shape: StepShape

    @property
    def compensate(self) -> CompensateShape | None:
        return self.shape.compensate if isinstance(self.shape.compensate, CompensateShape) else None


@dataclass(frozen=True, slots=True)
class SagaOutline:
    name: str
    span: Span
    trigger: MethodDescriptor | None
    """None if it is wrong; then it was reported."""
    trigger_span: Span
    deadline_s: float
    deadline_span: Span
    steps: tuple[StepOutline, ...]
    broken_steps: frozenset[str]
    """Steps that could not be read; the empty name: one whose name is unknown."""
    shape: SagaShape
