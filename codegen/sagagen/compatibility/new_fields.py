"""Fields that are new, and that a saga's expressions read: what was sent or logged before has not set them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor

from sagagen.compatibility.change import Change, Rule, Target
from sagagen.compatibility.fields_read import Source, fields_read
from sagagen.compatibility.rules import outside as outside_rules
from sagagen.compatibility.rules import sagas as saga_rules
from sagagen.compatibility.tree import Tree
from sagagen.contract.model import Delay, Element, Mesh, Parallel, Saga, Step, Wait
from sagagen.expression.compiled import CompiledExpr
from sagagen.expression.tree import Claim, EventMessage, Expr, Input, StepResponse, walk
from sagagen.source import Span


class _Expression(NamedTuple):
    of: str
    """The element, event or `cancel` that it belongs to."""
    compiled: CompiledExpr
    at: Span
    items: Expr | None = None
    """The list that a loop around it runs over."""


def new_fields_read(old: Saga, new: Saga, known: frozenset[str]) -> Iterator[Change]:
    """`known`: full names of the messages and fields that the old contract has."""
    for each in _expressions(new):
        for source, field in dict.fromkeys(fields_read(each.compiled, each.items)):
            # A wholly new message has a rule of its own.
            if field.full_name not in known and field.full_name.rpartition(".")[0] in known:
                rule, of = _meaning(source)
                message = f"{field.full_name}, which is new, is read from {of}"
                target = Target(old.name, old.version)
                yield Change.of(rule, each.at, f"{new.name}/{each.of}", message, target)


def claims_read(saga: Saga) -> frozenset[str]:
    """Claims that its open instances may still read."""
    expressions = [*(each.compiled for each in _expressions(saga)), *filter(None, [saga.respond.body])]
    return frozenset(node.name for each in expressions for node in walk(each.root) if isinstance(node, Claim))


def _meaning(source: Source) -> tuple[Rule, str]:
    match source:
        case Input():
            return saga_rules.NEW_INPUT_READ, "input"
        case StepResponse():
            return saga_rules.NEW_OUTPUT_READ, f"steps.{source.step}"
        case EventMessage():
            return outside_rules.EVENT_FIELD_READ, "event"


def _expressions(saga: Saga) -> Iterator[_Expression]:
    for name, place in Tree.of(saga).places.items():
        element = place.element
        if element.when:
            yield _Expression(name, element.when, element.span, _items(element))
        yield from _own(element)
    for event in saga.events:
        for each in filter(None, (event.saga_id, event.allow, event.body)):
            yield _Expression(event.name, each, event.span)
    if saga.cancel:
        for each in filter(None, (saga.cancel.saga_id, saga.cancel.allow)):
            yield _Expression("cancel", each, saga.cancel.span)


def _items(element: Element) -> Expr | None:
    loop = element.for_each if isinstance(element, Step) else None
    return loop.items.root if loop else None


def _own(element: Element) -> Iterator[_Expression]:
    """What an element of its sort has; a block has no more than its branches."""
    match element:
        case Step():
            yield from _of_step(element)
        case Wait():
            if element.decline:
                yield _Expression(element.name, element.decline.when, element.span)
        case Delay():
            for each in filter(None, (element.after, element.at)):
                yield _Expression(element.name, each, element.span)
        case Parallel():
            pass


def _of_step(step: Step) -> Iterator[_Expression]:
    for call in filter(None, (step.action, step.compensation)):
        yield _Expression(step.name, call.request, call.span, _items(step))
    if step.for_each:
        for each in filter(None, (step.for_each.items, step.for_each.key)):
            yield _Expression(step.name, each, step.span, _items(step))


def names_of(mesh: Mesh) -> frozenset[str]:
    """Full names of the contract's own messages and of their fields."""
    messages = [m for file in mesh.files for m in _messages(file.message_types_by_name.values())]
    fields = {field.full_name for message in messages for field in message.fields}
    return frozenset(fields | {message.full_name for message in messages})


def _messages(messages: Iterable[Descriptor]) -> Iterator[Descriptor]:
    for message in messages:
        yield message
        yield from _messages(message.nested_types)
