"""How a test says what is to go wrong with which call."""

from typing import Any

from sagagen.runtime.model.definition import Delay as DelayElement
from sagagen.runtime.model.definition import Direction, Mesh, Step, Wait, leaves
from sagagen.testing.durations import Duration, seconds
from sagagen.testing.faults import (
    Crash,
    Delay,
    DelayAnswer,
    Duplicate,
    Fail,
    FaultPlan,
    LoseAnswer,
    LoseRequest,
    Moment,
)
from sagagen.testing.mistakes import TestMistake, unknown


class FaultPlanning:
    """Adds to a plan what a test names. Each method raises TestMistake for a step that makes no such call.

    `step` is a step of any saga, or an item of a loop: `reserve[margherita]`. With `attempt` only the attempt of that
    number is meant, from 1; with `times` so many are; with `compensation` what undoes the step and not its action.
    """

    def __init__(self, mesh: Mesh, plan: FaultPlan) -> None:
        self.plan = plan
        self._elements = {each.name: each for saga in mesh.sagas for each in leaves(saga.steps)}

    def fail(
        self,
        step: str,
        error: Exception,
        *,
        attempt: int | None = None,
        times: int | None = None,
        compensation: bool = False,
        late: bool = False,
    ) -> None:
        """The step's handler raises `error`: Declined, an RpcError, or what a bug would raise.

        At each attempt; or only at the one of that number, or at the first `times`. `compensation`: not the step's
        action fails but what undoes it. `late`: the handler has run before, and its writes are undone.
        """
        found = self._checked(step, compensation, attempt)
        self.plan.add(Fail(error=error, is_late=late, times=times, **found))

    def lose_request(
        self, step: str, *, attempt: int | None = None, times: int | None = 1, compensation: bool = False
    ) -> None:
        """The call never arrives; whoever made it waits until its time-out. Once, unless `times` says otherwise."""
        self.plan.add(LoseRequest(times=times, **self._checked(step, compensation, attempt)))

    def lose_answer(
        self, step: str, *, attempt: int | None = None, times: int | None = 1, compensation: bool = False
    ) -> None:
        """The call has its effect, and its answer never arrives. Once, unless `times` says otherwise."""
        self.plan.add(LoseAnswer(times=times, **self._checked(step, compensation, attempt)))

    def delay(
        self,
        step: str,
        by: Duration,
        *,
        answer: bool = False,
        attempt: int | None = None,
        times: int | None = 1,
        compensation: bool = False,
    ) -> None:
        """The call arrives so much later, though nobody may wait for it any more; or its answer does."""
        found, by_s = self._checked(step, compensation, attempt), seconds(by)
        kind = DelayAnswer if answer else Delay
        self.plan.add(kind(seconds=by_s, times=times, **found))

    def duplicate(
        self,
        step: str,
        *,
        late: Duration = 0.0,
        attempt: int | None = None,
        times: int | None = 1,
        compensation: bool = False,
    ) -> None:
        """The call arrives twice, the second time so much later."""
        found = self._checked(step, compensation, attempt)
        self.plan.add(Duplicate(late_s=seconds(late), times=times, **found))

    def crash(
        self,
        step: str,
        at: Moment | str,
        *,
        attempt: int | None = None,
        times: int = 1,
        compensation: bool = False,
        down: Duration = 1.0,
    ) -> None:
        """A process ends as by kill -9 at that moment of a call, and starts again `down` later.

        At `sent`, `answered` and `recorded` it is the gateway; at `arrived`, `handled` and `committed` the service.
        """
        if str(at) not in list(Moment):
            raise unknown("moment of a call", str(at), Moment)
        found = self._checked(step, compensation, attempt)
        self.plan.add(Crash(moment=Moment(at), down_s=seconds(down), times=times, **found))

    def crash_before(self, step: str, *, compensation: bool = False) -> None:
        """The gateway dies as it makes the call, of which nothing has happened."""
        self.crash(step, Moment.SENT, compensation=compensation)

    def crash_after(self, step: str, *, compensation: bool = False) -> None:
        """The gateway dies once the call has had its effect, and before the saga log knows of it."""
        self.crash(step, Moment.ANSWERED, compensation=compensation)

    def all_well(self) -> None:
        """From now on nothing goes wrong any more."""
        self.plan.clear()

    def _checked(self, step: str, compensation: bool, attempt: int | None) -> dict[str, Any]:
        """The step as a fault names it. Raises TestMistake if there is none."""
        name = step.partition("[")[0]
        found = self._elements.get(name)
        if isinstance(found, Wait):
            raise TestMistake(
                f'"{step}" makes no call, it waits for the event {found.event}: `t.send("{found.event}", ...)` '
                f"brings that, `t.skip(...)` lets it time out"
            )
        if isinstance(found, DelayElement):
            raise TestMistake(f'"{step}" makes no call, it lets time pass: `t.skip(...)` does that in a test')
        if not isinstance(found, Step):
            raise unknown("step", name, self._elements)
        if "[" in step and not found.for_each:
            raise TestMistake(f'"{name}" is no loop, so it has no item: leave out "{step[len(name) :]}"')
        if compensation and not found.compensation:
            raise TestMistake(f'"{step}" has no compensation, so nothing of that can go wrong')
        if attempt is not None and attempt < 1:
            raise TestMistake(f"attempts are counted from 1; there is no attempt {attempt}")
        direction = Direction.COMPENSATION if compensation else Direction.ACTION
        return {"step": step, "direction": direction, "attempt": attempt}
