"""Walks over what a saga consists of."""

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.model import (
    Branch,
    Cancel,
    Decline,
    Delay,
    Element,
    Event,
    ForEach,
    IndexValue,
    Parallel,
    Saga,
    Start,
    Step,
    Wait,
)
from sagagen.runtime.model.definition import StepKind

CANCEL = "cancel"
"""`Route.event` of a request to cancel."""

Part = Element | Branch | ForEach | Decline | Event | Cancel | Start | IndexValue
"""What is built of a class of its own, in the contract's model as in the runtime's definition."""


def every(elements: Iterable[Element]) -> Iterator[Element]:
    """Elements and what stands in their branches, blocks before their branches, in the order of the file."""
    for element in elements:
        yield element
        if isinstance(element, Parallel):
            for branch in element.branches:
                yield from every(branch.steps)


def parts(saga: Saga) -> Iterator[Part]:
    for element in every(saga.steps):
        yield element
        match element:
            case Step(for_each=ForEach() as loop):
                yield loop
            case Wait(decline=Decline() as decline):
                yield decline
            case Parallel(branches=branches):
                yield from branches
            case _:
                pass
    yield from saga.events
    yield from saga.index
    yield from (each for each in (saga.cancel, saga.start) if each)


def rpcs(saga: Saga) -> Iterator[MethodDescriptor]:
    """Its trigger, those that its steps call, and those that reach it while it runs."""
    yield saga.trigger
    for step in saga.calls:
        yield from (call.method.descriptor for call in (step.action, step.compensation) if call)
    yield from incoming(saga)


def incoming(saga: Saga) -> Iterator[MethodDescriptor]:
    """The rpcs of its events, and the one that cancels it; each once."""
    found = [event.rpc for event in saga.events]
    yield from dict.fromkeys([*found, saga.cancel.rpc] if saga.cancel else found)


def longest_s(saga: Saga) -> float:
    """How long it may be open if every call is answered at once, in seconds: from its acceptance to its end."""
    return _start_s(saga.start) + saga.deadline_s + _pauses_s(saga.steps)


def _start_s(start: Start | None) -> float:
    if start is None:
        return 0.0
    return start.at_most_s if start.after_s is None else start.after_s


def _pauses_s(elements: Iterable[Element]) -> float:
    """Of waits and delays after the pivot, on which the deadline has no say."""
    return sum(_pause_s(element) for element in elements)


def _pause_s(element: Element) -> float:
    match element:
        case Parallel():
            return max((_pauses_s(branch.steps) for branch in element.branches), default=0.0)
        case Wait(kind=StepKind.RETRIABLE):
            return element.within_s or 0.0
        case Delay(kind=StepKind.RETRIABLE):
            return element.after_s or element.at_most_s or 0.0
        case _:
            return 0.0
