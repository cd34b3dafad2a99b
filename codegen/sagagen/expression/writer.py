"""Writes checked expressions as Python expressions over the generated message classes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

from google.protobuf.descriptor import EnumValueDescriptor, FieldDescriptor

from sagagen.expression import tree
from sagagen.expression.assignment import fits
from sagagen.expression.locals import Locals
from sagagen.expression.operations import is_range_checked, write_negation, write_operation
from sagagen.expression.python_code import Code, Precedence, call, constant, infix
from sagagen.expression.tree import (
    Connective,
    Expr,
    Macro,
    Operator,
    can_fail,
    is_filter,
    may_be_absent,
    walk,
)
from sagagen.expression.types import (
    Double,
    Dynamic,
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
_PLAIN_NAMES: dict[Type, str] = {Simple.STRING: "str", Simple.BYTES: "bytes", Simple.BOOL: "bool"}
_DEFAULTS = {Simple.STRING: '""', Simple.BYTES: 'b""', Simple.BOOL: "False"}
_PREDICATES = {Macro.EXISTS: ("any", "some"), Macro.ALL: ("all", "every")}
"""The Python for a macro whose predicate can't fail, and for one whose predicate can."""
_TIGHT = tuple(precedence for precedence in Precedence if precedence > Precedence.AND)


