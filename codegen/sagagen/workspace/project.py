"""Where a project is on disk."""

from pathlib import Path

CONTRACT = Path("contracts", "saga.yaml")
"""What makes a folder a project, relative to its root."""


class ProjectNotFound(Exception):
    """No project here; the message says what was looked for and where."""


def find_root(start: Path) -> Path:
    """The nearest folder with contracts/saga.yaml, from `start` upwards. Raises ProjectNotFound if there is none."""
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / CONTRACT).is_file():
            return candidate
    raise ProjectNotFound(
        f"no {CONTRACT.as_posix()} in {start} or a folder above it; go to a project, or name one with --project DIR"
    )


def project_root(project: Path | None, start: Path) -> Path:
    """The root that `--project` names, which must be one, or the nearest one. Raises ProjectNotFound."""
    if project is None:
        return find_root(start)
    if not (project / CONTRACT).is_file():
        raise ProjectNotFound(f"{project} has no {CONTRACT.as_posix()}")
    return project.resolve()
