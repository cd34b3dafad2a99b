"""Rules of the engine and the barrier that are taken out, each with the project whose simulation shows it soon."""

from dataclasses import dataclass
from typing import Any

import pytest
from taken_out import taken_out

from sagagen.runtime.engine.driver import SagaDriver
from sagagen.runtime.saga import forward
from sagagen.runtime.saga.backward import Backward
from sagagen.runtime.saga.forward import Forward
from sagagen.runtime.service.barrier import rules as barrier
from sagagen.runtime.service.sqlite_store import steps, writer


@dataclass(frozen=True)
class Mutant:
    """A rule, as the text of a function that keeps it, and the same text without it."""

    name: str
    owner: Any
    """The class or module of the function."""
    function: str
    was: str
    now: str
    project: str = "shop"
    world: int = 0
    """Of seed SEED, in which it shows: looked at first."""

    def take_out(self, patch: pytest.MonkeyPatch) -> None:
        taken_out(patch, self.owner, self.function, self.was, self.now)


SEED = 1

MUTANTS = (
    Mutant("undone last to first", Backward, "_list", "reversed(elements)", "elements"),
    Mutant(
        "a step in doubt is undone",
        Backward,
        "__init__",
        "self._undone_by.add(turned_back.failure.step)",
        "pass",
        world=27,
    ),
    Mutant(
        "a pivot in doubt never turns back",
        forward,
        "_forward",
        "step.kind is StepKind.PIVOT and is_attempted(history, key)",
        "False",
        world=27,
    ),
    Mutant(
        "turning back names what is in doubt beside it",
        Forward,
        "_turn_back_with_doubt",
        "return replace(back, doubt=tuple(doubt))",
        "return back",
        "delivery",
    ),
    Mutant(
        "what a cancel calls off is in doubt",
        SagaDriver,
        "_call_off_for",
        "away = self._flights.call_off_all()",
        "away = self._flights.call_off_all()[:0]",
        "delivery",
    ),
    Mutant(
        "a call is sent when what releases it is on disk",
        SagaDriver,
        "_advance",
        "await self._write()",
        "asyncio.create_task(self._write())",
        world=27,
    ),
    Mutant(
        "the barrier keeps DONE",
        steps,
        "rule",
        "own.state is not State.PENDING",
        "own.state is State.EMPTY",
        world=1,
    ),
    Mutant(
        "what is done is undone by its handler",
        barrier,
        "_compensate",
        "action is None or action.state is State.REFUSED",
        "True",
    ),
    Mutant(
        "an effect leaves a row of the barrier",
        writer,
        "end_call",
        "if handled.record is not None:",
        "if False:",
    ),
    Mutant(
        "a refusal undoes its writes",
        writer,
        "end_call",
        "if not handled.keeps_effects:",
        "if False:",
        world=8,
    ),
)
