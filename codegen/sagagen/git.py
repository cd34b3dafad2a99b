"""Asks git about the repository that a folder is in. Nothing in it is changed."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SET_BY_HOOKS = frozenset({"GIT_DIR", "GIT_INDEX_FILE", "GIT_PREFIX"})
"""A hook of a linked work tree gets these. With GIT_DIR alone, git takes any folder for the top of the work tree."""


class GitMissing(Exception):
    """git is not installed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What git said."""

    output: bytes
    """Empty if it failed."""
    problem: str
    """What it said on stderr if it failed; it may fail without a word."""
    succeeded: bool

    @property
    def line(self) -> str:
        return os.fsdecode(self.output).rstrip("\n")


def git(folder: Path, *arguments: str, given: bytes = b"") -> Answer:
    """Run git in `folder`. `given`: its standard input. Raises GitMissing."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment(os.environ),
            input=given,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise GitMissing("git is not installed") from error
    problem = done.stderr.decode(errors="replace").strip() if done.returncode else ""
    return Answer(b"" if done.returncode else done.stdout, problem, done.returncode == 0)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Without what a hook sets, unless the work tree is set too; in English, and without asking for a password."""
    dropped = frozenset[str]() if "GIT_WORK_TREE" in variables else _SET_BY_HOOKS
    kept = {name: value for name, value in variables.items() if name not in dropped}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


def commit_of(folder: Path, ref: str) -> str:
    """The full name of the commit that `ref` names; empty if git knows none. Raises GitMissing."""
    return git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").line


def file_at(folder: Path, commit: str, path: str) -> bytes | None:
    """A file as a commit has it; `path` is relative to `folder`. None if there is none. Raises GitMissing."""
    found = git(folder, "cat-file", "blob", f"{commit}:./{path}")
    return found.output if found.succeeded else None
