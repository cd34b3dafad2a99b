"""The catalogue as one Markdown document: docs/diagnostics.md."""

from collections.abc import Iterator

from sagagen.catalogue import SECTIONS
from sagagen.catalogue.entry import FILE_NAME, Entry, Section

_HEAD = """# Diagnostics

What `sagagen check` and `sagagen generate` report. Each finding names a place, says what is wrong, and suggests the
edit that fixes it:

```text
contracts/saga.yaml:38:25: error[SG065]: service "inventory" has no rpc "ReserveStok"
  hint: did you mean "ReserveStock" (contracts/shop/inventory/v1/inventory.proto:11:7)?
```

Codes are stable: each keeps its meaning, and none is reused. With an error nothing is generated, and the command
exits with 1; warnings and notes (marked below) do neither. One run reports everything that can be found: a mistake
does not hide others, and does not cause others to be reported. `--format json` and `--format github` are for programs
and pull requests. `sagagen explain CODE` shows one entry, and also explains the [rules of the diff](diff-rules.md).

This document is the output of `sagagen explain --format markdown`.
"""


def markdown() -> str:
    return "\n".join([_HEAD, *(line for section in SECTIONS for line in _section(section))])


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {section.title}", "")
    if section.note:
        yield from (section.note, "")
    for entry in section.entries:
        yield from _entry(entry)


def _entry(entry: Entry) -> Iterator[str]:
    yield from (
        f"### {entry.code}",
        "",
        f"{'Warning: ' if entry.is_warning else 'Note: ' if entry.is_note else ''}{entry.cause} **{entry.cure}**",
        "",
    )
    if entry.wrong:
        yield "```diff"
        if entry.where != FILE_NAME:
            yield f"# {entry.where}"
        yield from (f"- {line}" for line in entry.wrong.splitlines())
        yield from (f"+ {line}" for line in entry.right.splitlines())
        yield from ("```", "")
