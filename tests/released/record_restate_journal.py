"""Records half a saga on Restate: `PYTHONPATH=RELEASE/codegen:tests:tests/engine python THIS FILE` (once a format)."""

import asyncio
import json
from pathlib import Path

from small_mesh import usual_saga
from test_restate_cut import Run, Scenario

HALF = 5
"""Entries: the state, `order-0`, the batch of the first step, and the command of the second's."""


async def main(file: Path) -> None:
    run = Run(Scenario(usual_saga(deadline_s=1e9)))
    assert not await run.attempt(HALF)
    journal = run.journal
    kept = {
        "clock_ms": run.clock.ms,
        "input": journal.input.hex(),
        "commands": journal.commands,
        "came": {handle: value.hex() for handle, value in journal.came.items()},
        "state": {name: value.hex() for name, value in journal.state.items()},
    }
    file.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(__file__).with_name("restate_journal_1.json")))
