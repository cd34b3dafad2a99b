"""From syntax to a checked tree: looks up every name and finds every type."""

from collections.abc import Sequence
from typing import TypeGuard

from sagagen.diagnostics import Report
from sagagen.expression import functions, macros, operators, syntax, tree
from sagagen.expression.assignment import (
    Assembly,
    dynamic_problem,
    into_field,
    not_constructed,
    unknown_field,
)
from sagagen.expression.codes import Code
from sagagen.expression.environment import Environment
from sagagen.expression.guarded import guarded_form, unguarded
from sagagen.expression.guards import Known, both, known_where
from sagagen.expression.names import message_named
from sagagen.expression.problem import Problem
from sagagen.expression.roots import (
    ROOTS,
    Misplaced,
    below_root,
    claim,
    constant,
    given,
    has_response,
    is_claims,
    root,
)
from sagagen.expression.syntax import LiteralKind, Syntax, dotted
from sagagen.expression.tree import Expr, Operation
from sagagen.expression.types import (
    DOUBLE,
    Dynamic,
    Integer,
    ListType,
    MapType,
    MessageType,
    Simple,
    Type,
    Wrapper,
    field_type,
    joined,
    message_type,
    plain,
)
from sagagen.source import Scalar

_CONNECTIVES = {"&&": tree.Connective.AND, "||": tree.Connective.OR}
_SIMPLE = {
    LiteralKind.STRING: Simple.STRING,
    LiteralKind.BYTES: Simple.BYTES,
    LiteralKind.BOOL: Simple.BOOL,
    LiteralKind.NULL: Simple.NULL,
}
_COMPARE = "compare it with something"


