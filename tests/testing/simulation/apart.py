"""Another project than the shop, imported in this process: its packages have the same names as the shop's."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from sagagen.runtime.process.project import Project
from sagagen.testing.invariants import project_invariants
from sagagen.testing.simulation.outcomes import Played
from sagagen.testing.simulation.project_player import ProjectPlayer
from sagagen.testing.simulation.schedule import Schedule

_OF_PROJECTS = ("generated", "handlers", "gateway")


@dataclass
class PlayerApart(ProjectPlayer):
    """Has its project's packages in the table of modules while it plays: messages look their types up there."""

    modules: dict[str, ModuleType] = field(default_factory=dict[str, ModuleType])

    def play(self, schedule: Schedule) -> Played:
        with _in_place(self.modules, self.project.root):
            return super().play(schedule)


def player_apart(root: Path, template: Path) -> PlayerApart:
    """A player of the generated project at `root`, with the invariants of its template."""
    modules: dict[str, ModuleType] = {}
    with _in_place(modules, root):
        player = PlayerApart.of(Project.load(root))
    player.modules, player.own = modules, project_invariants(template)
    return player


@contextmanager
def _in_place(modules: dict[str, ModuleType], root: Path) -> Generator[None]:
    """These in place of the shop's; they become those that are there at the end."""
    path, shops = [*sys.path], _taken_out()
    sys.modules.update(modules)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        modules.update(_taken_out())
        sys.modules.update(shops)
        sys.path[:] = path


def _taken_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] in _OF_PROJECTS]
    return {name: sys.modules.pop(name) for name in names}
