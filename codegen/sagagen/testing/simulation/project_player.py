"""Plays schedules on a project's own mesh and handlers."""

import asyncio
import gc
import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import structlog

from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.model.definition import Direction, Saga
from sagagen.runtime.process.gateway import composed
from sagagen.runtime.process.project import Project
from sagagen.runtime.saga.events import Accepted, Ended, Stuck, TurnedBack
from sagagen.testing.invariants import INVARIANTS, Invariant, InvariantsError, project_invariants
from sagagen.testing.samples import SampleError, samples_of
from sagagen.testing.simulation.judging import BUILT_IN, ENDS, judged
from sagagen.testing.simulation.outcomes import Happening, Played, Violation, What
from sagagen.testing.simulation.schedule import Schedule, SentSaga
from sagagen.testing.simulation.subjects import CannotSimulate, Subject, no_such_saga, subject
from sagagen.testing.simulation.world import CANCELS, ClientSaw, Handlers, Killed, SimulatedWorld
from sagagen.testing.trace import Answered, Died, Sent, Started, Wrote
from sagagen.testing.virtual_time import BEGINNING_MS, VirtualLoop
from sagagen.testing.world import NeverHappened

_OBJECTS_BETWEEN_COLLECTIONS = 100_000


@dataclass
class ProjectPlayer:
    """Implements Player for a project on disk."""

    project: Project
    gateway: Gateway
    subjects: Sequence[Subject]
    own: Sequence[tuple[str, Invariant]]
    """The project's invariants, by name."""
    handlers: Handlers = dict
    notes: list[str] = field(default_factory=list[str])
    """What is not simulated, and why."""

    @classmethod
    def load(cls, root: Path, names: Sequence[str] = (), handlers: Handlers = dict) -> Self:
        """Those sagas of the project at `root`, or all. Raises StartupError naming what is wrong."""
        return cls.of(Project.load(root), names, handlers)

    @classmethod
    def of(cls, project: Project, names: Sequence[str] = (), handlers: Handlers = dict) -> Self:
        """As `load`, of a project that is imported."""
        gateway = composed(project)
        newest = {saga.name: saga for saga in project.mesh.sagas}  # kept versions stand before it
        for name in names:
            if name not in newest:
                raise no_such_saga(name, sorted(newest))
        chosen = [saga for name, saga in newest.items() if not names or name in names]
        if not chosen:
            raise CannotSimulate("the project has no saga: add one to contracts/saga.yaml")
        try:
            subjects = [_subject(project, gateway, saga) for saga in chosen]
            own = project_invariants(project.root)
        except (SampleError, InvariantsError) as error:
            raise CannotSimulate(str(error)) from error
        notes = [note for each in subjects for note in each.notes]
        if not own:
            notes.append(f"{INVARIANTS.as_posix()} is missing: only what holds in any project is asked for")
        return cls(project, gateway, subjects, own, handlers, notes)

    @property
    def services(self) -> Sequence[str]:
        return [service.name for service in self.project.mesh.services]

    @property
    def invariants(self) -> Sequence[str]:
        """Names of all that is asked for."""
        return [*BUILT_IN, *(name for name, _ in self.own)]

    def play(self, schedule: Schedule) -> Played:
        """As Player says. What handlers draw from `random` follows from the schedule too."""
        by_name = {each.saga.name: each for each in self.subjects}
        for sent in schedule.sagas:
            _check(sent, by_name)
        before = random.getstate()
        random.seed(schedule.pace)
        try:
            with _quiet(), _rare_collections(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
                return runner.run(self._play(schedule, by_name))
        finally:
            random.setstate(before)

    async def _play(self, schedule: Schedule, subjects: Mapping[str, Subject]) -> Played:
        world = SimulatedWorld(self.project.mesh, schedule, subjects, self.gateway, self.handlers)
        never: list[Violation] = []
        async with world:
            try:
                await world.play()
            except* NeverHappened as error:
                never = [Violation(ENDS, str(error.exceptions[0]))]
            if world.mistakes:
                raise CannotSimulate(world.mistakes[0])
            violations = [*judged(world, self.own)] or never
            return Played(tuple(_told(world)), _ends(world), tuple(violations))


def _check(sent: SentSaga, known: Mapping[str, Subject]) -> None:
    """A code may have been printed for another contract."""
    if sent.saga not in known:
        raise no_such_saga(sent.saga, sorted(known))
    subject = known[sent.saga]
    try:
        subject.samples.encoded(sent.input)
        for event in sent.events:
            incoming = subject.events.get(event.event) if event.event else subject.cancel
            if incoming is None:
                raise ValueError(f"saga {sent.saga} has no event {event.event or 'to cancel it'}")
            incoming.payload(event, "")
    except ValueError as error:
        raise CannotSimulate(f"the schedule is of another contract: {error}") from error


def _subject(project: Project, gateway: Gateway, saga: Saga) -> Subject:
    samples = samples_of(project.root, gateway.schema, saga)
    return subject(saga, gateway.schema, samples, BEGINNING_MS // 1000)


def _ends(world: SimulatedWorld) -> Mapping[str, int]:
    ends = Counter(str(history.status) for history in world.histories.values())
    if left := len(world.ids) - len(world.histories):
        ends["not taken"] = left
    return ends


class _quiet:
    """What an engine logs of sagas that fail on purpose is of no use to anybody."""

    def __enter__(self) -> None:
        self._before = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    def __exit__(self, *_: object) -> None:
        structlog.configure(**self._before)


class _rare_collections:
    """Nearly nothing that a world leaves behind needs Python's collector, which looks after 700 objects by default."""

    def __enter__(self) -> None:
        self._before = gc.get_threshold()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *self._before[1:])

    def __exit__(self, *_: object) -> None:
        gc.set_threshold(*self._before)


# -- what happened, as a story needs it ------------------------------------------------------------------------------


def _told(world: SimulatedWorld) -> Iterator[Happening]:
    numbers = {of: number for number, of in world.ids.items()}
    for each in world.trace:
        at_ms = round(each.at_s * 1000)
        match each:
            case ClientSaw():
                yield _of_client(at_ms, numbers[each.saga_id], each)
            case Sent():
                yield Happening(
                    at_ms, What.CALL, numbers[each.saga_id], each.step, str(each.direction), each.attempt
                )
            case Answered():
                is_done = each.outcome == "DONE"
                yield Happening(
                    at_ms,
                    What.DONE if is_done else What.FAILED,
                    numbers[each.saga_id],
                    each.step,
                    str(each.direction),
                    each.attempt,
                    "" if is_done else each.outcome,
                )
            case Wrote():
                yield from _of_rows(at_ms, numbers[each.saga_id], each)
            case Killed():
                yield Happening(at_ms, What.KILLED, detail=each.process)
            case Died():
                yield Happening(at_ms, What.DIES, detail=each.process)
            case Started():
                yield Happening(at_ms, What.UP, detail=each.process)
            case _:
                pass


def _of_client(at_ms: int, number: int, seen: ClientSaw) -> Happening:
    what = seen.event or "the request"
    if seen.refusal:
        return Happening(at_ms, What.NOT_TAKEN, number, what, detail=seen.refusal)
    if not seen.event:
        return Happening(at_ms, What.STARTS, number)  # if the gateway died before it could say so itself
    name = "the client cancels" if seen.event == CANCELS else f"the event {seen.event} {seen.text} comes"
    return Happening(at_ms, What.EVENT, number, detail=name)


def _of_rows(at_ms: int, number: int, wrote: Wrote) -> Iterator[Happening]:
    for row in wrote.rows:
        match row:
            case Accepted():
                yield Happening(at_ms, What.STARTS, number)
            case TurnedBack():
                yield Happening(
                    at_ms,
                    What.BACK,
                    number,
                    row.failure.step,
                    str(Direction.ACTION),
                    detail=row.failure.reason,
                )
            case Stuck():
                yield Happening(
                    at_ms, What.STUCK, number, detail=f"STUCK at {row.failure.step}: {row.failure.reason}"
                )
            case Ended():
                yield Happening(at_ms, What.ENDS, number, detail=str(row.status))
            case _:
                pass