class Checker:
    """Checks the expression of one YAML scalar. A result of None means that a mistake was reported."""

    def __init__(self, scalar: Scalar, environment: Environment, report: Report) -> None:
        self._scalar = scalar
        self._environment = environment
        self._report = report
        self._variables: dict[str, Expr] = dict(given(environment))
        self._bound = 0
        self._known: Known = environment.guaranteed
        self._unguarded: dict[str, int] = {}

    def checked(self, node: Syntax) -> Expr | None:
        """The whole expression, or None after reporting what is wrong with it."""
        value = self.check(node)
        for step, at in self._unguarded.items():
            form = value and guarded_form(self._scalar.text, node, value, self._unguarded, self._environment)
            self._wrong(at, unguarded(step, form or "", self._environment))
        return None if self._unguarded else value

    def check(self, node: Syntax) -> Expr | None:
        match node:
            case syntax.Literal():
                return literal(node)
            case syntax.Name():
                return self._variable(node) or self._located(root(node, self._environment, self._variables))
            case syntax.Select():
                return self._select(node)
            case syntax.Index():
                return self._index(node)
            case syntax.Call():
                return self._call(node)
            case syntax.Construct():
                return self._construct(node)
            case syntax.ListOf():
                return self._list(node)
            case syntax.MapOf():
                return self._map(node)
            case syntax.Unary():
                return self._unary(node)
            case syntax.Binary():
                return self._binary(node)
            case syntax.Ternary():
                return self._ternary(node)

    def _wrong(self, at: int, problem: Problem) -> None:
        self._report(problem.at(self._scalar.at(at)))

    def _located(self, result: Expr | Misplaced) -> Expr | None:
        return self._wrong(result.at, result.problem) if isinstance(result, Misplaced) else result

    def _kept(self, at: int, result: Expr | Problem) -> Expr | None:
        """`result`, unless it is a problem, or can fail where that is not allowed."""
        if isinstance(result, Problem):
            return self._wrong(at, result)
        if not self._environment.total or not isinstance(result, Operation):
            return result
        problem = operators.partial_problem(result, self._environment.ready_made)
        return self._wrong(at, problem) if problem else result

    # Names and fields

    def _variable(self, node: Syntax) -> Expr | None:
        if isinstance(node, syntax.Name) and not node.is_absolute:
            return self._variables.get(node.name)
        return None

    def _is_root(self, node: Syntax) -> TypeGuard[syntax.Name]:
        """`input`, `steps`, `saga` or `failure`, unless a macro's variable hides it."""
        return (
            isinstance(node, syntax.Name)
            and not node.is_absolute
            and node.name in ROOTS
            and node.name not in self._variables
        )

    def _select(self, node: syntax.Select) -> Expr | None:
        operand = node.operand
        if self._is_root(operand) and operand.name != "input":
            return self._noted(node, self._located(below_root(node, operand, self._environment)))
        if self._is_claims(operand):
            return self._located(claim(node, self._environment))
        path = dotted(node)
        if (
            path
            and not self._is_claims(path[0])
            and not self._is_root(path[0])
            and not self._variable(path[0])
        ):
            return self._located(constant(node, path, self._environment, self._variables))
        value = self.check(operand)
        return None if value is None else self._field(value, node)

    def _noted(self, node: syntax.Select, value: Expr | None) -> Expr | None:
        """`value`; where it is a response that may be missing, that is kept in mind until the whole is known."""
        match value:
            case tree.StepResponse(step) if value.is_guarded and not self._is_known(step):
                self._unguarded.setdefault(step, node.name_at)
            case _:
                pass
        return value

    def _is_known(self, step: str) -> bool:
        return self._known is None or step in self._known

    def _where(self, condition: Expr | None, node: Syntax, *, holds: bool) -> Expr | None:
        """Checks `node`, which is computed only where `condition` is `holds`."""
        before = self._known
        self._known = both(before, known_where(condition, holds=holds) if condition else None)
        value = self.check(node)
        self._known = before
        return value

    def _field(self, value: Expr, node: syntax.Select) -> tree.Field | None:
        if not isinstance(value.type, MessageType):
            return self._wrong(node.name_at, _no_fields(value.type, node.name))
        field = value.type.descriptor.fields_by_name.get(node.name)
        if field is None:
            return self._wrong(node.name_at, unknown_field(value.type, node.name))
        return tree.Field(value, field, field_type(field))

    def _has(self, node: syntax.Call) -> Expr | None:
        argument = node.arguments[0] if len(node.arguments) == 1 else None
        if isinstance(argument, syntax.Select) and self._is_steps(argument.operand):
            return self._located(has_response(argument, self._environment))
        if not isinstance(argument, syntax.Select) or self._is_no_message(argument.operand):
            problem = Problem(Code.WRONG_ARGUMENTS, "has() takes a selected field", "write has(input.field)")
            return self._wrong(argument.at if argument else node.name_at, problem)
        operand = self.check(argument.operand)
        field = operand and self._field(operand, argument)
        return tree.Has(field) if field else None

    def _is_claims(self, node: Syntax) -> bool:
        return is_claims(node, self._environment, self._variables)

    def _is_steps(self, node: Syntax) -> bool:
        return self._is_root(node) and node.name == "steps"

    def _is_no_message(self, node: Syntax) -> bool:
        return self._is_claims(node) or (self._is_root(node) and node.name != "input")

    def _index(self, node: syntax.Index) -> Expr | None:
        operand, index = self.check(node.operand), self.check(node.index)
        if operand is None or index is None:
            return None
        return self._kept(node.index.at, operators.index(operand, index))

    # Literals that hold other values

    def _construct(self, node: syntax.Construct) -> Expr | None:
        path = dotted(node.type_name)
        found = message_named(path, self._environment) if path else _NO_TYPE_NAME
        if isinstance(found, Problem):
            return self._wrong(node.at, found)
        type_ = message_type(found)
        if not isinstance(type_, MessageType):
            return self._wrong(node.at, not_constructed(type_))
        assembly = Assembly(type_, self._report)
        for init in node.inits:
            field = assembly.slot(init.name, self._scalar.at(init.at))
            value = self.check(init.value)
            if field is not None:
                fitted = value and into_field(value, field, self._environment)
                assembly.set(field, fitted and self._kept(init.value.at, fitted))
        return assembly.build()

    def _list(self, node: syntax.ListOf) -> Expr | None:
        items = self._all(node.items)
        if items is None:
            return None
        if not items:
            return tree.ListOf((), ListType(None))
        element = self._common_type(items, node.items)
        return tree.ListOf(tuple(items), ListType(element)) if element else None

    def _map(self, node: syntax.MapOf) -> Expr | None:
        names, values = [key for key, _ in node.entries], [value for _, value in node.entries]
        keys, items = self._all(names), self._all(values)
        if keys is None or items is None:
            return None
        if not keys:
            return tree.MapOf((), MapType(None, None))
        key, value = self._common_type(keys, names), self._common_type(items, values)
        if key is None or value is None or self._has_repeated_keys(keys, names):
            return None
        if not isinstance(key, Integer) and key not in (Simple.STRING, Simple.BOOL):
            problem = Problem(
                Code.WRONG_TYPE, f"{key} cannot be the key of a map", "keys are int, uint, bool or string"
            )
            return self._wrong(names[0].at, problem)
        return tree.MapOf(tuple(zip(keys, items, strict=True)), MapType(key, value))

    def _all(self, nodes: Sequence[Syntax]) -> list[Expr] | None:
        """Checks every node, so that all mistakes are reported; None if there are any."""
        checked = [self.check(node) for node in nodes]
        whole = [expr for expr in checked if expr is not None]
        return whole if len(whole) == len(checked) else None

    def _common_type(self, items: Sequence[Expr], nodes: Sequence[Syntax]) -> Type | None:
        common = plain(items[0].type)
        for item, node in zip(items, nodes, strict=True):
            type_ = plain(item.type)
            both = joined(common, type_)
            if both is None or both is Simple.NULL:
                message = (
                    "null cannot be an element"
                    if type_ is Simple.NULL
                    else f"{common} and {type_} do not mix here"
                )
                return self._wrong(
                    node.at, Problem(Code.MIXED_TYPES, message, "give all elements the same type")
                )
            common = both
        return common

    def _has_repeated_keys(self, keys: Sequence[Expr], nodes: Sequence[Syntax]) -> bool:
        seen: set[object] = set()
        for key, node in zip(keys, nodes, strict=True):
            if isinstance(key, tree.Constant):
                if key.value in seen:
                    message = f"the map has the key {key.value!r} twice"
                    self._wrong(node.at, Problem(Code.SET_TWICE, message, "remove one of the two"))
                    return True
                seen.add(key.value)
        return False

    # Operators

    def _unary(self, node: syntax.Unary) -> Expr | None:
        operand = self.check(node.operand)
        if operand is None:
            return None
        if node.operator == "-":
            return self._kept(node.at, operators.negate(operand))
        return self._kept(node.at, operators.invert(operand))

    def _binary(self, node: syntax.Binary) -> Expr | None:
        left = self.check(node.left)
        if node.operator not in _CONNECTIVES:
            right = self.check(node.right)
            if left is None or right is None:
                return None
            return self._kept(node.operator_at, operators.binary(node.operator, left, right))
        right = self._where(left, node.right, holds=node.operator == "&&")
        if left is None or right is None:
            return None
        for operand, side in ((left, node.left), (right, node.right)):
            if plain(operand.type) is not Simple.BOOL:
                message = f'"{node.operator}" takes two bools, not {operand.type}'
                return self._wrong(side.at, Problem(Code.WRONG_OPERANDS, message, _COMPARE))
        return tree.Logic(_CONNECTIVES[node.operator], left, right)

    def _ternary(self, node: syntax.Ternary) -> Expr | None:
        condition = self.check(node.condition)
        then = self._where(condition, node.then, holds=True)
        otherwise = self._where(condition, node.otherwise, holds=False)
        if condition is None or then is None or otherwise is None:
            return None
        if plain(condition.type) is not Simple.BOOL:
            message = f'the condition before "?" is {condition.type}, not bool'
            return self._wrong(node.condition.at, Problem(Code.WRONG_OPERANDS, message, _COMPARE))
        if type_ := joined(then.type, otherwise.type):
            return tree.Conditional(condition, then, otherwise, type_)
        message = f"one branch is {then.type}, the other {otherwise.type}"
        problem = Problem(Code.MIXED_TYPES, message, "give both branches the same type")
        return self._wrong(node.otherwise.at, problem)

    # Functions and macros

    def _call(self, node: syntax.Call) -> Expr | None:
        if problem := functions.refused(node.name):
            return self._wrong(node.name_at, problem)
        if node.name in macros.ARGUMENTS and node.receiver is not None:
            return self._macro(node, node.receiver)
        if node.name == "has" and node.receiver is None:
            return self._has(node)
        nodes = node.arguments if node.receiver is None else (node.receiver, *node.arguments)
        is_known = functions.is_known(node.name, is_method=node.receiver is not None)
        operands = self._all(nodes) if is_known else []
        if operands is None:
            return None
        apply = functions.global_function if node.receiver is None else functions.method
        return self._kept(node.name_at, apply(node.name, operands))

    def _macro(self, node: syntax.Call, receiver: Syntax) -> Expr | None:
        counts = macros.ARGUMENTS[node.name]
        variable = node.arguments[0] if len(node.arguments) in counts else None
        if not isinstance(variable, syntax.Name) or variable.is_absolute or variable.name in macros.RESERVED:
            message = f"{node.name}() takes a variable and an expression, as in {node.name}(x, ...)"
            problem = Problem(
                Code.WRONG_ARGUMENTS, message, "use a name that is not reserved as the variable"
            )
            return self._wrong(variable.at if variable else node.name_at, problem)
        source = self.check(receiver)
        if source is None:
            return None
        element = macros.element_of(source.type, node.name)
        if isinstance(element, Problem):
            return self._wrong(node.name_at, element)
        bound, parts = self._within(variable.name, element, node.arguments[1:])
        if parts is None:
            return None
        return self._kept(node.arguments[1].at, macros.comprehension(node.name, bound, source, tuple(parts)))

    def _within(
        self, name: str, element: Type, nodes: Sequence[Syntax]
    ) -> tuple[tree.Variable, list[Expr] | None]:
        """Checks `nodes` with a variable that hides any other of its name."""
        variable = tree.Variable(name, self._bound, element)
        self._bound += 1
        outer = self._variables
        self._variables = {**outer, name: variable}
        parts = self._all(nodes)
        self._variables = outer
        return variable, parts


