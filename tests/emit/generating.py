"""The generator, run as a user runs it."""

from pathlib import Path

from click.testing import CliRunner, Result

from sagagen.cli.generate import generate

SHOP = Path(__file__).parents[2]
PROJECTS = SHOP / "tests" / "projects"


def run_generate(root: Path, *options: str) -> Result:
    return CliRunner().invoke(generate, ["--project", str(root), *options])
