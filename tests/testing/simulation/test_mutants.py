"""Can a simulation fail because of the engine? Rules are taken out of it, and the sagas of a project must notice."""

from collections.abc import Callable
from pathlib import Path

import pytest
from apart import player_apart
from mutants import MUTANTS, SEED, Mutant
from shop_player import TEMPLATE, shop_player

from sagagen.testing.simulation.drawing import drawn
from sagagen.testing.simulation.project_player import ProjectPlayer

SAGAS = 2000


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_rule_that_is_taken_out_is_missed(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch, generated_project: Callable[[str], Path]
) -> None:
    player = shop_player()
    if mutant.project != "shop":
        player = player_apart(generated_project(mutant.project), TEMPLATE.parent / mutant.project)
    mutant.take_out(monkeypatch)
    assert notices(player, mutant.world) or any(notices(player, world) for world in worlds(player)), (
        mutant.name
    )


def notices(player: ProjectPlayer, world: int) -> bool:
    return bool(player.play(drawn(player.subjects, player.services, SEED, world)).broken)


def worlds(player: ProjectPlayer) -> list[int]:
    """Numbers of those that have SAGAS sagas together."""
    found: list[int] = []
    sagas = 0
    while sagas < SAGAS:
        found.append(len(found))
        sagas += len(drawn(player.subjects, player.services, SEED, found[-1]).sagas)
    return found
