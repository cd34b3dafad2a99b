"""A saga with its names bound, but before its expressions are compiled: what the static checks look at."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.broken import Broken
from sagagen.contract.element_shape import (
    CompensateShape,
    DelayShape,
    ParallelShape,
    StepShape,
    WaitShape,
)
from sagagen.contract.located import Located
from sagagen.contract.model import Method, Service
from sagagen.contract.policies import Policy
from sagagen.contract.shape import CancelShape, EventShape, SagaShape
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
class Kind:
    """The kind of an element, and what says so."""

    value: StepKind
    said: StepKind | None
    """By the element itself; otherwise it is that of its block, or compensatable."""
    span: Span
    """The place of the word that says it, otherwise of the element's name."""
    is_given: bool
    """By the block that it stands in."""


@dataclass(frozen=True, slots=True)
class StepOutline:
    """A call."""

    name: str
    span: Span
    place: Kind
    action: Target | None
    """None if it is wrong; then it was reported."""
    action_policy: Policy
    undo: Undo
    undo_span: Span
    compensation: Target | None
    compensation_policy: Policy
    shape: StepShape

    @property
    def kind(self) -> StepKind:
        return self.place.value

    @property
    def compensate(self) -> CompensateShape | None:
        return self.shape.compensate if isinstance(self.shape.compensate, CompensateShape) else None


@dataclass(frozen=True, slots=True)
class WaitOutline:
    name: str
    span: Span
    place: Kind
    event: str
    """As it is written: whether there is such an event is checked later."""
    shape: WaitShape

    @property
    def kind(self) -> StepKind:
        return self.place.value

    @property
    def within_s(self) -> float | None:
        return self.shape.within.value if self.shape.within is not None else None

    @property
    def goes_on(self) -> bool:
        """When nothing has come in time. After the pivot it can do nothing else."""
        said = self.shape.on_timeout
        return self.kind is StepKind.RETRIABLE if said is None else isinstance(said, Located)


@dataclass(frozen=True, slots=True)
class DelayOutline:
    name: str
    span: Span
    place: Kind
    shape: DelayShape

    @property
    def kind(self) -> StepKind:
        return self.place.value

    @property
    def longest_s(self) -> float | None:
        """None where nothing says so."""
        time = self.shape.delay
        if isinstance(time.after, Located):
            return time.after.value
        return time.at_most.value if time.at_most is not None else None


@dataclass(frozen=True, slots=True)
class BranchOutline:
    name: str
    span: Span
    steps: "tuple[ElementOutline, ...]"


@dataclass(frozen=True, slots=True)
class ParallelOutline:
    name: str
    span: Span
    place: Kind
    branches: tuple[BranchOutline, ...]
    shape: ParallelShape

    @property
    def kind(self) -> StepKind:
        return self.place.value


ElementOutline = StepOutline | WaitOutline | DelayOutline | ParallelOutline


def within(elements: Iterable[ElementOutline]) -> Iterator[ElementOutline]:
    """Elements and all that stands in their branches, in the order of the file; a block comes before its branches."""
    for element in elements:
        yield element
        if isinstance(element, ParallelOutline):
            for branch in element.branches:
                yield from within(branch.steps)


@dataclass(frozen=True, slots=True)
class EventOutline:
    name: str
    span: Span
    rpc: MethodDescriptor | None
    """None if it is wrong; then it was reported."""
    rpc_span: Span
    shape: EventShape


@dataclass(frozen=True, slots=True)
class CancelOutline:
    rpc: MethodDescriptor | None
    """None if it is wrong; then it was reported."""
    rpc_span: Span
    shape: CancelShape


@dataclass(frozen=True, slots=True)
class SagaOutline:
    name: str
    span: Span
    trigger: MethodDescriptor | None
    """None if it is wrong; then it was reported."""
    trigger_span: Span
    deadline_s: float
    deadline_span: Span
    steps: tuple[ElementOutline, ...]
    events: tuple[EventOutline, ...]
    cancel: CancelOutline | None
    broken: Broken
    shape: SagaShape

    @property
    def elements(self) -> tuple[ElementOutline, ...]:
        """Those in branches included, in the order of the file; a block comes before its branches."""
        return tuple(within(self.steps))

    @property
    def calls(self) -> tuple[StepOutline, ...]:
        return tuple(element for element in within(self.steps) if isinstance(element, StepOutline))

    @property
    def waits(self) -> tuple[WaitOutline, ...]:
        return tuple(element for element in within(self.steps) if isinstance(element, WaitOutline))

    @property
    def rpcs(self) -> Iterator[MethodDescriptor]:
        """Of events and the cancel, as far as they are known."""
        outlines = (*self.events, *((self.cancel,) if self.cancel else ()))
        return (each.rpc for each in outlines if each.rpc is not None)
