"""From a YAML scalar to a checked expression: parsed as CEL, or a number, boolean or null of YAML's own."""

import math

from sagagen.diagnostics import Report
from sagagen.expression.checker import Checker
from sagagen.expression.codes import Code
from sagagen.expression.environment import Environment
from sagagen.expression.literals import Fault
from sagagen.expression.parser import parse
from sagagen.expression.problem import Problem
from sagagen.expression.tree import Constant, Expr
from sagagen.expression.types import DOUBLE, Double, Integer, Simple, Type, plain
from sagagen.source import Scalar, Span


def checked(node: Scalar, wanted: Type | None, environment: Environment, report: Report) -> Expr | None:
    """The value of a scalar, or None after reporting why it has none. A YAML number takes the type `wanted`."""
    if (constant := _plain_constant(node, wanted)) is not None:
        return constant
    try:
        return Checker(node, environment, report).checked(parse(node.text))
    except Fault as fault:
        code = Code.BAD_LITERAL if fault.is_literal else Code.SYNTAX
        report(Problem(code, fault.message, fault.hint).at(node.at(fault.at)))
        return None


def start(node: Scalar) -> Span:
    """Where the expression starts, white space apart."""
    return node.at(len(node.text) - len(node.text.lstrip()))


def _plain_constant(node: Scalar, wanted: Type | None) -> Constant | None:
    """A YAML number takes the type of its field, since it can't say `5u` or `5.0` itself."""
    target = plain(wanted) if wanted else None
    match node.tag:
        case "null":
            return Constant(None, Simple.NULL)
        case "bool":
            return Constant(node.text.lower() == "true", Simple.BOOL)
        case "int":
            return _plain_integer(node.text, target)
        case "float":
            return Constant(_yaml_float(node.text), DOUBLE)
        case "str":
            return None


def _plain_integer(text: str, target: Type | None) -> Constant | None:
    value = _yaml_int(text)
    if value is None:
        return None
    if isinstance(target, Double) and int(float(value)) == value:
        return Constant(float(value), DOUBLE)
    is_signed = not (isinstance(target, Integer) and not target.is_signed)
    return Constant(value, Integer(is_signed, value, value))


def _yaml_int(text: str) -> int | None:
    """YAML 1.2: decimal (leading zeros mean nothing), 0o17, 0x1F. None for what only looks like one."""
    digits = text.replace("_", "")
    try:
        return int(digits, 0) if digits.lower().lstrip("+-").startswith(("0x", "0o", "0b")) else int(digits)
    except ValueError:
        return None


def _yaml_float(text: str) -> float:
    special = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    return special[text.lower()] if text.lower() in special else float(text.replace("_", ""))
