"""From the text of an expression to its syntax: cel-python's grammar, read by lark.

cel-python's own `CELParser` drops the places of `true` and `false` and refuses fields of these names; so only its
grammar is used, and this module tells the two words from names. Words that CEL reserves (`in`, `for`, `import`, ...)
may name fields: only a field can follow a dot, or precede the colon of a construction.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import cast

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from sagagen.expression.literals import (
    Fault,
    blanked,
    read_bytes,
    read_double,
    read_number,
    read_string,
)
from sagagen.expression.syntax import (
    Binary,
    Call,
    Construct,
    Index,
    Init,
    ListOf,
    Literal,
    LiteralKind,
    MapOf,
    Name,
    Select,
    Syntax,
    Ternary,
    Unary,
)

Branch = Tree[Token]
_DEPTH = 100
"""Levels of nesting. Nobody writes an expression with more, which would exhaust the stack."""

_OPERATORS: Mapping[str, str] = {
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_in": "in",
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
}
_QUOTE_HINT = """put quotes around a text: "'text'\""""
_UNITS = frozenset({"ms", "s", "m", "h", "d"})
_WORDS = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "if": "condition ? then : otherwise",
    "=": "==",
    "&": "&&",
    "|": "||",
}


@lru_cache(maxsize=4096)
def parse(text: str) -> Syntax:
    """Cached, since many sagas have the same few expressions. Raises Fault, with the offset of the offending token."""
    if not text.strip():
        raise Fault(0, "an expression is missing here", """for an empty text write "''\"""")
    try:
        return _Builder(text).build(_tree(blanked(text)))
    except UnexpectedToken as error:
        raise _unexpected(text, cast(Token, error.token)) from error
    except UnexpectedCharacters as error:
        at = cast(int, error.pos_in_stream)
        raise Fault(at, f'"{text[at]}" is not expected here', _hint(text, at, text[at])) from error


@cache
def _grammar() -> Lark:
    """Computing its tables takes 20 times as long as reading them, so they are kept where Python keeps its bytecode."""
    text = _grammar_text()
    made_from = "\0".join([text, version("lark"), sys.version])
    name = f"cel.{sha256(made_from.encode()).hexdigest()[:16]}.lark"
    tables = Path(__file__).with_name("__pycache__") / name
    if tables.exists():
        with tables.open("rb") as file:
            return Lark.load(file)  # pyright: ignore[reportUnknownMemberType]
    grammar = Lark(
        text,
        parser="lalr",
        start="expr",
        propagate_positions=True,
        maybe_placeholders=False,
        priority="invert",
    )
    if not sys.dont_write_bytecode:
        with suppress(OSError):  # the folder may be read-only
            _keep(grammar, tables)
    return grammar


def _grammar_text() -> str:
    # Found, not imported: importing celpy loads its evaluator too, which nothing here uses.
    package = importlib.util.find_spec("celpy")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("cel-python is not installed", name="celpy")
    return Path(package.submodule_search_locations[0], "cel.lark").read_text(encoding="utf-8")


