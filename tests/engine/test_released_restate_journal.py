"""Half a saga in Restate's journal as a release has left it: today's adapter ends it, or leaves what it does not know.

`tests/released/restate_journal_1.json` is that journal: batches and rows of format 1, cut in the midst of the second
step. It is never edited.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from small_mesh import usual_saga
from test_restate_cut import Run, Scenario

from sagagen.runtime.restate.failing import MARK, said_of
from sagagen.runtime.restate.state import STATE, of_state
from sagagen.runtime.saga.codec import UnknownFormat, UnknownKind
from sagagen.runtime.saga.events import SagaStatus

RELEASED = Path(__file__).parents[1] / "released" / "restate_journal_1.json"
SCENARIO = Scenario(usual_saga(deadline_s=1e9))
FIRST_BATCH = 2
"""Its command: before it are the state and `order-0`."""


def released() -> Run:
    """The saga as the release left it, in a world that has not seen its first step."""
    kept: dict[str, Any] = json.loads(RELEASED.read_text())
    run = Run(SCENARIO)
    run.clock.ms = kept["clock_ms"]
    journal = run.journal
    journal.input = bytes.fromhex(kept["input"])
    journal.commands = [(kind, name) for kind, name in kept["commands"]]
    journal.came = {int(handle): bytes.fromhex(value) for handle, value in kept["came"].items()}
    journal.state = {name: bytes.fromhex(value) for name, value in kept["state"].items()}
    return run


async def test_half_a_saga_of_a_release_is_ended() -> None:
    run = released()
    assert await run.attempt()
    rows = of_state(run.journal.state[STATE]).rows
    assert [type(row).__name__ for row in rows][:3] == ["Accepted", "Done", "Resumed"]
    assert run.history.status is SagaStatus.COMPLETED
    assert [effect.step for effect in run.world.effects] == ["two", "pivot", "after"], "one was done before"


@pytest.mark.parametrize(
    ("known", "later", "error", "why"),
    [
        (b"\x01", b"\x09", UnknownFormat, "rows of format 9"),
        (b"\x08\x01\x12", b"\x08\x09\x12", UnknownFormat, "rows of format 9"),
        (b"DONE", b"DUNE", UnknownKind, "DUNE"),
    ],
    ids=["a batch of a later format", "rows of a later format", "a row of an unknown kind"],
)
async def test_what_a_later_release_wrote_waits_for_it(
    known: bytes, later: bytes, error: type[Exception], why: str
) -> None:
    run = released()
    journal = run.journal
    journal.came[FIRST_BATCH] = journal.came[FIRST_BATCH].replace(known, later, 1)
    commands, came = list(journal.commands), dict(journal.came)
    with pytest.raises(error, match=why) as refused:
        await run.attempt()
    assert said_of(refused.value).startswith(MARK), "so that whoever asks is told what it waits for"
    assert (journal.commands, journal.came, run.world.calls) == (commands, came, []), "nothing is guessed"
