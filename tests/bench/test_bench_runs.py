"""The measurements run and tell what they should; how fast anything is here says nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
@pytest.mark.parametrize("command", [["floor.py"], ["sagas.py"], ["sagas.py", "--closed"]], ids=" ".join)
def test_a_measurement_tells_every_figure(command: list[str], tmp_path: Path) -> None:
    script, *options = command
    small = ["--sagas", "20", "--concurrency", "4", "--declined", "0.25", "--warm-up", "4", "--data"]
    run = subprocess.run(
        [sys.executable, REPOSITORY / "bench" / script, *options, *small, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    figures = json.loads(run.stdout)
    assert figures.keys() == FIGURES
    assert figures["sagas"] == 20
    assert figures["accept_p50_ms"] <= figures["end_to_end_p50_ms"] <= figures["end_to_end_p99_ms"]
    assert not list(tmp_path.iterdir())
