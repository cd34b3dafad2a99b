"""The shop and the templates, simulated: nothing breaks, and the same seed is the same run wherever it runs."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from apart import player_apart
from click.testing import CliRunner, Result
from project_copy import SHOP
from shop_player import TEMPLATE, shop_player
from thorough import SIM_ROUNDS

from sagagen.cli.simulate import simulate as command
from sagagen.runtime.model.definition import Direction
from sagagen.testing.simulation.outcomes import What
from sagagen.testing.simulation.project_player import ProjectPlayer
from sagagen.testing.simulation.schedule import CALM, Fault, FaultKind, Schedule, SentSaga, encoded
from sagagen.testing.simulation.simulation import simulate
from sagagen.testing.simulation.stories import story

SAGAS = 5000 if SIM_ROUNDS > 1000 else SIM_ROUNDS // 2
INPUT = '{"customer_id": "ann", "items": [{"product_id": "prod_1", "quantity": 2, "price": 5.0}]}'


def assert_nothing_breaks(player: ProjectPlayer) -> None:
    tally, found = simulate(player, player.subjects, 5, SAGAS, most_runs=100)
    told = [str(found.violation), *story(found.schedule, found.played)] if found else []
    assert not told, "\n".join(told)
    assert tally.ends["COMPLETED"] > SAGAS / 10, tally.ends
    assert tally.ends["COMPENSATED"] > SAGAS / 10, tally.ends


@pytest.mark.slow
def test_the_shop_keeps_every_invariant() -> None:
    assert_nothing_breaks(shop_player())


@pytest.mark.slow
@pytest.mark.parametrize("template", ["delivery"])
def test_templates_keep_every_invariant(template: str, generated_project: Callable[[str], Path]) -> None:
    assert_nothing_breaks(player_apart(generated_project(template), TEMPLATE.parent / template))


@pytest.mark.slow
def test_a_seed_is_the_same_run_in_another_folder_with_another_hash_seed_and_under_load(
    tmp_path: Path,
) -> None:
    for part in ("contracts", "handlers", "gateway", "generated"):
        (tmp_path / part).symlink_to(SHOP / part)

    def said(root: Path, hash_seed: str) -> str:
        run = [
            sys.executable,
            "-m",
            "sagagen",
            "simulate",
            "--sagas",
            "40",
            "--seed",
            "4",
            "--project",
            str(root),
        ]
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(SHOP / "codegen")}
        return subprocess.run(
            run, capture_output=True, text=True, check=True, env=environment, timeout=300
        ).stdout

    with ThreadPoolExecutor() as threads:
        first, second = threads.map(said, (SHOP, tmp_path), ("1", "2"))
    assert "digest" in first
    assert first == second


def test_a_schedule_is_played_as_it_says_and_a_death_forgets_what_was_in_memory() -> None:
    faults = (
        Fault("create_order", Direction.ACTION, 1, FaultKind.ANSWER_LOST),
        Fault("reserve_stock", Direction.ACTION, 1, FaultKind.DIES_AFTER, 500),
        Fault("charge_payment", Direction.ACTION, 1, FaultKind.REFUSES),
        Fault("reserve_stock", Direction.COMPENSATION, 1, FaultKind.GATEWAY_AFTER, 500),
    )
    lives: list[str] = []

    def handlers() -> dict[str, object]:
        lives.append("new")
        return {}

    player = shop_player(handlers)
    schedule = Schedule(CALM, (SentSaga(1, "place_order", 0, INPUT, faults=faults),))
    played = player.play(schedule)
    assert played.ends == {"COMPENSATED": 1}
    assert not played.broken
    assert [each.detail for each in played.trace if each.what is What.DIES] == ["inventory", "gateway"]
    assert len(lives) == len(player.services) + 1, "the service that died began with new handlers"
    told = "\n".join(story(schedule, played))
    assert "create_order is sent; it is done, and the answer is lost" in told
    assert "undoing reserve_stock is sent; it is done, and the gateway dies" in told
    assert told.endswith("place_order 1: it is COMPENSATED.")


def run(*options: str) -> Result:
    return CliRunner().invoke(command, ["--project", str(SHOP), *options])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--sagas", "0"], "0 is not in the range"),
        (["--saga", "place_orde"], 'did you mean "place_order"?'),
        (["--replay", "hello"], "no code of a schedule"),
        (["--replay", "hello", "--seed", "1"], "leave --seed and --saga out"),
        (["--trace"], "--trace goes with --replay"),
        (["--replay", encoded(Schedule(0, (SentSaga(1, "gone", 0, "{}"),)))], 'no saga "gone"'),
        (
            ["--replay", encoded(Schedule(0, (SentSaga(1, "place_order", 0, "{}"),)))],
            "the contract refuses {}",
        ),
    ],
)
def test_wrong_use_is_told_with_the_way_out(options: list[str], says: str) -> None:
    result = run(*options)
    assert result.exit_code in (1, 2), result.output
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_replay_tells_the_story_of_what_holds_too() -> None:
    code = encoded(Schedule(CALM, (SentSaga(1, "place_order", 0, INPUT),)))
    result = run("--replay", code, "--trace")
    assert result.exit_code == 0, result.output
    assert "1. place_order 1 starts with" in result.output
    assert (
        "2. place_order 1: create_order, reserve_stock, charge_payment and confirm_order are done."
        in result.output
    )
    assert "Every invariant holds." in result.output
