"""saga.yaml as commits of this project's repository have it: what may be deployed."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from sagagen.compatibility.committed import CannotFollow, opened
from sagagen.git import GitMissing, commit_of, git

SAGA_YAML = "contracts/saga.yaml"
_MAIN = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
"""Where others deploy from, in the order in which it is likely."""


def earlier_contracts(root: Path) -> Iterator[tuple[str, bytes]]:
    """What has it, and its bytes: where this branch left the main one, then the last commit. Nothing without git."""
    try:
        for name, commit in dict(_commits(root)).items():
            if (content := _saga_yaml(root, commit)) is not None:
                yield name, content
    except GitMissing:
        return


def _commits(root: Path) -> Iterator[tuple[str, str]]:
    main = next((name for name in _MAIN if commit_of(root, name)), "")
    if main and (base := git(root, "merge-base", "HEAD", main).line):
        yield f"{main} ({base[:7]})", base
    if head := commit_of(root, "HEAD"):
        yield f"the last commit ({head[:7]})", head


def _saga_yaml(root: Path, commit: str) -> bytes | None:
    prefix = git(root, "rev-parse", "--show-prefix").line
    with opened(root, commit) as committed, tempfile.TemporaryDirectory(prefix="sagagen-earlier-") as folder:
        copy = Path(folder, "saga.yaml")
        try:
            committed.copy(f"{prefix}{SAGA_YAML}", copy)
        except CannotFollow:
            return None
        return copy.read_bytes() if copy.is_file() else None
