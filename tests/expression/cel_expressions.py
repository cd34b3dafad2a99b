"""Random expressions of CEL, well-typed by construction, and values for what they read."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st

INTS = st.one_of(
    st.sampled_from([0, 1]),
    st.sampled_from([0, 1, -1, 2, -3, 7, 10, 2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63)]),
    st.integers(-20, 20),
    st.integers(-(2**63), 2**63 - 1),
)
UINTS = st.one_of(st.sampled_from([0, 1, 2, 3, 2**32, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
SMALLS = st.one_of(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]), st.integers(-9, 9))
DOUBLES = st.one_of(
    st.sampled_from(
        [0.0, -0.0, 1.0, -1.5, 0.1, 1e19, -1e19, 1e308, float("inf"), float("-inf"), float("nan")]
    ),
    st.floats(width=64),
)
STRINGS = st.text(st.sampled_from("abcxyz é😀'\"\\\n\t"), max_size=4)
BYTES = st.binary(max_size=3)


@dataclass(frozen=True)
class Expression:
    """A text in CEL, and the field of `Everything` that its value goes into."""

    text: str
    target: str


VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "big": INTS,
    "small": SMALLS,
    "count": UINTS,
    "real": DOUBLES,
    "text": STRINGS,
    "from": STRINGS,
    "raw": BYTES,
    "flag": st.booleans(),
    "done": st.booleans(),
    "numbers": st.lists(INTS, max_size=3),
    "small_numbers": st.lists(SMALLS, max_size=3),
    "words": st.lists(STRINGS, max_size=3),
    "reals": st.lists(DOUBLES, max_size=3),
    "totals": st.dictionaries(st.sampled_from(["a", "b", "c"]), INTS, max_size=3),
}
INPUTS = st.fixed_dictionaries(dict(VALUES))
ITEMS = st.lists(st.fixed_dictionaries({"name": STRINGS, "quantity": SMALLS, "price": DOUBLES}), max_size=3)


def quoted(text: str) -> str:
    """A string literal of CEL; every character that has an escape in one of its forms."""
    escapes = {"\\": "\\\\", "'": "\\x27", "\n": "\\n", "\t": "\\t"}
    return f"'{''.join(escapes.get(character, character) for character in text)}'"


def quoted_bytes(value: bytes) -> str:
    return "b'" + "".join(f"\\x{byte:02x}" for byte in value) + "'"


def double_text(value: float) -> str:
    """A literal of a finite double. A zero has no sign here: CEL has no literal -0.0, it is the negation of 0.0."""
    text = repr(abs(value))
    text = text if "." in text or "e" in text else f"{text}.0"
    return f"(-{text})" if value < 0 else text


INDICES = st.sampled_from(["0", "1", "2", "3"])
"""None below 0: cel-python counts those from the end of the list, as Python does. CEL: no such element."""
FINITE = DOUBLES.filter(lambda value: value == value and abs(value) != float("inf"))


@dataclass(frozen=True)
class Grammar:
    """Strategies by type. Built once for each depth and scope: building them costs more than drawing from them."""

    depth: int
    variables: frozenset[tuple[str, str]] = frozenset()
    """Type and name of the variables of the macros around."""

    @cache  # noqa: B019 - there are a few dozen, and the process is a test's
    def of(self, kind: str) -> st.SearchStrategy[str]:
        leaves = self._leaves(kind)
        if self.depth <= 0:
            return leaves
        return st.one_of(leaves, self._branches(kind), self._branches(kind))

    def _leaves(self, kind: str) -> st.SearchStrategy[str]:
        literals: dict[str, st.SearchStrategy[str]] = {
            "int": INTS.map(lambda n: str(n) if n >= 0 else f"({n})"),
            "uint": UINTS.map(lambda n: f"{n}u"),
            "double": FINITE.map(double_text),
            "string": STRINGS.map(quoted),
            "bytes": BYTES.map(quoted_bytes),
            "bool": st.sampled_from(["true", "false"]),
            "ints": st.lists(INTS, min_size=1, max_size=3).map(lambda items: str(items)),
            "strings": st.lists(STRINGS.map(quoted), min_size=1, max_size=3).map(
                lambda items: f"[{', '.join(items)}]"
            ),
        }
        fields = {
            "int": ["input.big", "input.small"],
            "uint": ["input.count"],
            "double": ["input.real"],
            "string": ["input.text", "input.from"],
            "bytes": ["input.raw"],
            "bool": ["input.flag", "input.done"],
            "ints": ["input.numbers", "input.small_numbers"],
            "strings": ["input.words"],
        }
        read = [*fields[kind], *(name for of, name in sorted(self.variables) if of == kind)]
        return st.one_of(st.sampled_from(read), literals[kind])

    def _inner(self) -> "Grammar":
        return Grammar(self.depth - 1, self.variables)

    def _with(self, kind: str, name: str) -> "Grammar":
        return Grammar(self.depth - 1, self.variables | {(kind, name)})

    def _branches(self, kind: str) -> st.SearchStrategy[str]:
        inner = self._inner()
        same, truth = inner.of(kind), inner.of("bool")
        ternary = st.builds("({} ? {} : {})".format, truth, same, same)
        specific = getattr(self, f"_{kind}")(inner)
        return st.one_of(ternary, *specific)

    def _int(self, inner: "Grammar") -> list[st.SearchStrategy[str]]:
        number = inner.of("int")
        operator = st.sampled_from(["+", "-", "*", "/", "%"])
        return [
            st.builds("({} {} {})".format, number, operator, number),
            st.builds("({} {} {})".format, number, operator, number),
            st.builds("-({})".format, number),
            st.builds(
                "size({})".format,
                st.one_of(*(inner.of(kind) for kind in ("string", "bytes", "ints", "strings"))),
            ),
            st.builds("int({})".format, st.one_of(inner.of("uint"), inner.of("double"), number)),
            st.builds("{}[{}]".format, inner.of("ints"), INDICES),
            st.builds("input.totals[{}]".format, st.sampled_from(["'a'", "'b'", "'c'"])),
            st.builds("{}({})".format, st.sampled_from(["sum", "min", "max"]), inner.of("ints")),
        ]

    def _uint(self, inner: "Grammar") -> list[st.SearchStrategy[str]]:
        operator = st.sampled_from(["+", "-", "*", "/", "%"])
        return [
            st.builds("({} {} {})".format, inner.of("uint"), operator, inner.of("uint")),
            st.builds("uint({})".format, inner.of("int")),
        ]

    def _double(self, inner: "Grammar") -> list[st.SearchStrategy[str]]:
        operator = st.sampled_from(["+", "-", "*"])
        # cel-python 0.5 gives inf for every division by zero (DoubleType.__truediv__), so no divisor is zero here.
        divisor = FINITE.filter(lambda value: value != 0.0).map(double_text)
        return [
            st.builds("({} {} {})".format, inner.of("double"), operator, inner.of("double")),
            st.builds("({} / {})".format, inner.of("double"), divisor),
            st.builds("double({})".format, inner.of("int")),
            st.builds("{}(input.reals)".format, st.sampled_from(["sum", "min", "max"])),
            st.builds("-({})".format, inner.of("double")),
        ]

    def _string(self, inner: "Grammar") -> list[st.SearchStrategy[str]]:
        return [
            st.builds("({} + {})".format, inner.of("string"), inner.of("string")),
            st.builds("string({})".format, st.one_of(inner.of("int"), inner.of("uint"))),
            st.builds("{}[{}]".format, inner.of("strings"), INDICES),
        ]

    def _bytes(self, inner: "Grammar") -> list[st.SearchStrategy[str]]:
        return [
            st.builds("({} + {})".format, inner.of("bytes"), inner.of("bytes")),
            st.builds("bytes({})".format, inner.of("string")),
        ]

    def _bool(self, inner: "Grammar") -> list[st.SearchStrategy[str]]:
        truth = inner.of("bool")
        comparison = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
        ordered = st.sampled_from(["int", "uint", "double", "string", "bytes", "bool"])
        item = self._with("int", "n").of("bool")
        word = self._with("string", "w").of("bool")
        macro = st.sampled_from(["exists", "all", "exists_one"])
        return [
            st.builds("({} {} {})".format, truth, st.sampled_from(["&&", "||"]), truth),
            st.builds("({} {} {})".format, truth, st.sampled_from(["&&", "||"]), truth),
            st.builds(
                "({} / {} > 0 {} {})".format,
                inner.of("int"),
                inner.of("int"),
                st.sampled_from(["&&", "||"]),
                truth,
            ),
            st.builds("!({})".format, truth),
            ordered.flatmap(
                lambda kind: st.builds("({} {} {})".format, inner.of(kind), comparison, inner.of(kind))
            ),
            st.builds("({} in {})".format, inner.of("int"), inner.of("ints")),
            st.builds(
                "({} in {})".format,
                inner.of("string"),
                st.one_of(inner.of("strings"), st.just("input.totals")),
            ),
            st.builds(
                "{}.{}({})".format,
                self._leaves("string"),  # cel-python 0.5: the sum of two strings has no such methods
                st.sampled_from(["contains", "startsWith", "endsWith"]),
                inner.of("string"),
            ),
            st.builds("{}.{}(n, {})".format, inner.of("ints"), macro, item),
            st.builds("{}.{}(w, {})".format, inner.of("strings"), macro, word),
        ]

    def _ints(self, inner: "Grammar") -> list[st.SearchStrategy[str]]:
        number = self._with("int", "n")
        return [
            st.builds("({} + {})".format, inner.of("ints"), inner.of("ints")),
            st.builds("{}.map(n, {})".format, inner.of("ints"), number.of("int")),
            st.builds("{}.filter(n, {})".format, inner.of("ints"), number.of("bool")),
            st.builds("{}.map(w, {})".format, inner.of("strings"), self._with("string", "w").of("int")),
        ]

    def _strings(self, inner: "Grammar") -> list[st.SearchStrategy[str]]:
        word = self._with("string", "w")
        return [
            st.builds("({} + {})".format, inner.of("strings"), inner.of("strings")),
            st.builds("{}.map(w, {})".format, inner.of("strings"), word.of("string")),
            st.builds("{}.filter(w, {})".format, inner.of("strings"), word.of("bool")),
            st.builds("{}.map(n, {})".format, inner.of("ints"), self._with("int", "n").of("string")),
        ]


TARGETS = {
    "int": "big",
    "uint": "count",
    "double": "real",
    "string": "text",
    "bytes": "raw",
    "bool": "flag",
    "ints": "numbers",
    "strings": "words",
}


def expressions(depth: int = 3) -> st.SearchStrategy[Expression]:
    return st.sampled_from(sorted(TARGETS)).flatmap(
        lambda kind: Grammar(depth).of(kind).map(lambda text: Expression(text, TARGETS[kind]))
    )
