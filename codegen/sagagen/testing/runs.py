"""One saga, as a test looks at it: where it stands, which calls it made, what was undone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sagagen.runtime.saga.events import Compensated, Done, LogEvent, SagaStatus
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.saga.view import SagaView, view_of
from sagagen.runtime.scope import Failure
from sagagen.testing.calls import CallMade

if TYPE_CHECKING:
    from sagagen.testing.world import World


class SagaRun:
    """A saga of a world, as its log has it now."""

    def __init__(self, world: "World", saga_id: str) -> None:
        self._world = world
        self.id = saga_id

    @property
    def _history(self) -> History:
        return self._world.histories[self.id]

    @property
    def status(self) -> SagaStatus:
        """Equal to its name: `"COMPENSATED"`."""
        return self._history.status

    @property
    def failure(self) -> Failure | None:
        """Why it turned back, or what it is stuck at: `step`, `code`, `reason` and `message`. None: neither."""
        history = self._history
        if history.stuck:
            return next(iter(history.stuck.values())).failure
        return history.turned_back.failure if history.turned_back else None

    @property
    def result(self) -> SagaResult | None:
        """What the request that started it is answered with; None while there is none."""
        return self._history.result

    @property
    def calls(self) -> Sequence[CallMade]:
        """Every attempt of every call, compensations among them, in the order in which they were made."""
        return tuple(self._world.calls.get(self.id, ()))

    @property
    def called(self) -> list[str]:
        """The same in words: `["reserve", "charge", "undo reserve"]`."""
        return list(map(str, self.calls))

    @property
    def done(self) -> list[str]:
        """Steps whose action took effect, and waits and delays that are over, in that order."""
        return [row.step for row in self.rows if isinstance(row, Done)]

    @property
    def compensated(self) -> list[str]:
        """Steps that were undone, in that order."""
        return [row.step for row in self.rows if isinstance(row, Compensated)]

    @property
    def rows(self) -> Sequence[LogEvent]:
        """What the saga log has of it."""
        return self._world.rows_of(self.id)

    @property
    def view(self) -> SagaView:
        """What `GET /sagas/{id}` shows: each step with its status."""
        return view_of(self._history, self._world.saga_of(self._history))

    def status_of(self, step: str) -> str:
        """Of one step: `DONE`, `WAITING`, `COMPENSATED`, ... Raises KeyError if the saga has no such step."""
        return {view.name: str(view.status) for view in self.view.steps}[step]

    @property
    def story(self) -> str:
        """All that happened to it, a line each, with the seconds since the world began."""
        return self._world.story(self.id)

    def __repr__(self) -> str:
        return f"<saga {self._history.accepted.saga} {self.id}: {self.status}>"
