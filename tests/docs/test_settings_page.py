"""docs/settings.md has every variable that the code reads, and no other."""

import re
from dataclasses import fields

from stack import REPOSITORY

from sagagen.runtime.model.definition import Limits

PAGE = (REPOSITORY / "docs/settings.md").read_text(encoding="utf-8")
CODE = REPOSITORY / "codegen/sagagen"
VARIABLE = re.compile(r"\b(?:SAGAGEN|OTEL)_[A-Z][A-Z_]*[A-Z]\b")
OF_ONE = re.compile(r"SAGAGEN_(?:<SERVICE>|\{[^{}]*\})_([A-Z][A-Z_]*[A-Z])")
"""A service's: in the page, or in an f-string."""
BETWEEN_OUR_PROCESSES = {
    "SAGAGEN_ANNOUNCES",
    "SAGAGEN_COMPLETE",
    "SAGAGEN_LIFELINE_FD",
    "SAGAGEN_WARM_FD",
}
EXAMPLES = {"SAGAGEN_JWKS_FILE_CUSTOMERS"}
"""Of a scheme, whose name ends the variable."""


def variables(text: str) -> set[str]:
    """Without `_FILE`, which a secret may have or not."""
    return {name.removesuffix("_FILE") for name in VARIABLE.findall(text)}


def in_code() -> set[str]:
    text = "\n".join(
        file.read_text(encoding="utf-8")
        for suffix in ("py", "j2")
        for file in CODE.rglob(f"*.{suffix}")
        if "templates/shop" not in str(file)
    )
    limits = {f"SAGAGEN_{limit.name.upper()}" for limit in fields(Limits)}
    return (variables(text) | limits) - BETWEEN_OUR_PROCESSES - EXAMPLES


def test_every_variable_of_the_code_is_on_the_page() -> None:
    assert sorted(in_code() - variables(PAGE)) == []


def test_the_page_has_no_variable_that_nobody_reads() -> None:
    assert sorted(variables(PAGE) - in_code()) == []


def test_variables_of_one_service_are_on_the_page() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in (CODE / "runtime").rglob("*.py"))
    of_one = {name.removesuffix("_FILE") for name in OF_ONE.findall(text)}
    assert of_one == {name.removesuffix("_FILE") for name in OF_ONE.findall(PAGE)}
