"""map, filter, exists, all and exists_one: what they run over, and what they return."""

from sagagen.expression.codes import Code
from sagagen.expression.problem import Problem
from sagagen.expression.tree import Comprehension, Expr, Macro, Variable
from sagagen.expression.types import ListType, MapType, Simple, Type, plain

ARGUMENTS = {"map": (2, 3), "filter": (2,), "exists": (2,), "all": (2,), "exists_one": (2,)}
"""Name -> number of arguments, including the variable."""
RESERVED = frozenset(
    {
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
    }
    | {"namespace", "null", "package", "return", "true", "var", "void", "while"}
)
"""CEL's reserved words: allowed as names of fields, but not of variables."""


def element_of(source: Type, macro: str) -> Type | Problem:
    """The type of the variable of a macro over `source`."""
    match source:
        case ListType(element) if element is not None:
            return element
        case ListType():
            return Problem(Code.WRONG_ARGUMENTS, f"{macro}() over an empty list does nothing", "remove it")
        case MapType():
            return Problem(
                Code.MAP_ITERATION,
                f"{macro}() does not run over a map, which has no order",
                "use a repeated field",
            )
        case _:
            return Problem(
                Code.WRONG_ARGUMENTS, f"{macro}() runs over a list, not {source}", "select a repeated field"
            )


def comprehension(macro: str, variable: Variable, source: Expr, parts: tuple[Expr, ...]) -> Expr | Problem:
    """`parts`: the arguments after the variable, at most a condition and a result."""
    condition = parts[0] if macro != "map" or len(parts) > 1 else None
    if condition is not None and plain(condition.type) is not Simple.BOOL:
        return Problem(
            Code.WRONG_ARGUMENTS,
            f"{macro}() takes a bool, not {condition.type}",
            "compare it with something",
        )
    if macro == "filter":
        return Comprehension(Macro.MAP, variable, source, condition, variable, source.type)
    if macro == "map":
        result = parts[len(parts) - 1]
        return Comprehension(Macro.MAP, variable, source, condition, result, ListType(plain(result.type)))
    return Comprehension(Macro(macro), variable, source, condition, variable, Simple.BOOL)
