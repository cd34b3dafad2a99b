#!/usr/bin/env python
"""Count the instructions that telling a saga of the shop takes: `python bench/narration.py`.

Runs the narrator under valgrind's callgrind for two numbers of sagas, and prints what one more of them takes. It needs
no mesh, so it is the same to the thousandth on a machine that does other things as well.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_REPOSITORY = Path(__file__).parents[1]
_COUNTS = (500, 1500)
_AT_ONCE = 8
"""Sagas whose lines are written together: those of 50 ms, under load."""
_COLLECTED = re.compile(r"Collected : (\d+)")


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(_tell(int(sys.argv[1])))
        return
    few, many = (_counted(count) for count in _COUNTS)
    print(f"{(many - few) / (_COUNTS[1] - _COUNTS[0]) / 1000:.1f} thousand instructions a saga")


def _counted(count: int) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/counts"),
                *(sys.executable, __file__, str(count)),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    found = _COLLECTED.search(done.stderr)
    assert found, done.stderr
    return int(found[1])


async def _tell(count: int) -> None:
    sys.path.insert(0, str(_REPOSITORY))
    from generated.mesh import MESH
    from sagagen.runtime.engine.narration import Narrator
    from sagagen.runtime.rpc.trace import TraceContext
    from sagagen.runtime.saga.events import Accepted, Done, Ended, NextRequest, SagaStatus
    from sagagen.runtime.saga.history import fold
    from sagagen.runtime.telemetry.console import Console

    saga, nothing = MESH.sagas[0], NextRequest()
    accepted = Accepted(
        at_ms=1,
        saga_id="5c0e2f9e-0000-5000-8000-000000000001",
        saga=saga.name,
        version=saga.version,
        digest=saga.digest,
        run="",
        caller="",
        key="",
        fingerprint=b"",
        input=b"",
        trace=TraceContext.new(),
        next=nothing,
    )
    history = fold([accepted])
    rows = [Done(at_ms=5, step=step.name, attempt=1, response=b"", next=nothing) for step in saga.calls]
    end = Ended(at_ms=9, status=SagaStatus.COMPLETED)
    console = Console(sys.stdout)
    narrator = Narrator(console, MESH.sagas)
    for number in range(count):
        for row in rows:
            narrator.tell_attempt(accepted, row, 0.003)
            narrator.tell_rows(saga, history, [row] if row is not rows[-1] else [row, end])
        if number % _AT_ONCE == 0:
            console.flush()
            await asyncio.sleep(0)


if __name__ == "__main__":
    main()
