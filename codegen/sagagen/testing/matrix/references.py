"""The rows of a saga that all others are compared with: nothing fails, and all that can be undone is."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from sagagen.runtime.model.definition import Saga
from sagagen.runtime.saga.events import SagaStatus
from sagagen.testing.invariants import Invariant, broken
from sagagen.testing.matrix.checking import Writers, forgotten_undoing, like, of_others
from sagagen.testing.matrix.effects import StepChanges
from sagagen.testing.matrix.playbook import Script, script
from sagagen.testing.matrix.playing import OnRow, Played, Setting, play
from sagagen.testing.matrix.rows import UNDO_WAYS, Row, Way
from sagagen.testing.places import Reached, turning_place
from sagagen.testing.samples import SAMPLES, Sample, SampleError
from sagagen.testing.tables import Column, RowChange, changed, clock_columns, volatile_columns
from sagagen.testing.virtual_time import VirtualLoop
from sagagen.testing.world import World

_LINES = 12
"""So much of a story is told where a sample does not complete."""


class Stage:
    """Plays rows of one project."""

    def __init__(self, root: Path, setting: Setting, invariants: Sequence[tuple[str, Invariant]]) -> None:
        self.root = root
        self.setting = setting
        self._invariants = invariants

    def play(
        self,
        saga: Saga,
        sample: Sample,
        happens: Script,
        *,
        in_detail: bool = False,
        has_other: bool = True,
        on_row: OnRow | None = None,
        is_again: bool = False,
    ) -> Played:
        """Play one row on a loop of its own."""
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(
                play(
                    self.setting,
                    saga,
                    sample,
                    happens,
                    self._look,
                    in_detail=in_detail,
                    has_other=has_other,
                    on_row=on_row,
                    is_again=is_again,
                )
            )

    def _look(self, world: World) -> list[str]:
        if any(history.ended is None for history in world.histories.values()):
            return []  # what holds once every saga is over need not hold of one that is stuck
        databases = {name: world.databases[name].connection for name in world.services}
        return list(broken(self._invariants, databases, self.root))


class References:
    """What one saga leaves with one sample where nothing fails, and where all is undone."""

    def __init__(self, stage: Stage, saga: Saga, sample: Sample) -> None:
        """Raises SampleError unless the sample completes where nothing fails."""
        self.sample = sample
        self._stage = stage
        self._saga = saga
        self._turned_back: Played | None = None
        self.writers = Writers()
        alone = self._play(Script(), has_other=False)
        if alone.history.status is not SagaStatus.COMPLETED:
            raise SampleError(_not_completed(saga, sample, alone))
        straight = self._play(Script(), in_detail=True)
        self.has_other = straight.history.status is SagaStatus.COMPLETED
        """A second saga of this sample completes beside the first. Where it does not, each is alone."""
        if not self.has_other:
            straight = self._play(Script(), in_detail=True, has_other=False)
        again = self._play(Script(), has_other=self.has_other, is_again=True)
        self._straight = straight
        self.volatile = volatile_columns(straight.changes, again.changes) | clock_columns(straight.changes)
        self.writers.add(straight.by_step)

    @property
    def reached(self) -> Reached:
        return self._straight.reached

    def play(self, happens: Script, *, in_detail: bool = False, on_row: OnRow | None = None) -> Played:
        return self._play(happens, in_detail=in_detail, has_other=self.has_other, on_row=on_row)

    def _play(
        self,
        happens: Script,
        *,
        in_detail: bool = False,
        has_other: bool = True,
        on_row: OnRow | None = None,
        is_again: bool = False,
    ) -> Played:
        return self._stage.play(
            self._saga,
            self.sample,
            happens,
            in_detail=in_detail,
            has_other=has_other,
            on_row=on_row,
            is_again=is_again,
        )

    def differs_in_each_run(self, happens: Script, played: Played) -> None:
        """Play it once more, and remember the columns that differ."""
        again = self._play(happens, has_other=self.has_other, is_again=True)
        self.volatile |= volatile_columns(played.changes, again.changes) | clock_columns(played.changes)

    def turned_back(self) -> Played:
        """The row in which all that can be undone is. To be asked only where something turns the saga back."""
        if self._turned_back is None:
            row = Row(self._saga.name, way=Way.TURNED_BACK, sample=self.sample.name)
            happens = script(self._saga, row, self.reached)
            self._turned_back = self.play(happens, in_detail=True)
            self.writers.add(self._turned_back.by_step)
            self.differs_in_each_run(happens, self._turned_back)
        return self._turned_back

    def notes(self, row: Row) -> tuple[str, ...]:
        """What looks like a mistake in the handlers; a person may approve it."""
        if row.way is not Way.TURNED_BACK:
            return ()
        by_step: StepChanges = {**self._straight.by_step, **self.turned_back().by_step}
        return tuple(forgotten_undoing(self._saga, by_step))

    def unlike(self, row: Row, is_like_straight: bool, played: Played) -> Iterator[str]:
        """What differs from what the row has to leave, where another one says that."""
        if is_like_straight and row.way is not Way.STRAIGHT:
            yield from self._unlike("straight", played, self._straight)
        elif row.way in UNDO_WAYS:
            yield from self._unlike("turned-back", played, self.turned_back())

    def of_others(self, played: Played) -> Iterator[str]:
        """A saga changes nothing that belongs to another one."""
        for change in of_others(played):
            if turning_place(self._saga, self.reached):
                self.turned_back()  # it shows which compensations write there
            yield f"a row of another saga has changed: {change}{self.writers.of(change)}"

    def _unlike(self, name: str, played: Played, wanted: Played) -> Iterator[str]:
        yield from like(name, self._masked(played), self._masked(wanted), self.writers)

    def _masked(self, played: Played) -> list[RowChange]:
        return changed(played.changes, self.volatile)

    def is_volatile(self, columns: frozenset[Column]) -> None:
        """These differ in each run too: an earlier run has found out."""
        self.volatile |= columns


def _not_completed(saga: Saga, sample: Sample, played: Played) -> str:
    history = played.history
    stuck = next(iter(history.stuck.values()), None)
    failure = history.turned_back.failure if history.turned_back else stuck.failure if stuck else None
    why = f": step {failure.step} fails with {failure.reason}: {failure.message}" if failure else ""
    problems = "".join(f"\n{problem}" for problem in played.problems)
    story = "\n".join(f"  | {line}" for line in played.story[-_LINES:])
    file = (SAMPLES / f"{saga.name}.json").as_posix()
    return (
        f"{sample.source}: saga {saga.name} ends {history.status} where nothing should fail{why}{problems}\n"
        f"Give fields an example that the handlers take, or write {file}.\n{story}"
    )
