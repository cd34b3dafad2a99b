"""The fields of the input and of responses that a request is built from."""

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from sagagen.expression import MessageExpr
from sagagen.expression.tree import Comprehension, Expr, Field, Has, Input, StepResponse, Variable, walk

Source = Input | StepResponse


def fields_read(request: MessageExpr) -> Iterator[tuple[Source, FieldDescriptor]]:
    """Each field that is read, and where its message came from; fields of constructed messages are left out."""
    variables = {node.variable: node.source for node in walk(request.root) if isinstance(node, Comprehension)}
    for node in walk(request.root):
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
