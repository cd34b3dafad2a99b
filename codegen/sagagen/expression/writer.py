"""Writes checked expressions as Python expressions over the generated message classes."""

from collections.abc import Callable

from google.protobuf.descriptor import FieldDescriptor

from sagagen.expression import tree
from sagagen.expression.assignment import fits
from sagagen.expression.locals import Locals
from sagagen.expression.operations import write_negation, write_operation
from sagagen.expression.python_code import Code, Precedence, call, constant, infix
from sagagen.expression.tree import Connective, Expr, Macro, Operator, can_fail, may_be_absent
from sagagen.expression.types import (
    Double,
    EnumType,
    Integer,
    ListType,
    MapType,
    MessageType,
    Simple,
    Type,
    has_presence,
    plain,
)
from sagagen.python_names import Import, PyClass, PythonNames

_RUNTIME = "sagagen.runtime.expression"
_DEFAULTS = {Simple.STRING: '""', Simple.BYTES: 'b""', Simple.BOOL: "False"}


class Writer:
    """Writes the expressions of one function, and notes what they import."""

    def __init__(self, names: PythonNames, refer: Callable[[PyClass], str], local_names: Locals) -> None:
        self._names = names
        self._refer = refer
        self.locals = local_names
        self.imports: set[Import] = set()

    def value(self, expr: Expr) -> Code:
        """The expression's value: what is unset reads as its default."""
        if isinstance(expr, tree.Field) and has_presence(expr.field):
            default = self._default(plain(expr.type))
            return infix(self._selected(expr), "or", Code(default), Precedence.OR)
        return self._written(expr, is_optional=False)

    def optional(self, expr: Expr) -> Code:
        """The expression's value for what may be None: a field that is unset stays unset."""
        if isinstance(expr, tree.Field):
            return self._selected(expr)
        return self._written(expr, is_optional=True)

    def _written(self, expr: Expr, *, is_optional: bool) -> Code:
        match expr:
            case tree.Input():
                return Code("scope.input")
            case tree.SagaId():
                return Code("scope.saga_id")
            case tree.FailureField(name):
                return Code(f"scope.failure.{name}")
            case tree.StepResponse(step):
                return Code(self.locals.steps[step])
            case tree.Variable(_, number):
                return Code(self.locals.variable(number))
            case tree.Constant(value):
                return constant(value)
            case tree.EnumConstant(value):
                return Code(f"{self._refer(self._names.enum(value.type))}.{self._names.enum_value(value)}")
            case tree.Conditional():
                return self._conditional(expr, is_optional=is_optional)
            case tree.Narrow():
                return self._narrow(expr, is_optional=is_optional)
            case _:
                return self._compound(expr)

    def _compound(self, expr: Expr) -> Code:
        match expr:
            case tree.Field():
                return self._selected(expr)
            case tree.Has(field):
                return self._has(field, is_negated=False)
            case tree.Operation():
                return self._operation(expr)
            case tree.Logic():
                return self._logic(expr)
            case tree.Build():
                return self._build(expr)
            case tree.ListOf(items):
                return Code(f"[{self._arguments(items)}]")
            case tree.MapOf(entries):
                pairs = (f"{self._argument(key)}: {self._argument(value)}" for key, value in entries)
                return Code(f"{{{', '.join(pairs)}}}")
            case tree.Comprehension():
                return self._comprehension(expr)
            case _:
                raise AssertionError(f"unreachable: {expr}")

    def helper(self, name: str, *arguments: str) -> Code:
        """A name of sagagen.runtime.expression, called if there are arguments."""
        self.imports.add(Import(_RUNTIME, name))
        return call(name, *arguments) if arguments else Code(name)

    def _argument(self, expr: Expr) -> str:
        return self.value(expr).text

    def _arguments(self, operands: tuple[Expr, ...]) -> str:
        return ", ".join(self._argument(operand) for operand in operands)

    def _operation(self, expr: tree.Operation) -> Code:
        if expr.operator is not Operator.NOT:
            return write_operation(expr, self)
        operand = expr.operands[0]
        if isinstance(operand, tree.Has):
            return self._has(operand.field, is_negated=True)
        return write_negation(operand, self)

    # Messages

    def _selected(self, expr: tree.Field) -> Code:
        operand = self.value(expr.operand).at_least(Precedence.PRIMARY)
        return Code(f"{operand}.{self._names.field(expr.field)}")

    def _default(self, type_: Type) -> str:
        match type_:
            case MessageType(_, descriptor):
                return f"{self._refer(self._names.message(descriptor))}()"
            case EnumType(_, descriptor):
                zero = self._names.enum_value(descriptor.values_by_number[0])
                return f"{self._refer(self._names.enum(descriptor))}.{zero}"
            case Simple.TIMESTAMP:
                return self.helper("EPOCH").text
            case Simple.DURATION:
                self.imports.add(Import("datetime", "timedelta"))
                return "timedelta()"
            case Simple():
                return _DEFAULTS[type_]
            case _:
                return "0.0" if isinstance(type_, Double) else "0"

    def _has(self, field: tree.Field, *, is_negated: bool) -> Code:
        selected = self._selected(field)
        if has_presence(field.field):
            return Code(f"{selected.text} is {'' if is_negated else 'not '}None", Precedence.COMPARISON)
        if isinstance(field.type, ListType | MapType):
            operator = "==" if is_negated else ">"
            return Code(f"len({selected.text}) {operator} 0", Precedence.COMPARISON)
        if field.type is Simple.BOOL:
            return Code(f"not {selected.text}", Precedence.NOT) if is_negated else selected
        operator = "==" if is_negated else "!="
        return infix(selected, operator, Code(self._default(field.type)), Precedence.COMPARISON)

    def _build(self, expr: tree.Build) -> Code:
        arguments = (
            f"{self._names.field(field)}={self._assigned(value, field)}" for field, value in expr.fields
        )
        return call(self._refer(self._names.message(expr.type.descriptor)), *arguments)

    def _assigned(self, value: Expr, field: FieldDescriptor) -> str:
        return (self.optional(value) if has_presence(field) else self.value(value)).text

    # Choices

    def _conditional(self, expr: tree.Conditional, *, is_optional: bool) -> Code:
        branch = self.optional if is_optional else self.value
        condition = self.value(expr.condition).at_least(Precedence.OR)
        then, otherwise = branch(expr.then).at_least(Precedence.OR), branch(expr.otherwise)
        text = f"{then} if {condition} else {otherwise.at_least(Precedence.CONDITIONAL)}"
        return Code(text, Precedence.CONDITIONAL)

    def _logic(self, expr: tree.Logic) -> Code:
        """Python's `and` and `or` are CEL's, unless the first operand fails: then the second may still decide."""
        left, right = self.value(expr.left), self.value(expr.right)
        is_and = expr.connective is Connective.AND
        if can_fail(expr.left):
            thunks = (f"lambda: {operand.at_least(Precedence.CONDITIONAL)}" for operand in (left, right))
            return self.helper("both" if is_and else "either", *thunks)
        precedence = Precedence.AND if is_and else Precedence.OR
        text = f"{left.at_least(precedence)} {expr.connective.value} {right.at_least(precedence)}"
        return Code(text, precedence)

    def _comprehension(self, expr: tree.Comprehension) -> Code:
        source = self.value(expr.source).at_least(Precedence.OR)
        variable = self.locals.bind(expr.variable.number, expr.variable.name)
        result = self.value(expr.result).text
        condition = self.value(expr.condition).at_least(Precedence.OR) if expr.condition else ""
        fails = expr.condition is not None and can_fail(expr.condition)
        self.locals.release(expr.variable.number)
        each = f"for {variable} in {source}"
        match expr.macro:
            case Macro.MAP:
                return Code(f"[{result} {each} if {condition}]" if condition else f"[{result} {each}]")
            case Macro.EXISTS_ONE:
                return Code(f"sum(1 {each} if {condition}) == 1", Precedence.COMPARISON)
            case Macro.EXISTS | Macro.ALL if fails:
                name = "some" if expr.macro is Macro.EXISTS else "every"
                return self.helper(name, source, f"lambda {variable}: {condition}")
            case Macro.EXISTS | Macro.ALL:
                return Code(f"{'any' if expr.macro is Macro.EXISTS else 'all'}({condition} {each})")

    # Numbers

    def _narrow(self, expr: tree.Narrow, *, is_optional: bool) -> Code:
        target = plain(expr.type)
        if is_optional and may_be_absent(expr.operand):
            check = self.helper(_range_check(target)).text
            return self.helper("unless_unset", self.optional(expr.operand).text, check)
        return self._narrowed(self.value(expr.operand), plain(expr.operand.type), target)

    def _narrowed(self, value: Code, source: Type | None, target: Type | None) -> Code:
        """`value` with a check of every number in it that may not fit."""
        if fits(source, target):
            return value
        match source, target:
            case ListType(element), ListType(wanted):
                item = self._narrowed(Code("value"), element, wanted)
                return Code(f"[{item.text} for value in {value.at_least(Precedence.OR)}]")
            case MapType(key, element), MapType(wanted_key, wanted):
                name = self._narrowed(Code("key"), key, wanted_key)
                item = self._narrowed(Code("value"), element, wanted)
                items = f"{value.at_least(Precedence.PRIMARY)}.items()"
                return Code(f"{{{name.text}: {item.text} for key, value in {items}}}")
            case _:
                return self.helper(_range_check(target), value.text)


def _range_check(target: Type | None) -> str:
    """The helper that lets only what fits pass."""
    if isinstance(target, Integer):
        return f"{target}{64 if target.high > 2**32 else 32}"
    return "float32"
