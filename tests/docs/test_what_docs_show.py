"""What README and docs show exists: each command with its options, each key of each YAML. Sentences can be read."""

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import click
import pytest
import yaml
from jsonschema import Draft202012Validator
from stack import REPOSITORY

from sagagen.cli import main
from sagagen.contract import saga_schema

sys.path.insert(0, str(REPOSITORY / "tools"))

import saga_yaml_reference

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>[^\n]*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"`(sagagen [^`\n]+)`")
ENDS = frozenset({"&&", "|", ";", ">", "<"})
"""Words that end a command on its line."""
NAMES_OF_CONNECTIONS = "sagagen order"


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Kind and text of each block of a page."""
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        text = re.sub(rf"^{block['indent']}", "", block["text"], flags=re.MULTILINE)
        yield block["kind"].split(" ")[0], text


# -- commands ---------------------------------------------------------------------------------------------------------


def commands_of(page: Path) -> Iterator[str]:
    """Each command of sagagen that a page shows, in its blocks and in its sentences."""
    for kind, text in blocks(page):
        for line in text.replace("\\\n", " ").splitlines() if kind in ("", "sh", "console") else ():
            yield from (each[1] for each in re.finditer(r"(?:^\$ |^|&& |=\S+ )(sagagen .*)", line.strip()))
    quoted = QUOTED.findall(page.read_text(encoding="utf-8"))
    yield from (each for each in quoted if not each.startswith(NAMES_OF_CONNECTIONS))


def unknown_in(command: str) -> list[str]:
    """The words of a command that are no subcommand and no option; names in capitals stand for the reader's own."""
    words = shlex.split(command.replace("...", " "), comments=True)[1:]
    words = words[: next((number for number, word in enumerate(words) if word in ENDS), None)]
    found: click.Command = main
    context = click.Context(found)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        name, *others = words.pop(0).split("|")
        if name.isupper():
            return []
        missing = [each for each in (name, *others) if found.get_command(context, each) is None]
        if missing and not found.invoke_without_command:
            return missing
        if missing:
            break
        found = found.get_command(context, name) or found
    meant = [found]
    if isinstance(found, click.Group):  # no subcommand is named: any of them is meant
        meant += [each for name in found.list_commands(context) if (each := found.get_command(context, name))]
    params = [param for each in meant for param in each.params]
    known = {option for param in params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    asked = {
        part for word in words if re.match(r"--?[a-z]", word) for part in word.partition("=")[0].split("|")
    }
    return sorted(asked - known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists(page: Path) -> None:
    unknown = {command: words for command in commands_of(page) if (words := unknown_in(command))}
    assert not unknown


def test_commands_are_found_and_a_wrong_one_is_seen() -> None:
    found = {command for page in PAGES for command in commands_of(page)}
    assert len(found) > 100
    assert unknown_in("sagagen sagas lst") == ["lst"]
    assert unknown_in("sagagen sagas list --olderthan 1h") == ["--olderthan"]
    assert unknown_in("sagagen sagas retry|cancle SAGA_ID") == ["cancle"]


# -- YAML -------------------------------------------------------------------------------------------------------------


@cache
def shapes() -> Mapping[str, Mapping[str, Any]]:
    """The objects of saga.yaml by name, `` that of the file, without what they require: a page shows parts of them."""
    text = json.dumps(dict(saga_schema()))
    schema: dict[str, Any] = json.loads(text)
    for node in (schema, *schema["$defs"].values()):
        if node.get("title") in ("saga.yaml", "SagaShape", "ServiceShape", "SecuritySection"):
            node.pop("required", None)
    return {"": schema, **schema["$defs"]}


def wrong_with(part: Any) -> list[str]:
    """What saga.yaml's schema says against a part of the file; nothing of what is a part of another file."""
    named = shapes()
    whole = named[""]
    if isinstance(part, list):
        return _errors(part, {"items": whole["$defs"]["SagaShape"]["properties"]["steps"]["items"]})
    if not isinstance(part, dict):
        return []
    members: Mapping[str, Any] = cast(dict[str, Any], part)
    if members.keys() <= set(whole["properties"]):
        return _errors(part, whole)
    fitting = [
        shape for name, shape in named.items() if name and members.keys() <= set(shape.get("properties", {}))
    ]
    found = [_errors(part, {**shape, "required": []}) for shape in fitting]
    return min(found, key=len) if found else []


def _errors(part: Any, schema: Mapping[str, Any]) -> list[str]:
    whole = {**schema, "$defs": shapes()[""]["$defs"]}
    return [error.message for error in Draft202012Validator(whole).iter_errors(part)]  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_yaml_of_a_page_can_be_read_and_has_no_key_that_saga_yaml_lacks(page: Path) -> None:
    for kind, text in blocks(page):
        if kind == "yaml":
            for part in yaml.safe_load_all(text):
                assert not wrong_with(json.loads(json.dumps(part, default=str))), text


def test_yaml_is_found_and_a_wrong_key_is_seen() -> None:
    shown = [text for page in PAGES for kind, text in blocks(page) if kind == "yaml"]
    assert len(shown) > 25
    assert wrong_with({"sagas": {"one": {"tigger": "a.B/C"}}})
    assert wrong_with([{"name": "ship", "call": "shipping/Ship", "compensated": "none"}])
    assert wrong_with({"respond": {"after": "acceptance", "state": 202}}) or wrong_with(
        {"respond": {"status": 900}}
    )


# -- sentences --------------------------------------------------------------------------------------------------------


def sentences(page: Path) -> list[list[str]]:
    """The words of each sentence of a page's paragraphs and lists; a quoted name or command is one word."""
    text = BLOCK.sub("\n\n", page.read_text(encoding="utf-8"))
    text = re.sub(r"^(#.*|\|.*)$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "name", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"(?<=[.!?:])\s+|\n\s*\n|\n\s*(?:-|\d+\.)\s", text)
    return [words for part in parts if (words := re.findall(r"[\w'’-]+", part))]


@pytest.mark.parametrize("name", ["tutorial.md", "deployment.md", "migration.md"])
def test_sentences_are_short(name: str) -> None:
    found = sentences(REPOSITORY / "docs" / name)
    long = [" ".join(words) for words in found if len(words) > 25]
    assert not long
    assert sum(map(len, found)) / len(found) <= 15


# -- the reference ----------------------------------------------------------------------------------------------------


def test_the_reference_has_every_key_of_the_schema() -> None:
    page = REPOSITORY / "docs" / "saga-yaml-reference.md"
    cure = "python tools/saga_yaml_reference.py > docs/saga-yaml-reference.md"
    assert page.read_text(encoding="utf-8") == saga_yaml_reference.page(), cure
