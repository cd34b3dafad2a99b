"""The grammar's tables are kept between starts, and never needed."""

from pathlib import Path

import pytest
from lark import Lark, Token, Tree

from sagagen.expression import parser

TEXT = "a.b + 1 > 2 ? x.map(y, y.z) : [{'k': v}]"


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for them, with none in it yet."""
    monkeypatch.setattr(parser, "__file__", str(tmp_path / "parser.py"))
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    (tmp_path / "__pycache__").mkdir()
    return tmp_path / "__pycache__"


def grammar() -> Lark:
    return parser._grammar.__wrapped__()  # pyright: ignore[reportPrivateUsage] - past the cache of the process


def parsed(text: str) -> Tree[Token]:
    return grammar().parse(text)  # pyright: ignore[reportUnknownMemberType] - lark's on_error


def test_tables_that_were_kept_parse_alike(tables: Path) -> None:
    made = parsed(TEXT)
    (kept,) = tables.iterdir()
    before = kept.stat().st_mtime_ns
    assert parsed(TEXT) == made
    assert [(path, path.stat().st_mtime_ns) for path in tables.iterdir()] == [(kept, before)]


def test_places_survive(tables: Path) -> None:
    grammar()
    tree = parsed("a +\n  b.c")
    (right,) = tree.find_pred(lambda node: node.data == "member_dot")
    assert (right.meta.line, right.meta.column, right.meta.start_pos) == (2, 3, 6)


def _another_version(_package: str) -> str:
    return "0.0.0"


def test_tables_of_another_grammar_are_not_read(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grammar()
    monkeypatch.setattr(parser, "version", _another_version)
    grammar()
    assert len(list(tables.iterdir())) == 2


def test_where_nothing_can_be_kept_it_is_made_each_time(tables: Path) -> None:
    tables.rmdir()
    assert parsed(TEXT) == parsed(TEXT)
    assert not tables.exists()


def test_who_keeps_no_bytecode_keeps_no_tables(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    grammar()
    assert not list(tables.iterdir())
