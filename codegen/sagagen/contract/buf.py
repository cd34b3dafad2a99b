"""Runs buf on a project's contracts: compile them to an image, and lint them. Its findings become ours."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sagagen.contract.buf_layout import CONTRACTS, layout_of
from sagagen.source import Span

FINDINGS = 100
"""buf's exit code for compile errors and lint findings."""
VALIDATION = "PROTOVALIDATE"
"""The lint rule about rules of buf.validate."""
COMPILE = "COMPILE"
"""The word that buf has in place of a rule when the finding is a compile error."""

_GO = {"GOGC": "off", "GOMEMLIMIT": "1GiB"}
"""buf ends within a second, and collecting garbage takes a third of its time. It is needed only above the limit."""


class BufMissing(Exception):
    """buf is not installed. The message says how to install it."""


class BufFailed(Exception):
    """buf did not run: its configuration is wrong, or names modules that it cannot reach."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of buf's findings."""

    at: Span
    rule: str
    """`COMPILE`, or the lint rule."""
    message: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where buf runs so that `contracts` and what it imports are found."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str) -> "Work":
        return Work(
            subprocess.Popen(
                [buf_command(), *arguments, "--error-format", "json", "--timeout", "60s"],
                cwd=self.folder,
                env={**_GO, **self.environment},
                text=True,
                encoding="utf-8",
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )


def buf_command() -> str:
    """The buf that is installed beside this Python, otherwise the one on PATH. Raises BufMissing."""
    scripts = os.pathsep.join([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    command = shutil.which("buf", path=scripts) or shutil.which("buf")
    if command is None:
        raise BufMissing('buf is not installed; the generator needs it: pip install "sagagen[codegen]"')
    return command


@contextmanager
def open_workspace(root: Path) -> Generator[Workspace]:
    """A temporary workspace with the project's modules and what they import of the built-in files.

    It is the project itself if its own buf configuration can't be read, or does not name the contracts.
    """
    layout = layout_of(root)
    if layout is None:
        yield Workspace(root, os.environ)
        return
    with tempfile.TemporaryDirectory(prefix="sagagen-buf-") as temporary:
        folder = Path(temporary)
        layout.write(root, folder)
        cache = {} if layout.needs_registry else {"BUF_CACHE_DIR": str(folder / "cache")}
        yield Workspace(folder, {**os.environ, **cache})


@dataclass(frozen=True, slots=True)
class Work:
    """A running buf, in a process of its own."""

    process: "subprocess.Popen[str]"

    def findings(self) -> list[Finding]:
        """Waits until it is done. Raises BufFailed."""
        output, errors = self.process.communicate()
        return findings_of(self.process.returncode, output, errors)

    def stop(self) -> None:
        """Stop the process if its result is no longer needed."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


def findings_of(code: int, output: str, errors: str) -> list[Finding]:
    """In what buf printed, and as it ended. Raises BufFailed."""
    if code not in {0, FINDINGS}:
        raise BufFailed(errors.strip() or output.strip() or f"buf ended with exit code {code}")
    lines = [*output.splitlines(), *errors.splitlines()]
    return [_finding(line) for line in lines if line.startswith("{")]


def start_lint(workspace: Workspace, only: Iterable[str] = ()) -> Work:
    """The linter's findings, in `only` these files if any are named; or compile errors, if there are any."""
    return workspace.run("lint", CONTRACTS, *_only(only))


def start_build(
    workspace: Workspace, image: Path, only: Iterable[str] = (), without: Iterable[str] = ()
) -> Work:
    """Compile to `image`, which has imports too; its findings are compile errors. Paths are as in findings.

    `only` these files, if any are named; none of those in `without`.
    """
    excluded = [f"--exclude-path={path}" for path in without]
    return workspace.run(
        "build", CONTRACTS, "--as-file-descriptor-set", "-o", str(image), *_only(only), *excluded
    )


def _only(paths: Iterable[str]) -> list[str]:
    return [f"--path={path}" for path in paths]


def breaking(workspace: Workspace, against: Path) -> list[Finding]:
    """The changes that break programs built from the image `against`. Raises BufFailed."""
    return workspace.run("breaking", CONTRACTS, "--against", str(against), "--exclude-imports").findings()


def _finding(line: str) -> Finding:
    found = cast(dict[str, Any], json.loads(line))
    at = Span(
        str(found.get("path", CONTRACTS)), int(found.get("start_line", 1)), int(found.get("start_column", 1))
    )
    return Finding(at, str(found["type"]), str(found["message"]))
