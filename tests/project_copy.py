"""Copies of the shop and of the projects of the tests, to be changed and generated."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner, Result

from sagagen.cli.generate import generate as generate_command

SHOP = Path(__file__).parents[1]
PROJECTS = SHOP / "tests" / "projects"
TEMPLATES = SHOP / "codegen" / "sagagen" / "scaffold" / "templates"
WRITTEN = ("contracts", "handlers", "gateway")
"""What people write of a project; the rest of the shop's folder is the toolkit."""


def copy_project(name: str, to: Path, parts: tuple[str, ...] = WRITTEN) -> Path:
    """Copy these parts of a project, as far as it has them: of `shop`, a template of `init`, or one of tests/projects.

    Returns `to`.
    """
    root = (
        SHOP
        if name == "shop"
        else next(each / name for each in (PROJECTS, TEMPLATES) if (each / name).is_dir())
    )
    for part in parts:
        if (root / part).exists():
            shutil.copytree(root / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
    return to


def accepted_contracts() -> list[Path]:
    """saga.yaml of every project here that is accepted: cases of the corpus may be there for their mistakes."""
    found = [path for path in SHOP.glob("**/contracts/saga.yaml") if ".venv" not in path.parts]
    refused = [
        case
        for case in (SHOP / "tests" / "golden").iterdir()
        if not (case / "expected" / "generated").exists()
    ]
    return sorted(path for path in found if path.parents[1] not in refused)


def edit(file: Path, edits: Mapping[str, str]) -> None:
    """Replace each text by its new one, wherever it occurs. Fails where one does not occur."""
    text = file.read_text(encoding="utf-8")
    for old, new in edits.items():
        assert old in text, f"{file} has changed: it lacks {old!r}"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def run_generate(root: Path, *options: str) -> Result:
    """`sagagen generate`, in this process."""
    return CliRunner().invoke(generate_command, ["--project", str(root), *options])


def generate(root: Path) -> Path:
    """Generate a project that has no mistakes. Returns `root`."""
    result = run_generate(root)
    assert result.exit_code == 0, result.output
    return root
