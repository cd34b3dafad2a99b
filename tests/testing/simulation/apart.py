"""Another project than the shop, imported in this process: its packages have the same names as the shop's."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sagagen.runtime.process.project import Project
from sagagen.testing.simulation.project_player import ProjectPlayer

_OF_PROJECTS = ("generated", "handlers", "gateway")


def player_apart(root: Path) -> ProjectPlayer:
    """A player of the generated project at `root`, of which nothing is left in the table of modules."""
    with _apart():
        project = Project.load(root)
        classes = {service.name: type(project.handlers(service)) for service in project.mesh.services}
        return ProjectPlayer.of(project, handlers=_made(classes))


def _made(classes: Mapping[str, type]) -> Callable[[], Mapping[str, object]]:
    return lambda: {name: each() for name, each in classes.items()}


@contextmanager
def _apart() -> Generator[None]:
    path = [*sys.path]
    hidden = {
        name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] in _OF_PROJECTS
    }
    try:
        yield
    finally:
        for name in [*sys.modules]:
            if name.partition(".")[0] in _OF_PROJECTS:
                del sys.modules[name]
        sys.modules.update(hidden)
        sys.path[:] = path
