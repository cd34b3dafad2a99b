"""Where a project is on disk."""

from pathlib import Path

from sagagen.runtime.startup import StartupError

CONTRACT = Path("contracts", "saga.yaml")
"""What makes a folder a project, relative to its root."""


class ProjectNotFound(StartupError):
    """There is no project here; the message says what was looked for and where."""


def find_root(start: Path | None = None) -> Path:
    """The nearest folder with contracts/saga.yaml, from `start` (the current folder) upwards.

    Raises ProjectNotFound if there is none.
    """
    folder = (start or Path.cwd()).resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / CONTRACT).is_file():
            return candidate
    raise ProjectNotFound(
        f"no {CONTRACT.as_posix()} in {folder} or a folder above it; go to a project, or name one with --project DIR"
    )
