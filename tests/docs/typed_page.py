"""A page of the docs as somebody follows it: commands with what they print, and files with what is put into them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Command:
    """A line behind `$ `, and the lines below it."""

    line: str
    shows: str
    """What it prints; `...` stands for anything."""

    def matches(self, printed: str) -> bool:
        """It printed what the page shows."""
        pattern = ".*?".join(
            re.escape(part) for part in re.split(r"\.\.\.\n|\.\.\.", f"{self.shows.strip()}\n")
        )
        return re.fullmatch(pattern, f"{printed.strip()}\n", re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Edit:
    """A part of a file, or all of it, as the page shows it."""

    file: str
    kind: str
    text: str


def steps(page: str) -> Iterator[Command | Edit]:
    """What a reader does, in the order of the page. Blocks of `sh` are about the machine, and left out."""
    for block in _BLOCK.finditer(page):
        if block["kind"] == "console":
            yield from _commands(block["text"])
        elif block["title"]:
            yield Edit(block["title"], block["kind"], block["text"])


def _commands(text: str) -> Sequence[Command]:
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"a block of commands begins with what one prints: {parts[0]}"
    return [Command(line, shows) for line, _, shows in (part.partition("\n") for part in parts[1:])]


def make(edit: Edit, root: Path) -> None:
    """Write what the page shows to where it belongs."""
    file = root / edit.file
    if edit.kind == "proto":
        for message in re.findall(r"^message \w+ \{\n.*?^\}\n", edit.text, re.DOTALL | re.MULTILINE):
            _put(file, re.compile(rf"message {message.split()[1]} \{{.*?\}}\n", re.DOTALL), message)
    elif edit.kind == "yaml":
        indent, name = re.match(r"( *)- name: (\w+)\n", edit.text).groups()  # pyright: ignore[reportOptionalMemberAccess]
        _put(file, re.compile(rf"^ *- name: {name}\n(?:{indent} +.*\n)*", re.MULTILINE), edit.text)
    elif edit.text.lstrip().startswith("assert "):
        told = edit.text.split(" == ")[0]
        _put(file, re.compile(rf"^{re.escape(told)} == .*\n", re.MULTILINE), edit.text)
    else:
        file.write_text(edit.text, encoding="utf-8")


def _put(file: Path, where: re.Pattern[str], text: str) -> None:
    before = file.read_text(encoding="utf-8")
    after, count = where.subn(lambda _: text, before, count=1)
    assert count, f"{file.name} has no place for:\n{text}"
    file.write_text(after, encoding="utf-8")