class Writer:
    """Writes the expressions of one function, and collects what they import."""

    def __init__(self, names: PythonNames, refer: Callable[[PyClass], str], local_names: Locals) -> None:
        self._names = names
        self._refer = refer
        self.locals = local_names
        self.imports: set[Import] = set()

    @classmethod
    def of(cls, root: Expr, names: PythonNames, refer: Callable[[PyClass], str]) -> Self:
        """A writer of the function that computes `root`."""
        certain = (
            node.step for node in walk(root) if isinstance(node, tree.StepResponse) and not node.is_guarded
        )
        item = next((node.name for node in walk(root) if isinstance(node, tree.Item)), None)
        return cls(names, refer, Locals(certain, item))

    def readings(self, root: Expr) -> Iterator[str]:
        """The lines before the value: what is read for certain gets a name."""
        responses = {node.step: node for node in walk(root) if isinstance(node, tree.StepResponse)}
        for step, local in self.locals.steps.items():
            yield f"{local} = {self._response(responses[step]).text}"
        for item in [node for node in walk(root) if isinstance(node, tree.Item)][:1]:
            yield f"{self.locals.item} = scope.item({self.type_name(item.type)})"

    def type_name(self, type_: Type) -> str:
        """The Python type of what an expression of this type returns."""
        match plain(type_):
            case EnumType(_, descriptor):
                return self._refer(self._names.enum(descriptor))
            case MessageType(_, descriptor) | Dynamic(_, descriptor):
                return self._refer(self._names.message(descriptor))
            case ListType(element) if element:
                return f"list[{self.type_name(element)}]"
            case MapType(key, element) if key and element:
                return f"dict[{self.type_name(key)}, {self.type_name(element)}]"
            case Simple.TIMESTAMP | Simple.DURATION as time:
                name = "datetime" if time is Simple.TIMESTAMP else "timedelta"
                self.imports.add(Import("datetime", name))
                return name
            case Integer():
                return "int"
            case Double():
                return "float"
            case single:
                return _PLAIN_NAMES[single]

    def value(self, expr: Expr) -> Code:
        """The expression's value; an unset field reads as its default."""
        if isinstance(expr, tree.Field) and has_presence(expr.field):
            return self._or_default(expr)
        return self._written(expr, is_optional=False)

    def optional(self, expr: Expr) -> Code:
        """The expression's value where it may be None: an unset field stays unset."""
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
            case tree.StartedAt():
                return Code("scope.started_at")
            case tree.Caller():
                return Code("scope.caller")
            case tree.Claim(name, type_):
                return _claim(name, type_)
            case tree.EventMessage():
                return Code("scope.event")
            case tree.RequestMessage():
                return Code("scope.request")
            case tree.ResponseMessage():
                return Code("scope.response")
            case tree.Item():
                return Code(self.locals.item)
            case tree.StepResponse(step):
                return self._response(expr) if expr.is_guarded else Code(self.locals.steps[step])
            case tree.HasResponse(step):
                return call("scope.has", f'"{step}"')
            case tree.Variable(_, number):
                return Code(self.locals.variable(number))
            case tree.Constant(value):
                return constant(value)
            case tree.EnumConstant(value):
                return self._member(value)
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

    def _response(self, expr: tree.StepResponse) -> Code:
        of_loop = isinstance(expr.type, ListType) and expr.type.element
        return call(
            "scope.responses" if of_loop else "scope.response",
            f'"{expr.step}"',
            self.type_name(of_loop or expr.type),
        )

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

    def _or_default(self, expr: tree.Field) -> Code:
        selected, number = self._selected(expr), expr.field.default_value
        if not number or isinstance(plain(expr.type), Dynamic | MessageType):
            return infix(selected, "or", Code(self._default(plain(expr.type))), Precedence.OR)
        # proto2 and editions: the field has its own default, or its enum begins above 0. A set value may be falsy.
        if isinstance(expr.type, EnumType):
            default = self._member(expr.type.descriptor.values_by_number[number])
        else:
            default = constant(number)
        return self.helper("or_if_unset", selected.text, default.text)

    def _member(self, value: EnumValueDescriptor) -> Code:
        return Code(f"{self._refer(self._names.enum(value.type))}.{self._names.enum_value(value)}")

    def _default(self, type_: Type) -> str:
        match type_:
            case MessageType(_, descriptor):
                return f"{self._refer(self._names.message(descriptor))}()"
            case Dynamic("google.protobuf.Value", descriptor):
                null = descriptor.fields_by_name["null_value"]
                assert null.enum_type
                value = self._member(null.enum_type.values[0]).text
                return f"{self._refer(self._names.message(descriptor))}({self._names.field(null)}={value})"
            case Dynamic(_, descriptor):
                return f"{self._refer(self._names.message(descriptor))}()"
            case EnumType(_, descriptor):
                return self._member(descriptor.values_by_number[0]).text
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
        # `a or b if c else d` needs no parentheses, but readers do.
        then, otherwise = branch(expr.then).at_least(Precedence.NOT), branch(expr.otherwise)
        is_chain = isinstance(expr.otherwise, tree.Conditional)
        last = otherwise.text if is_chain else otherwise.at_least(Precedence.NOT)
        return Code(f"{then} if {condition} else {last}", Precedence.CONDITIONAL)

    def _logic(self, expr: tree.Logic) -> Code:
        """Python's `and` and `or` are CEL's, unless the first operand fails: in CEL the second may still decide."""
        left, right = self.value(expr.left), self.value(expr.right)
        is_and = expr.connective is Connective.AND
        if can_fail(expr.left):
            thunks = (f"lambda: {operand.at_least(Precedence.CONDITIONAL)}" for operand in (left, right))
            return self.helper("both" if is_and else "either", *thunks)
        precedence = Precedence.AND if is_and else Precedence.OR
        # `and` inside `or` needs no parentheses, but readers do.
        sides = (
            side.text if side.precedence in (precedence, *_TIGHT) else f"({side.text})"
            for side in (left, right)
        )
        return Code(f" {expr.connective.value} ".join(sides), precedence)

    def _comprehension(self, expr: tree.Comprehension) -> Code:
        source, variables, condition = expr.source, [expr.variable], expr.condition
        if expr.macro is Macro.MAP and condition is None and is_filter(source):
            # xs.filter(x, ...).map(y, ...) is one comprehension, and x and y are one variable.
            source, variables, condition = source.source, [expr.variable, source.variable], source.condition
        loop_source = self.value(source).at_least(Precedence.OR)
        parts = [expr.result] if expr.macro is Macro.MAP else []
        used = [node for part in (*parts, condition) if part for node in walk(part)]
        name = (
            expr.variable.name
            if any(variable in used for variable in variables)
            else f"_{expr.variable.name}"
        )
        variable = self.locals.bind([variable.number for variable in variables], name)
        result = self.value(expr.result).text
        test = self.value(condition).at_least(Precedence.OR) if condition else ""
        self.locals.release([variable.number for variable in variables])
        if expr.macro in _PREDICATES and condition and can_fail(condition):
            return self.helper(_PREDICATES[expr.macro][1], loop_source, f"lambda {variable}: {test}")
        return _loop(expr.macro, result, f"for {variable} in {loop_source}", test)

    # Numbers

    def _narrow(self, expr: tree.Narrow, *, is_optional: bool) -> Code:
        target = plain(expr.type)
        if is_optional and may_be_absent(expr.operand):
            check = self.helper(_range_check(target)).text
            return self.helper("unless_unset", self.optional(expr.operand).text, check)
        operand = expr.operand
        if isinstance(operand, tree.Operation) and is_range_checked(operand) and isinstance(target, Integer):
            operand = replace(operand, can_fail=False)  # the narrower check covers the wider one
        return self._narrowed(self.value(operand), plain(operand.type), target)

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


def _claim(name: str, type_: Type) -> Code:
    if isinstance(type_, ListType):
        return call("scope.claim_list", f'"{name}"')
    return call("scope.claim", f'"{name}"', "int" if isinstance(type_, Integer) else _PLAIN_NAMES[type_])


def _loop(macro: Macro, result: str, each: str, test: str) -> Code:
    match macro:
        case Macro.MAP:
            return Code(f"[{result} {each} if {test}]" if test else f"[{result} {each}]")
        case Macro.EXISTS_ONE:
            return Code(f"sum(1 {each} if {test}) == 1", Precedence.COMPARISON)
        case Macro.EXISTS | Macro.ALL:
            return Code(f"{_PREDICATES[macro][0]}({test} {each})")


def _range_check(target: Type | None) -> str:
    """The helper that lets only fitting values pass."""
    if isinstance(target, Integer):
        return f"{target}{64 if target.high > 2**32 else 32}"
    return "float32"
