"""What services commit, as it happens: which calls took effect, and what each of them changed.

An effect is counted when its handler has returned and its service has committed. Neither the barrier nor the engine is
asked: what they should prevent is to be seen here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from sagagen.runtime.model.definition import Direction, Saga
from sagagen.testing.invariants import Effect
from sagagen.testing.processes import GATEWAY, Process
from sagagen.testing.tables import RowChange, Tables, difference, tables_of
from sagagen.testing.trace import Died, Handled
from sagagen.testing.world import World

StepChanges = Mapping[tuple[str, Direction], Sequence[RowChange]]
"""What each call of a saga changed in its service's tables, by step key and direction."""


class CommitLog:
    """Watches the commits of a world. With `in_detail` it looks into the tables at each of them."""

    def __init__(self, *, in_detail: bool = False) -> None:
        self._in_detail = in_detail
        self._effects: list[Effect] = []
        self._changes: dict[Effect, list[RowChange]] = {}
        self._tables: dict[str, Tables] = {}
        self._seen = 0
        self._handled: dict[str, list[Effect]] = {}
        """By service: handlers that have returned, and are not committed."""
        self._kill_when: Callable[[], bool] | None = None
        self._down_s = 0.0

    def watch(self, world: World) -> None:
        """To be called before the world begins."""
        self._world = world
        self._writes = {
            (name, direction)
            for saga in world.mesh.sagas
            for name, direction, is_read in _calls(saga)
            if not is_read
        }

    def begin(self) -> None:
        """From now on changes are looked at."""
        if self._in_detail:
            self._tables = {name: self._tables_of(name) for name in self._world.services}

    def kill_gateway_at(self, is_time: Callable[[], bool], down_s: float) -> None:
        """End the gateway's life at the first commit of its log after which that is so."""
        self._kill_when, self._down_s = is_time, down_s

    def at_commit(self, process: Process, database: str, is_durable: bool) -> None:
        """Of World."""
        if not is_durable:
            return
        if process.name == GATEWAY:
            if self._kill_when and self._kill_when():
                self._kill_when = None
                process.kill(self._down_s)
            return
        self._follow()
        effects = self._handled.pop(database, [])
        self._effects += effects
        if self._tables and effects:
            self._compare(database, effects)

    def _follow(self) -> None:
        """Look at what has happened since the last commit."""
        for happening in self._world.trace[self._seen :]:
            match happening:
                case Handled(outcome="DONE") if self._is_write(happening):
                    effect = Effect(happening.saga_id, happening.step, happening.direction)
                    self._handled.setdefault(happening.service, []).append(effect)
                case Died(process=name):
                    self._handled.pop(name, None)
                case _:
                    pass
        self._seen = len(self._world.trace)

    def _is_write(self, handled: Handled) -> bool:
        return (handled.step.partition("[")[0], handled.direction) in self._writes

    def _compare(self, service: str, effects: Sequence[Effect]) -> None:
        """A commit of several calls is that of each of them."""
        before, after = self._tables[service], self._tables_of(service)
        self._tables[service] = after
        changes = difference(service, before, after)
        for effect in effects:
            self._changes.setdefault(effect, []).extend(changes)

    def _tables_of(self, service: str) -> Tables:
        return tables_of(self._world.databases[service].connection)

    def effects_of(self, saga_id: str) -> Iterator[Effect]:
        return (effect for effect in self._effects if effect.saga_id == saga_id)

    def by_step(self, saga_id: str) -> StepChanges:
        return {
            (effect.key, effect.direction): tuple(changes)
            for effect, changes in self._changes.items()
            if effect.saga_id == saga_id
        }


def _calls(saga: Saga) -> Iterator[tuple[str, Direction, bool]]:
    """Step, direction, and whether it only reads."""
    for step in saga.calls:
        yield step.name, Direction.ACTION, step.action.method.is_read
        if step.compensation:
            yield step.name, Direction.COMPENSATION, step.compensation.method.is_read
