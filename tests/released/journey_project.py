"""The project that the corpus runs on (tests/projects/journey), generated with its contract changed."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "projects" / "journey"
SERVICES = ("trips", "seats", "bank", "mail")

Changes = Mapping[str, str]
"""What in saga.yaml is replaced by what."""

AS_IT_IS: Changes = {}
HASTY: Changes = {
    "timeout: 60s, retry: { initial: 1s": "timeout: 2s, retry: { initial: 100ms",
    "deadline: 1h": "deadline: 3s",
    "give_up_after: 24h": "give_up_after: 1s",
}
FORGETFUL: Changes = {
    "timeout: 60s, retry: { initial: 1s": "timeout: 100ms, retry: { initial: 10ms",
    "deadline: 1h": "deadline: 200ms",
    "give_up_after: 24h": "give_up_after: 100ms",
    "[journey.v1.SeatService] }": "[journey.v1.SeatService], retention: 1s }",
}
ANOTHER_MEANING: Changes = {"guest: input.guest,": "guest: \"'dear ' + input.guest\","}
SECOND_VERSION: Changes = {"book_trip:\n    version: 1": "book_trip:\n    version: 2", **ANOTHER_MEANING}
REMEMBERING: Changes = {
    "{ implements:": "{ retention: 200000d, implements:",
    "retention: 30d": "retention: 200000d",
}
PATIENT: Changes = {
    **REMEMBERING,
    "deadline: 1h": "deadline: 20000d",
    "give_up_after: 24h": "give_up_after: 20000d",
}


def generate(root: Path, changes: Changes = AS_IT_IS) -> None:
    """Make the project in `root`, or bring the one there to this contract."""
    shutil.copytree(SOURCE, root, dirs_exist_ok=True)
    change(root, changes)


def change(root: Path, changes: Changes) -> None:
    """Change the contract of the project in `root`, and generate."""
    contract = root / "contracts" / "saga.yaml"
    text = contract.read_text()
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    contract.write_text(text)
    sagagen("generate", "--project", str(root))


def sagagen(*arguments: str, cwd: Path | None = None) -> None:
    """Run the command. Raises CalledProcessError if it fails."""
    subprocess.run([sys.executable, "-m", "sagagen", *arguments], check=True, cwd=cwd, stdout=subprocess.PIPE)
