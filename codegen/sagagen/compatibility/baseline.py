"""The contract to compare with: another folder, or a commit in git."""

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sagagen.compatibility.committed import CannotFollow, opened
from sagagen.git import GitMissing, commit_of, git

CONTRACTS = "contracts"
_SAGA_YAML = f"{CONTRACTS}/saga.yaml"
_BUF = ("buf.yaml", "buf.lock", "buf.work.yaml")
_OR_A_FOLDER = "or name the folder of a project"


class NoBaseline(Exception):
    """There is no contract to compare with; the message says why and what to do."""


class NothingThere(Exception):
    """What is named is there, and has no contract yet: everything is new. The message says so."""


@contextmanager
def baseline(root: Path, against: str) -> Generator[Path]:
    """The root of the old project: `against` is a folder, or any name of a commit that git knows.

    The work tree is not touched. Raises NoBaseline or NothingThere.
    """
    if not against.strip():
        raise NoBaseline(
            "--against names nothing: is a variable unset? Name a commit in git, or a project's folder"
        )
    folder = Path(against)
    if (folder / _SAGA_YAML).is_file():
        if folder.resolve() == root.resolve():
            raise NoBaseline(
                f"{against} is this project itself: name a commit in git, or the folder of another copy"
            )
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="sagagen-baseline-") as temporary:
        try:
            _extract(root, against, Path(temporary))
        except GitMissing as error:
            raise NoBaseline(f"{error}: install it, {_OR_A_FOLDER}") from error
        except CannotFollow as error:
            raise NoBaseline(
                f"{against} can't be compared with: {error}; name the folder of a project"
            ) from error
        yield Path(temporary)


def _extract(root: Path, ref: str, into: Path) -> None:
    prefix = _prefix(root, ref)
    commit = _commit(root, ref)
    with opened(root, commit) as committed:
        if not committed.has(f"{prefix}{_SAGA_YAML}"):
            committed.copy(f"{prefix}{CONTRACTS}", into / CONTRACTS)  # raises where links are in the way
            raise NothingThere(_nothing_there(root, ref, commit, prefix))
        for name in _BUF:
            committed.copy(f"{prefix}{name}", into / name)
        for name in (CONTRACTS, *_modules(into)):
            committed.copy(f"{prefix}{name}", into / name)


def _prefix(root: Path, ref: str) -> str:
    """The project's folder in the repository, with a slash at its end; empty at its top."""
    found = git(root, "rev-parse", "--show-prefix")
    if found.succeeded:
        return found.line
    if "not a git repository" in found.problem:
        what = f"{ref} has no {_SAGA_YAML}" if Path(ref).is_dir() else f'there is no folder "{ref}"'
        raise NoBaseline(f"{what}, and {root} is in no git repository: name the folder of a project")
    raise NoBaseline(f"git: {found.problem}")


def _commit(root: Path, ref: str) -> str:
    commit = commit_of(root, ref)
    if commit:
        return commit
    if _is_unborn(root, ref):
        raise NothingThere("there is no commit yet")
    if Path(ref).is_dir():
        raise NoBaseline(f"{ref} has no {_SAGA_YAML}: name a project's folder, or a git ref")
    hint = "fetch it first (in CI, with its history)"
    if git(root, "rev-parse", "--is-shallow-repository").line == "true":
        hint = "this clone is shallow: `git fetch --unshallow` brings its history (in CI, fetch-depth: 0)"
    raise NoBaseline(f'"{ref}" is neither a folder nor a commit that git knows here: {hint}, {_OR_A_FOLDER}')


def _is_unborn(root: Path, ref: str) -> bool:
    """Whether `ref` is the branch that the first commit will begin."""
    branch = git(root, "symbolic-ref", "--quiet", "HEAD").line
    names = ("HEAD", "@", branch, branch.removeprefix("refs/heads/"))
    return bool(branch) and ref in names and not commit_of(root, "HEAD")


def _nothing_there(root: Path, ref: str, commit: str, prefix: str) -> str:
    said = f"{ref} has no {prefix}{_SAGA_YAML}"
    top = Path(git(root, "rev-parse", "--show-toplevel").line)
    listed = git(root, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).output.split(b"\0")
    elsewhere = [path.decode(errors="replace") for path in listed if path.endswith(_SAGA_YAML.encode())]
    moved = sorted(path.removesuffix(f"/{_SAGA_YAML}") for path in elsewhere if not (top / path).exists())
    if not moved:
        return said
    return f"{said} (if the project was in {moved[0]}/ then, compare with a checkout of that folder)"


def _modules(root: Path) -> Iterator[str]:
    """Folders beside contracts/ from which the project's own buf configuration takes protos."""
    try:
        config = cast(Any, YAML(typ="safe", pure=True)).load((root / "buf.yaml").read_bytes())
        paths = [module["path"] for module in config["modules"]]
    except (OSError, YAMLError, UnicodeDecodeError, KeyError, TypeError):
        return
    for path in paths:
        if (
            isinstance(path, str)
            and path != CONTRACTS
            and not path.startswith(("/", "."))
            and ".." not in path
        ):
            yield path
