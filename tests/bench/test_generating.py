"""The measurement of the generator runs, and each of its runs does what its name says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import LIMIT_S

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_generator_is_measured_in_each_of_its_situations(tmp_path: Path) -> None:
    command = [sys.executable, REPOSITORY / "bench" / "generate.py", "--services", "2", "--data", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=4 * LIMIT_S)
    figures = [json.loads(line) for line in run.stdout.splitlines()]
    situations = [(one["run"], one["services"]) for one in figures]
    assert situations == [
        *(("python", 0), ("nothing", 2), ("no change", 2), ("one line", 2), ("one line of a saga", 2)),
        ("betterproto2", 2),
    ]
    cpu_s = {one["run"]: one["cpu_s"] for one in figures}
    assert cpu_s["python"] < cpu_s["no change"] < cpu_s["nothing"]
    assert not list(tmp_path.iterdir())
