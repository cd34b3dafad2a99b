"""Prints docs/saga-yaml-reference.md: every key of saga.yaml, from the schema that editors are given.

python tools/saga_yaml_reference.py > docs/saga-yaml-reference.md
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sagagen.contract import saga_schema

Node = Mapping[str, Any]

DURATION = r"(ms|s|m|h|d)"
"""Part of the pattern of every duration."""
NAMED = "NAME"
ROOT = "the file"

HEAD = """\
# saga.yaml: every key

This page is made from the schema that editors use (`generated/saga.schema.json`).
[saga.yaml](saga-yaml.md) tells what the keys mean together.

- A **duration** is a number with `ms`, `s`, `m`, `h` or `d`: `250ms`, `1h30m`.
- An **expression** is read as [expressions](expressions.md) says: `input.total_minor > 10000`.
- A key in **bold** is required. `NAME` stands for a name that you choose, `[]` for each element of a list.
"""


def page() -> str:
    """The whole page, as Markdown."""
    schema = saga_schema()
    places = [*_places(schema)]
    sections = zip(_titles(places), (node for _, node in places), strict=True)
    return HEAD + "".join(_section(title, node, schema["$defs"]) for title, node in sections)


def _places(schema: Node) -> Iterator[tuple[str, Node]]:
    """Every object that the file can have, by the first path that leads to it, and what is in it right behind it."""
    waiting: list[tuple[str, Node]] = [(ROOT, schema)]
    seen: set[str] = set()
    while waiting:
        path, node = waiting.pop(0)
        yield path, node
        inside: list[tuple[str, Node]] = []
        for key, value in _members(node):
            found = {name: below for below, name in _objects(value, _joined(path, key)) if name not in seen}
            seen.update(found)
            inside += [(below, schema["$defs"][name]) for name, below in found.items()]
        waiting[:0] = inside


def _titles(places: Sequence[tuple[str, Node]]) -> Iterator[str]:
    """A path; where several objects can stand, with the keys that the others need not have."""
    for path, node in places:
        alike = [other for where, other in places if where == path and other is not node]
        common = {key for other in alike for key in other.get("required", ())}
        own = [f"`{key}`" for key in node.get("required", ()) if alike and key not in common]
        title = "The file" if path == ROOT else f"`{path}`"
        yield f"{title} with {' and '.join(own)}" if own else title


def _joined(path: str, key: str) -> str:
    return key if path == ROOT else f"{path}.{key}"


def _members(node: Node) -> Iterator[tuple[str, Node]]:
    yield from node.get("properties", {}).items()


def _objects(value: Node, path: str) -> Iterator[tuple[str, str]]:
    """The objects that a value may be or have: their paths, and their names in the schema."""
    if "$ref" in value:
        yield path, value["$ref"].rpartition("/")[2]
    for one in value.get("oneOf", ()):
        yield from _objects(one, path)
    if "items" in value:
        yield from _objects(value["items"], f"{path}[]")
    for named in _named(value):
        yield from _objects(named, f"{path}.{NAMED}")


def _named(value: Node) -> list[Node]:
    """What stands behind names that the author chooses."""
    others = value.get("additionalProperties")
    return [*value.get("patternProperties", {}).values(), *([others] if isinstance(others, dict) else [])]


def _section(title: str, node: Node, defs: Mapping[str, Node]) -> str:
    required = set(node.get("required", ()))
    rows = [
        f"| {f'**`{key}`**' if key in required else f'`{key}`'} | {_type(value, defs)} | {_default(value)} "
        f"| {_told(value, defs)} |"
        for key, value in _members(node)
    ]
    told = [] if node.get("title") == "saga.yaml" else [node.get("description", ""), ""]
    table = ["| key | value | default | what it is |", "|---|---|---|---|", *rows]
    return "\n".join(["", f"## {title}", "", *told, *table, ""])


def _type(value: Node, defs: Mapping[str, Node]) -> str:
    if "$ref" in value:
        return "object"
    if "oneOf" in value:
        return " or ".join(dict.fromkeys(_type(one, defs) for one in value["oneOf"]))
    if "enum" in value:
        return ", ".join(_code(one) for one in value["enum"])
    if "items" in value:
        return f"list of {_many(_type(value['items'], defs))}"
    if named := _named(value):
        return f"{' or '.join(dict.fromkeys(_type(one, defs) for one in named))} by name"
    kinds = value.get("type", "anything")
    if isinstance(kinds, list):
        return "expression by field, or expression" if "object" in kinds else "expression"
    if kinds == "string" and DURATION in value.get("pattern", ""):
        return "duration"
    bounds = [str(value[end]) for end in ("minimum", "maximum") if end in value]
    spelled = {"string": "text", "boolean": "true or false", "object": "mapping"}.get(kinds, kinds)
    return f"{spelled}, {' to '.join(bounds)}" if len(bounds) == 2 else spelled


def _many(kind: str) -> str:
    return {"object": "objects", "text": "texts", "duration": "durations"}.get(kind, kind)


def _default(value: Node) -> str:
    return _code(value["default"]) if "default" in value else ""


def _told(value: Node, defs: Mapping[str, Node]) -> str:
    named: Node = defs[value["$ref"].rpartition("/")[2]] if "$ref" in value else {}
    told = _cell(value.get("description") or named.get("description", ""))
    examples = [_code(one) for one in value.get("examples", ())[:1] if value.get("enum") != [one]]
    return f"{told.removesuffix('.')}. Example: {examples[0]}." if examples else told


def _code(value: object) -> str:
    return f"`{_cell(value if isinstance(value, str) else json.dumps(value))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(page(), end="")
