"""The fields of the input and of responses that a saga's expressions read."""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from sagagen.contract.model import Delay, Element, Parallel, Step, Wait
from sagagen.expression import MessageExpr
from sagagen.expression.tree import Comprehension, Expr, Field, Has, Input, StepResponse, Variable, walk
from sagagen.expression.value import ValueExpr
from sagagen.source import Span

Source = Input | StepResponse


def expressions(element: Element) -> Iterator[tuple[MessageExpr | ValueExpr, Span]]:
    """Whatever is evaluated when it begins, or is undone; blocks without what is in them."""
    if element.when:
        yield element.when, element.span
    match element:
        case Step():
            yield from ((call.request, call.span) for call in (element.action, element.compensation) if call)
            if element.for_each:
                yield from (
                    (each, element.span) for each in (element.for_each.items, element.for_each.key) if each
                )
        case Wait():
            if element.decline:
                yield element.decline.when, element.span
        case Delay():
            yield from ((each, element.span) for each in (element.after, element.at) if each)
        case Parallel():
            pass


def fields_read(expression: MessageExpr | ValueExpr) -> Iterator[tuple[Source, FieldDescriptor]]:
    """Each field that is read, and where its message came from; fields of constructed messages are left out."""
    variables = {
        node.variable: node.source for node in walk(expression.root) if isinstance(node, Comprehension)
    }
    for node in walk(expression.root):
        field = node.field if isinstance(node, Has) else node
        if isinstance(field, Field) and (source := _source(field, variables)):
            yield source, field.field


def _source(expr: Expr, variables: dict[Variable, Expr]) -> Source | None:
    """What an expression selects from; None if it computes something new."""
    while True:
        match expr:
            case Input() | StepResponse():
                return expr
            case Field(operand):
                expr = operand
            case Variable() if expr in variables:
                expr = variables[expr]
            case Comprehension():
                expr = expr.source
            case _:
                return None
