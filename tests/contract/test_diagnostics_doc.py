"""docs/diagnostics.md explains every code, and no other."""

import re
from collections import Counter

from contract_bench import ROOT

from sagagen.contract.codes import Code
from sagagen.expression import CODES

DOCUMENT = (ROOT / "docs" / "diagnostics.md").read_text("utf-8")
ROWS = Counter(re.findall(r"^\| (SG\d{3}) \|", DOCUMENT, re.MULTILINE))


def test_every_code_has_one_row() -> None:
    assert {code.value for code in Code} | set(CODES) <= set(ROWS)
    assert set(ROWS.values()) == {1}


def test_no_row_explains_a_code_that_nothing_reports() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "codegen" / "sagagen").rglob("*.py")]
    reported = {code for text in sources for code in re.findall(r'"(SG\d{3})"', text)}
    assert set(ROWS) == reported


def test_expressions_are_explained_in_their_own_words() -> None:
    assert all(f"| {code} | {text} |" in DOCUMENT for code, text in CODES.items())
