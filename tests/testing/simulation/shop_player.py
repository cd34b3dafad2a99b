"""The shop of this repository, ready to be simulated in this process, with the invariants of its template."""

from collections.abc import Callable, Mapping

from project_copy import SHOP

from generated.mesh import MESH
from sagagen.runtime.process.project import Project
from sagagen.testing.invariants import project_invariants
from sagagen.testing.simulation.project_player import ProjectPlayer

TEMPLATE = SHOP / "codegen" / "sagagen" / "scaffold" / "templates" / "shop"
INVARIANTS = TEMPLATE / "tests" / "invariants.py"


def shop_player(handlers: Callable[[], Mapping[str, object]] = dict) -> ProjectPlayer:
    """`handlers` makes those that stand for the shop's own, by service."""
    player = ProjectPlayer.of(Project(MESH.root, MESH), handlers=handlers)
    player.own = project_invariants(TEMPLATE)
    return player
