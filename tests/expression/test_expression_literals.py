"""Literals mean what the CEL specification says, and syntax keeps its places."""

import pytest

from sagagen.expression import syntax
from sagagen.expression.literals import Fault
from sagagen.expression.parser import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a'", "a"),
        ('"it\'s"', "it's"),
        (r"'it\'s'", "it's"),
        (r'"say \"yes\""', 'say "yes"'),
        ("'''it's'''", "it's"),
        ("'''two\nlines'''", "two\nlines"),
        ("''", ""),
        ("''''''", ""),
        (r"'\a\b\f\n\r\t\v\\\?\`'", "\a\b\f\n\r\t\v\\?`"),
        (r"'\x41\X42\u0043\U0001F600\101'", "ABC😀A"),
        (r"'\xff'", "ÿ"),
        (r"r'\d+'", r"\d+"),
        (r"R'\'", "\\"),
        ("'// no comment'", "// no comment"),
        (r"b'\xff\377a'", b"\xff\xffa"),
        ("b'ÿ'", "ÿ".encode()),
        (r"br'\x'", rb"\x"),
        ("42", 42),
        ("0x1F", 31),
        ("-0x10", -16),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551615u", 2**64 - 1),
        ("0xFFu", 255),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-2.5E-1", -0.25),
        ("true", True),
        ("null", None),
        ("1 // one", 1),
        ("// it's one\n1", 1),
    ],
)
def test_a_literal_has_its_value(text: str, value: object) -> None:
    literal = parse(text)
    assert isinstance(literal, syntax.Literal)
    assert literal.value == value
    assert type(literal.value) is type(value)


@pytest.mark.parametrize(
    "word", ["true", "false", "null", "in", "as", "for", "import", "class", "from", "package"]
)
def test_reserved_words_are_names_of_fields(word: str) -> None:
    assert parse(f"input.{word}") == syntax.Select(0, syntax.Name(0, "input"), word, 6)
    assert parse(f"A{{{word}: x}}") == syntax.Construct(
        0, syntax.Name(0, "A"), (syntax.Init(2, word, syntax.Name(4 + len(word), "x")),)
    )


def test_operators_keep_the_place_of_their_sign() -> None:
    assert parse("a  + 'x+y'  *  c") == syntax.Binary(
        0,
        "+",
        3,
        syntax.Name(0, "a"),
        syntax.Binary(5, "*", 12, syntax.Literal(5, syntax.LiteralKind.STRING, "x+y"), syntax.Name(15, "c")),
    )
    both = parse("(a)  ||  b && c")
    assert isinstance(both, syntax.Binary)
    assert (both.operator, both.operator_at) == ("||", 5)


def test_minus_binds_to_a_number_where_no_operand_stands_before_it() -> None:
    assert parse("a-1") == syntax.Binary(
        0, "-", 1, syntax.Name(0, "a"), syntax.Literal(2, syntax.LiteralKind.INT, 1)
    )
    assert parse("-1") == syntax.Literal(0, syntax.LiteralKind.INT, -1)


def test_nesting_has_a_limit() -> None:
    assert parse("(" * 90 + "1" + ")" * 90) == syntax.Literal(90, syntax.LiteralKind.INT, 1)
    with pytest.raises(Fault, match="nested too deeply"):
        parse("(" * 500 + "1" + ")" * 500)
    with pytest.raises(Fault, match="nested too deeply"):
        parse("!" * 5000 + "a")