def _keep(grammar: Lark, tables: Path) -> None:
    """All of it or nothing: another process may be reading."""
    temporary = tables.with_name(f"{tables.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        grammar.save(file)  # pyright: ignore[reportUnknownMemberType]
    os.replace(temporary, tables)


def _tree(text: str) -> Branch:
    return _grammar().parse(text)  # pyright: ignore[reportUnknownMemberType] - lark leaves its TextSlice open


def _unexpected(text: str, token: Token) -> Fault:
    if token.type == "$END":
        return Fault(len(text.rstrip()), "the expression ends too early", "complete or remove its last part")
    at = token.start_pos or 0
    word = text[at : token.end_pos]
    return Fault(at, f'"{word}" is not expected here', _hint(text, at, word))


def _hint(text: str, at: int, word: str) -> str:
    if word in _WORDS:
        return f'write "{_WORDS[word]}"'
    if word in _UNITS and at and text[at - 1].isdigit():
        return "expressions do not compute with time: a fixed duration stands alone, as in after: 5m"
    if word in ")]}" and text[:at].rstrip().endswith(","):
        return "remove the comma before it"
    return _QUOTE_HINT if word[0].isalnum() or word[0] in "_'\"@#$" else "remove it, or what comes before it"


class _Builder:
    """Turns lark's tree, in which every level of precedence is a node, into syntax."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self._rules: Mapping[str, Callable[[Branch], Syntax]] = {
            "expr": self._ternary,
            "conditionalor": lambda tree: self._joined(tree, "||"),
            "conditionaland": lambda tree: self._joined(tree, "&&"),
            "relation": self._binary,
            "addition": self._binary,
            "multiplication": self._binary,
            "unary": self._unary,
            "member_dot": self._select,
            "member_dot_arg": self._method,
            "member_index": self._index,
            "member_object": self._construct,
            "dot_ident_arg": self._call,
            "ident_arg": self._call,
            "dot_ident": self._name,
            "ident": self._name,
            "paren_expr": lambda tree: self.build(_branch(tree, 0)),
            "list_lit": lambda tree: ListOf(_start(tree), self._list(tree, 0)),
            "map_lit": self._map,
            "literal": self._literal,
        }

    def build(self, tree: Branch) -> Syntax:
        while len(tree.children) == 1 and isinstance(tree.children[0], Tree) and tree.data in _PASSED_THROUGH:
            tree = tree.children[0]
        self._depth += 1
        if self._depth > _DEPTH:
            raise Fault(_start(tree), "the expression is nested too deeply", "split it over several fields")
        built = self._rules[str(tree.data)](tree)
        self._depth -= 1
        return built

    def _ternary(self, tree: Branch) -> Syntax:
        condition, then, otherwise = (self.build(_branch(tree, n)) for n in range(3))
        return Ternary(_start(tree), condition, then, otherwise)

    def _joined(self, tree: Branch, operator: str) -> Syntax:
        left, right = _branch(tree, 0), _branch(tree, 1)
        at = self._text.index(operator, _end(left))
        return Binary(_start(tree), operator, at, self.build(left), self.build(right))

    def _binary(self, tree: Branch) -> Syntax:
        left, right = _branch(tree, 0), _branch(tree, 1)
        operator = _OPERATORS[str(left.data)]
        at = _end(left) - len(operator)
        return Binary(_start(tree), operator, at, self.build(_branch(left, 0)), self.build(right))

    def _unary(self, tree: Branch) -> Syntax:
        operator = "!" if _branch(tree, 0).data == "unary_not" else "-"
        return Unary(_start(tree), operator, self.build(_branch(tree, 1)))

    def _select(self, tree: Branch) -> Syntax:
        token = _token(tree, 1)
        return Select(_start(tree), self.build(_branch(tree, 0)), str(token), token.start_pos or 0)

    def _method(self, tree: Branch) -> Syntax:
        token = _token(tree, 1)
        receiver = self.build(_branch(tree, 0))
        return Call(_start(tree), str(token), token.start_pos or 0, receiver, self._list(tree, 2))

    def _call(self, tree: Branch) -> Syntax:
        token = _token(tree, 0)
        return Call(_start(tree), str(token), token.start_pos or 0, None, self._list(tree, 1))

    def _index(self, tree: Branch) -> Syntax:
        return Index(_start(tree), self.build(_branch(tree, 0)), self.build(_branch(tree, 1)))

    def _construct(self, tree: Branch) -> Syntax:
        type_name = self.build(_branch(tree, 0))
        inits = _branch(tree, 1) if len(tree.children) > 1 else None
        return Construct(_start(tree), type_name, self._inits(inits) if inits else ())

    def _inits(self, tree: Branch) -> tuple[Init, ...]:
        names = [_token(tree, n) for n in range(0, len(tree.children), 2)]
        values = [self.build(_branch(tree, n)) for n in range(1, len(tree.children), 2)]
        return tuple(
            Init(name.start_pos or 0, str(name), value) for name, value in zip(names, values, strict=True)
        )

    def _name(self, tree: Branch) -> Syntax:
        token = _token(tree, 0)
        if str(token) in ("true", "false"):
            return Literal(_start(tree), LiteralKind.BOOL, str(token) == "true")
        return Name(token.start_pos or 0, str(token), is_absolute=tree.data == "dot_ident")

    def _map(self, tree: Branch) -> Syntax:
        items = self._list(tree, 0)
        return MapOf(_start(tree), tuple(zip(items[::2], items[1::2], strict=True)))

    def _list(self, tree: Branch, child: int) -> tuple[Syntax, ...]:
        if len(tree.children) <= child:
            return ()
        items = _branch(tree, child)
        return tuple(self.build(_branch(items, n)) for n in range(len(items.children)))

    def _literal(self, tree: Branch) -> Syntax:
        token = _token(tree, 0)
        at = token.start_pos or 0
        text = self._text[at : token.end_pos]
        match token.type:
            case "INT_LIT":
                return Literal(at, LiteralKind.INT, read_number(text, at))
            case "UINT_LIT":
                return Literal(at, LiteralKind.UINT, read_number(text, at))
            case "FLOAT_LIT":
                return Literal(at, LiteralKind.DOUBLE, read_double(text, at))
            case "BYTES_LIT":
                return Literal(at, LiteralKind.BYTES, read_bytes(text, at))
            case "NULL_LIT":
                return Literal(at, LiteralKind.NULL, None)
            case _:
                return Literal(at, LiteralKind.STRING, read_string(text, at))


_PASSED_THROUGH = frozenset(
    {"expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary"}
    | {"member", "primary"}
)
"""Rules that mean their child if they have only one."""


def _branch(tree: Branch, child: int) -> Branch:
    node = tree.children[child]
    assert isinstance(node, Tree), f"the grammar has changed: {tree.data}"
    return node


def _token(tree: Branch, child: int) -> Token:
    node = tree.children[child]
    assert isinstance(node, Token), f"the grammar has changed: {tree.data}"
    return node


def _start(tree: Branch) -> int:
    return tree.meta.start_pos


def _end(tree: Branch) -> int:
    return tree.meta.end_pos
