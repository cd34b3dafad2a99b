"""Lays out generated Python with ruff and fixed settings, so that the bytes depend on no folder and no user."""

import functools
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ruff import find_ruff_bin

SETTINGS = """\
line-length = 110
target-version = "py311"
cache-dir = ".cache"

[lint.isort]
known-first-party = ["sagagen", "generated", "handlers", "gateway"]
"""
"""ruff.toml of the temporary folder in which ruff runs; it also keeps ruff from finding other settings."""


class LayoutError(Exception):
    """The rendered text is not valid Python: a mistake in this program, not in the contract."""


def lay_out(modules: Mapping[str, str]) -> dict[str, str]:
    """Sort the imports of each module, drop those that are unused, and format it. Keys are relative paths."""
    laid_out = _lay_out(tuple(sorted(modules.items())))
    return dict(zip(sorted(modules), laid_out, strict=True))


@functools.lru_cache(maxsize=8)
def _lay_out(modules: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_settings(root)
        for path, source in modules:
            root.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
            root.joinpath(path).write_text(source, encoding="utf-8", newline="\n")
        _ruff(root, "check", "--select", "I,F401", "--fix", "--quiet", "--no-cache")
        _ruff(root, "format", "--quiet", "--no-cache")
        return tuple(root.joinpath(path).read_text(encoding="utf-8") for path, _ in modules)


def write_settings(folder: Path) -> None:
    folder.joinpath("ruff.toml").write_text(SETTINGS, encoding="utf-8")


def environment() -> dict[str, str]:
    """The environment of a child process that calls ruff: the installed ruff, and none of the user's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUFF_", "PYTHON"))}
    path = os.pathsep.join([str(Path(find_ruff_bin()).parent), kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}


def _ruff(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [find_ruff_bin(), *arguments, "."],
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise LayoutError(f"ruff {arguments[0]}: {done.stdout}{done.stderr}")
