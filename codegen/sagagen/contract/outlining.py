"""Binds the names of a saga: its shape becomes an outline."""

from collections.abc import Sequence

from sagagen.contract.calls import CallResolver
from sagagen.contract.element_shape import (
    CompensateShape,
    DelayShape,
    ElementShape,
    ParallelShape,
    StepShape,
    WaitShape,
)
from sagagen.contract.located import Key
from sagagen.contract.outline import (
    BranchOutline,
    Broken,
    CancelOutline,
    DelayOutline,
    ElementOutline,
    EventOutline,
    Kind,
    ParallelOutline,
    SagaOutline,
    StepOutline,
    Undo,
    WaitOutline,
)
from sagagen.contract.policies import Policies
from sagagen.contract.shape import CancelShape, EventShape, SagaShape
from sagagen.runtime.model.definition import StepKind

DEADLINE_S = 60.0


def outline_saga(
    name: Key, shape: SagaShape, broken: Broken, policies: Policies, calls: CallResolver
) -> SagaOutline:
    deadline = shape.deadline
    return SagaOutline(
        name=str(name),
        span=name.span,
        trigger=calls.trigger(shape.trigger),
        trigger_span=shape.trigger.span,
        deadline_s=DEADLINE_S if deadline is None else deadline.value,
        deadline_span=name.span if deadline is None else deadline.span,
        steps=_elements(shape.steps, None, policies, calls),
        events=tuple(_event(key, event, calls) for key, event in (shape.events or {}).items()),
        cancel=_cancel(shape.cancel, calls) if shape.cancel is not None else None,
        broken=broken,
        shape=shape,
    )


def _event(name: Key, shape: EventShape, calls: CallResolver) -> EventOutline:
    return EventOutline(str(name), name.span, calls.event(shape.rpc), shape.rpc.span, shape)


def _cancel(shape: CancelShape, calls: CallResolver) -> CancelOutline:
    return CancelOutline(calls.event(shape.rpc), shape.rpc.span, shape)


def _elements(
    shapes: Sequence[ElementShape], block: StepKind | None, policies: Policies, calls: CallResolver
) -> tuple[ElementOutline, ...]:
    pivot = next((index for index, shape in enumerate(shapes) if _said(shape) is StepKind.PIVOT), len(shapes))
    return tuple(
        _element(shape, _kind(shape, block, is_past=index > pivot), policies, calls)
        for index, shape in enumerate(shapes)
    )


def _said(shape: ElementShape) -> StepKind | None:
    return None if shape.kind is None else StepKind(shape.kind.value)


def _kind(shape: ElementShape, block: StepKind | None, *, is_past: bool) -> Kind:
    """`block`: the kind of the block that it stands in, which is that of all steps in it; `is_past`: the pivot."""
    said = _said(shape)
    if isinstance(shape, ParallelShape) and said is None and is_past:
        own = StepKind.RETRIABLE  # nothing else can stand there; that it does not say so is reported
    elif isinstance(shape, ParallelShape | DelayShape) and said is StepKind.PIVOT:
        own = StepKind.COMPENSATABLE  # which is reported; the steps in it shall cause no findings
    else:
        own = said or StepKind.COMPENSATABLE
    span = shape.name.span if shape.kind is None else shape.kind.span
    return Kind(block or own, said, span, is_given=block is not None)


def _element(shape: ElementShape, kind: Kind, policies: Policies, calls: CallResolver) -> ElementOutline:
    name, span = shape.name.value, shape.name.span
    match shape:
        case StepShape():
            return _step(shape, kind, policies, calls)
        case WaitShape():
            return WaitOutline(name, span, kind, shape.wait.value, shape)
        case DelayShape():
            return DelayOutline(name, span, kind, shape)
        case ParallelShape():
            branches = tuple(
                BranchOutline(str(key), key.span, _elements(steps, kind.value, policies, calls))
                for key, steps in shape.parallel.items()
            )
            return ParallelOutline(name, span, kind, branches, shape)


def _step(shape: StepShape, kind: Kind, policies: Policies, calls: CallResolver) -> StepOutline:
    undo = shape.compensate
    is_call = isinstance(undo, CompensateShape)
    return StepOutline(
        name=shape.name.value,
        span=shape.name.span,
        place=kind,
        action=calls.target(shape.call),
        action_policy=policies.of_step(shape, kind.value),
        undo=Undo.UNSAID if undo is None else Undo.CALL if is_call else Undo.NONE,
        undo_span=shape.name.span if undo is None else undo.call.span if is_call else undo.span,
        compensation=calls.target(undo.call) if is_call else None,
        compensation_policy=policies.of_compensation(undo) if is_call else policies.compensation,
        shape=shape,
    )
