"""Mistakes in handlers are found, told as short stories, and shown again by the command that is printed."""

import subprocess
import sys
from pathlib import Path

import pytest
from planted import BUGS, Bug
from project_copy import copy_project, edit
from shop_player import INVARIANTS, shop_player
from thorough import TRIES_ALL

from sagagen.testing.simulation.schedule import decoded, encoded
from sagagen.testing.simulation.simulation import Found, simulate
from sagagen.testing.simulation.stories import story

SEED = 1
SAGAS = 1000


def found(bug: Bug) -> Found:
    player = shop_player(lambda: {bug.service: bug.handlers()})
    tally, it = simulate(player, player.subjects, SEED, SAGAS)
    assert it is not None, f"{tally.sagas} sagas do not show {bug.name}"
    return it


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found_and_told_as_a_short_story(bug: Bug) -> None:
    it = found(bug)
    told = "\n".join([it.violation.text, *story(it.schedule, it.played)])
    assert it.violation.invariant == f"invariant_{bug.breaks}", told
    assert len(it.schedule.sagas) <= bug.most_sagas, told
    faults = sum(len(saga.faults) for saga in it.schedule.sagas) + len(it.schedule.kills)
    assert faults <= bug.most_faults, told
    assert told.count("\n") <= 12, told

    player = shop_player(lambda: {bug.service: bug.handlers()})
    again = player.play(decoded(encoded(it.schedule)))
    assert again.digest == it.played.digest
    assert it.violation in again.broken
    assert not shop_player().play(it.schedule).broken, "without the bug nothing is broken"


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS if TRIES_ALL else BUGS[:1], ids=lambda bug: bug.name)
def test_the_printed_command_shows_it_again(bug: Bug, tmp_path: Path) -> None:
    root = copy_project("shop", tmp_path / "shop", ("contracts", "handlers", "gateway", "generated"))
    edit(root / bug.file, bug.edits)
    (root / "tests").mkdir()
    (root / "tests" / "invariants.py").write_text(INVARIANTS.read_text(encoding="utf-8"), encoding="utf-8")

    first = run(root, "--sagas", str(SAGAS), "--seed", str(SEED))
    assert first.returncode == 1, first.stdout + first.stderr
    command = first.stdout.splitlines()[-1].split()
    assert command[:2] == ["sagagen", "simulate"]
    again = run(root, *command[2:])
    assert again.returncode == 1
    assert f"invariant_{bug.breaks}" in again.stdout
    assert again.stdout.strip() in first.stdout

    edit(root / bug.file, {new: old for old, new in bug.edits.items() if new})
    mended = run(root, *command[2:])
    assert mended.returncode == 0, mended.stdout
    assert "Every invariant holds." in mended.stdout


def run(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sagagen", "simulate", *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
