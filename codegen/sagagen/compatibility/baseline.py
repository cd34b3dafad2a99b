"""The contract to compare with: another folder, or a commit in git."""

import subprocess
import tarfile
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

CONTRACTS = "contracts"


class NoBaseline(Exception):
    """There is no contract to compare with; the message says why and what to do."""


@contextmanager
def baseline(root: Path, against: str) -> Generator[Path]:
    """The root of the old project: `against` is a folder, or any name of a commit that git knows.

    The work tree is not touched. Raises NoBaseline.
    """
    folder = Path(against)
    if (folder / CONTRACTS / "saga.yaml").is_file():
        yield folder.resolve()
        return
    if folder.is_dir():
        raise NoBaseline(f"{against} has no contracts/saga.yaml: name a project's folder, or a git ref")
    with tempfile.TemporaryDirectory(prefix="sagagen-baseline-") as temporary:
        _extract(root, against, Path(temporary))
        yield Path(temporary)


def _extract(root: Path, ref: str, into: Path) -> None:
    commit = (
        _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        .decode()
        .strip()
    )
    if not commit:
        raise NoBaseline(
            f'"{ref}" is neither a folder nor a commit that git knows here: fetch it first (in CI, with its history), '
            f"or name a folder"
        )
    # `<commit>:./<path>` is relative to the folder that git runs in.
    archive = _git(root, "archive", "--format=tar", commit, "--", CONTRACTS, check=False)
    if not archive:
        raise NoBaseline(f"{ref} has no {CONTRACTS}/ here: there is nothing to compare with")
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(into, filter="data")
    buf_yaml = _git(root, "show", f"{commit}:./buf.yaml", check=False)
    if buf_yaml:
        (into / "buf.yaml").write_bytes(buf_yaml)
    if not (into / CONTRACTS / "saga.yaml").is_file():
        raise NoBaseline(f"{ref} has no {CONTRACTS}/saga.yaml: there is nothing to compare with")


def _git(root: Path, *arguments: str, check: bool = True) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise NoBaseline("git is not installed: name a folder to compare with") from error
    if done.returncode and check and done.stderr.strip():
        raise NoBaseline(f"git: {done.stderr.decode(errors='replace').strip()}")
    return b"" if done.returncode else done.stdout
