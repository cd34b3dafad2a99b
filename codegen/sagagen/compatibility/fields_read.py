"""The fields of the input, of responses and of events that an expression reads."""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from sagagen.expression.compiled import CompiledExpr
from sagagen.expression.tree import (
    Comprehension,
    EventMessage,
    Expr,
    Field,
    Has,
    Input,
    Item,
    Operation,
    Operator,
    StepResponse,
    Variable,
    walk,
)

Source = Input | StepResponse | EventMessage


def fields_read(
    expression: CompiledExpr, items: Expr | None = None
) -> Iterator[tuple[Source, FieldDescriptor]]:
    """Each field that is read, and where its message came from; fields of constructed messages are left out.

    `items`: the list that a loop around it runs over.
    """
    variables: dict[Variable, Expr] = {
        node.variable: node.source for node in walk(expression.root) if isinstance(node, Comprehension)
    }
    for node in walk(expression.root):
        field = node.field if isinstance(node, Has) else node
        if isinstance(field, Field) and (source := _source(field, variables, items)):
            yield source, field.field


def _source(expr: Expr | None, variables: dict[Variable, Expr], items: Expr | None) -> Source | None:
    """What an expression selects from; None if it computes something new."""
    while True:
        match expr:
            case Input() | StepResponse() | EventMessage():
                return expr
            case Field(operand):
                expr = operand
            case Operation(Operator.ITEM | Operator.LOOKUP, operands):
                expr = operands[0]
            case Variable() if expr in variables:
                expr = variables[expr]
            case Comprehension():
                expr = expr.source
            case Item():
                expr = items
            case _:
                return None
