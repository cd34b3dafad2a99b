"""The measurements run and tell what they should; how fast anything is here says nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import postgres_server
import pytest
from thorough import TRIES_ALL, chosen, for_a_release
from waiting import LIMIT_S

REPOSITORY = Path(__file__).parents[2]
FIGURES = {
    *(
        "stack",
        "sagas",
        "concurrency",
        "declined",
        "closed",
        "load_average",
        "cpu_ms_per_saga",
        "peak_rss_mib",
    ),
    *("accepted_per_s", "completed_per_s", "accept_p50_ms", "accept_p99_ms"),
    *("end_to_end_p50_ms", "end_to_end_p99_ms"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", chosen([["sagas.py", "--closed"], ["floor.py"], ["sagas.py"]], first=1), ids=" ".join
)
def test_a_measurement_tells_every_figure(command: list[str], tmp_path: Path) -> None:
    script, *options = command
    small = ["--sagas", "20", "--concurrency", "4", "--declined", "0.25", "--warm-up", "4", "--data"]
    run = subprocess.run(
        [sys.executable, REPOSITORY / "bench" / script, *options, *small, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        timeout=4 * LIMIT_S,
    )
    figures = json.loads(run.stdout)
    assert figures.keys() == FIGURES
    assert figures["sagas"] == 20
    assert figures["accept_p50_ms"] <= figures["end_to_end_p50_ms"] <= figures["end_to_end_p99_ms"]
    assert not list(tmp_path.iterdir())


def told(script: str, *options: str | Path) -> str:
    command = [sys.executable, REPOSITORY / "bench" / script, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=4 * LIMIT_S).stdout


@pytest.mark.slow
@pytest.mark.parametrize(("ceiling", "exit_code"), chosen([("-1", 1), ("10", 0)], first=1), ids=str)
def test_a_soak_tells_what_is_in_memory_after_each_round_and_keeps_its_ceiling(
    tmp_path: Path, ceiling: str, exit_code: int
) -> None:
    small = ["--rounds", "3", "--sagas", "8", "--concurrency", "4", f"--grown={ceiling}", "--data", tmp_path]
    run = subprocess.run(
        [sys.executable, REPOSITORY / "bench" / "soak.py", *small],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == exit_code, run.stderr
    *rounds, summed_up = map(json.loads, run.stdout.splitlines())
    assert [line["sagas"] for line in rounds] == [8, 16, 24]
    assert all(line["rss_mib"] > 20 for line in rounds)
    grown = rounds[2]["rss_mib"] / rounds[1]["rss_mib"] - 1
    assert summed_up["grown"] == pytest.approx(grown, abs=0.001)


@for_a_release
@pytest.mark.slow
def test_overload_tells_what_became_of_accepted_and_refused_orders(tmp_path: Path) -> None:
    small = [
        "--probe",
        "40",
        "--seconds",
        "1.5",
        "--connections",
        "200",
        "--factor",
        "20",
        "--data",
        tmp_path,
    ]
    run = subprocess.run(
        [sys.executable, REPOSITORY / "bench" / "overload.py", *small],
        capture_output=True,
        text=True,
        check=False,  # how long anything takes here says nothing
        timeout=4 * LIMIT_S,
    )
    figures = json.loads(run.stdout)
    assert figures["accepted"] > 0
    assert figures["refused"] > 0
    assert figures["never_tried"] == figures["without_retry_after"] == figures["other_answers"] == 0
    assert run.returncode in (0, 1)
    assert ("broken:" in run.stderr) == (run.returncode == 1)


@for_a_release
@pytest.mark.slow
def test_with_redis_the_services_use_it_and_its_process_counts(tmp_path: Path) -> None:
    small = ["--sagas", "10", "--concurrency", "2", "--warm-up", "2", "--data", tmp_path]
    figures = json.loads(told("sagas.py", "--mesh", "--redis", *small))
    assert figures.keys() == FIGURES
    assert figures["stack"] == "mesh with Redis"


@pytest.mark.slow
def test_recovery_is_timed_from_the_kill_to_the_last_saga(tmp_path: Path) -> None:
    figures = json.loads(told("recovery.py", "--sagas", "10", "--data", tmp_path))
    assert figures["under_way_at_the_kill"] == 10
    assert 0 < figures["listening_after_s"] <= figures["all_over_after_s"]


@for_a_release
@pytest.mark.slow
def test_a_grown_log_is_compared_with_an_empty_one(tmp_path: Path) -> None:
    grown = ["--sagas", "40", "--window", "20", "--warm-up", "4", "--data", tmp_path]
    figures = json.loads(told("flat.py", *grown, "--series", "2", "--rounds", "1", "--turn", "10"))
    assert len(figures["cpu_ms_per_saga_by_window"]) == 2
    assert len(figures["grown_cpu_ms_per_saga"]) == len(figures["empty_cpu_ms_per_saga"]) == 2
    assert len(figures["grown_to_empty"]) == 2
    assert (
        min(figures["grown_to_empty"]) <= figures["grown_to_empty_median"] <= max(figures["grown_to_empty"])
    )


@pytest.mark.slow
@pytest.mark.skipif(not TRIES_ALL or not shutil.which("valgrind"), reason="it takes minutes, and valgrind")
def test_instructions_are_those_of_the_sagas(tmp_path: Path) -> None:
    def counted(sagas: int) -> float:
        figures = json.loads(
            told("instructions.py", "--sagas", str(sagas), "--warm-up", "8", "--data", tmp_path)
        )
        return figures["million_instructions_per_saga"]

    few = counted(10)
    assert few > 0
    assert not list(tmp_path.iterdir())
    assert few == pytest.approx(counted(40), rel=0.25)


@pytest.mark.slow
@pytest.mark.skipif(not TRIES_ALL or not shutil.which("valgrind"), reason="it takes minutes, and valgrind")
def test_a_call_of_a_long_loop_is_compared_with_one_of_a_short_one() -> None:
    small = ["--short", "2", "--long", "8", "--calls", "8", "--ceiling", "100"]
    completed, undone = map(json.loads, told("loops.py", *small).splitlines())
    assert (completed["sagas"], undone["sagas"]) == ("completed", "undone")
    assert 0 < completed["million_instructions_a_call_short"] < undone["million_instructions_a_call_short"]
    assert 0 < completed["million_instructions_a_call_long"] < undone["million_instructions_a_call_long"]


@pytest.mark.slow
def test_sagas_that_wait_are_measured_before_and_after_a_kill(tmp_path: Path) -> None:
    small = ["--sagas", "40", "--rest", "0.2", "--events", "3", "--data", tmp_path]
    figures = json.loads(told("waiting.py", *small))
    assert figures["waiting"] == 40
    assert 0 < figures["listening_after_s"] <= figures["ready_after_s"]
    assert 0 < figures["event_to_call_p50_ms"] <= figures["event_to_call_p99_ms"]


@for_a_release
@pytest.mark.slow
def test_what_bad_input_costs_is_told_of_each_shape() -> None:
    command = [sys.executable, REPOSITORY / "bench" / "proportion.py", "--bytes", "20000", "--rounds", "1"]
    run = subprocess.run(
        [*command, "--only", "rules"], capture_output=True, text=True, check=False, timeout=4 * LIMIT_S
    )
    figures = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(each["to"], each["shape"], each["answer"]) for each in figures[::2]] == [
        ("gateway, a service's route", "rules broken three times an item", "400 VALIDATION_FAILED"),
        ("gateway, a saga's route", "rules broken three times an item", "400 VALIDATION_FAILED"),
        ("service", "rules broken three times an item", "INVALID_ARGUMENT"),
    ]
    assert all(each["bytes"] <= 20_000 and each["cpu_s"] > 0 for each in figures)
    assert run.returncode == any(each["beyond"] for each in figures)


@pytest.mark.slow
def test_what_somebody_who_looks_on_costs_is_told_with_each_page() -> None:
    small = ["--sagas", "50", "--rounds", "1", "--kept", "50", "--every", "0.01"]
    figures = json.loads(told("watched.py", *small))
    assert figures["pages"] > 0
    assert figures["alone_cpu_ms"] > 0
    assert figures["watched_cpu_ms"] > 0
    assert len(figures["page_cpu_ms"]) > 0
    assert figures["share"] > 0


@pytest.mark.slow
def test_rounds_become_a_table_with_ratios_to_the_floor(tmp_path: Path) -> None:
    small = ["--sagas", "10", "--concurrency", "2", "--warm-up", "4", "--data", tmp_path]
    table = told("compare.py", "--rounds", "1", "--stack", "floor", "--stack", "embedded", *small)
    heading, _, cpu, ratio = table.splitlines()[:4]
    assert heading == "| | floor | embedded |"
    assert cpu.startswith("| CPU, ms a saga |")
    assert ratio.startswith("| relative to the first | 1.00 (1.00 to 1.00) |")


@pytest.mark.slow
@pytest.mark.skipif(not TRIES_ALL or bool(postgres_server.missing()), reason="a PostgreSQL, and its time")
def test_stores_are_measured_side_by_side() -> None:
    small = ["--rounds", "1", "--rows", "0", "--concurrency", "1"]
    table = told("stores.py", "--store", "sqlite", "--store", "repeatable_read", *small).splitlines()
    assert [line.split(" | ")[1] for line in table[2:]] == ["sqlite", "repeatable_read"]
