#!/usr/bin/env python
"""Count a saga's instructions now and at a commit before: `python bench/beside.py COMMIT [options of instructions.py]`.

Takes the commit's files out into a folder of their own, and runs bench/instructions.py there and here by turns, with
the same interpreter and libraries. Prints one line of JSON: both counts, and now over before, which two runs of one
version have within half a percent on a quiet machine. `--mesh` is handed on.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from measuring import tell

REPOSITORY = Path(__file__).resolve().parents[1]
FEW = ("--sagas", "40", "--warm-up", "40")
COUNT = "million_instructions_per_saga"


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit("which commit? python bench/beside.py COMMIT [--mesh] ...")
    commit, *options = sys.argv[1:]
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True, check=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        before, now = _count(Path(folder), options), _count(REPOSITORY, options)
    tell(
        {"commit": commit, "options": options, "before": before, "now": now, "ratio": round(now / before, 3)}
    )


def _count(root: Path, options: list[str]) -> float:
    path = os.pathsep.join(str(root / each) for each in ("codegen", ".", "bench"))
    run = subprocess.run(
        [sys.executable, "bench/instructions.py", *FEW, *options],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])[COUNT]


if __name__ == "__main__":
    main()