def literal(node: syntax.Literal) -> tree.Constant:
    value = node.value
    match node.kind:
        case LiteralKind.INT | LiteralKind.UINT if isinstance(value, int):
            return tree.Constant(value, Integer(node.kind is LiteralKind.INT, value, value))
        case LiteralKind.DOUBLE:
            return tree.Constant(value, DOUBLE)
        case kind:
            return tree.Constant(value, _SIMPLE[kind])


_NO_TYPE_NAME = Problem(
    Code.UNKNOWN_TYPE, "a construction starts with the name of a message", "write Type{...}"
)


def _no_fields(type_: Type, name: str) -> Problem:
    match type_:
        case Simple.TIMESTAMP | Simple.DURATION:
            return operators.TIME
        case Dynamic():
            return dynamic_problem(type_)
        case MapType():
            return Problem(Code.NO_FIELDS, f'a map has no field "{name}"', f"write ['{name}']")
        case ListType():
            return Problem(Code.NO_FIELDS, f'a list has no field "{name}"', f"write .map(x, x.{name})")
        case Wrapper():
            return Problem(Code.NO_FIELDS, "a wrapper is its own value", f'remove ".{name}"')
        case _:
            return Problem(Code.NO_FIELDS, f'{type_} has no field "{name}"', f'remove ".{name}"')
