"""YAML as a user's other tools read and write it."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def read_yaml(text: str) -> Any:
    loaded: Any = YAML(typ="safe", pure=True).load(text)  # pyright: ignore[reportUnknownMemberType] - ruamel's stream has no type
    return loaded


def write_yaml(path: Path, document: object) -> Path:
    """Write a document. Returns `path`."""
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(document, file)  # pyright: ignore[reportUnknownMemberType] - as above
    return path
