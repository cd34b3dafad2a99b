"""The sagas in flight, and which of them a change hits."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sagagen.compatibility.change import Hit, Reach, Target
from sagagen.contract.model import Mesh


@dataclass(frozen=True, slots=True)
class InFlight:
    """A saga that is not over; STUCK ones are not."""

    saga: str
    version: int
    status: str
    step: str
    """The step whose call, or undoing, it is at; empty if that is not known."""
    age_s: float


class OpenSagas:
    """Where the sagas in flight are, by the old contract's order of steps."""

    def __init__(self, in_flight: Iterable[InFlight], old: Mesh) -> None:
        self._in_flight = tuple(in_flight)
        self._steps: Mapping[tuple[str, int], Sequence[str]] = {
            (saga.name, saga.version): [step.name for step in saga.steps] for saga in (*old.sagas, *old.kept)
        }

    @property
    def count(self) -> int:
        return len(self._in_flight)

    def hit(self, target: Target) -> Hit:
        steps = self._steps.get((target.saga, target.version), ())
        own = [
            each
            for each in self._in_flight
            if (each.saga, each.version) == (target.saga, target.version) and _is_hit(each, target, steps)
        ]
        places = Counter(each.step or "an unknown step" for each in own)
        order = {step: number for number, step in enumerate(steps)}
        where = sorted(places.items(), key=lambda place: order.get(place[0], len(order)))
        return Hit(len(own), tuple(where), max((each.age_s for each in own), default=0.0))


def _is_hit(saga: InFlight, target: Target, steps: Sequence[str]) -> bool:
    if target.reach is Reach.ALL or saga.step not in steps or target.step not in steps:
        return True  # where it is not known exactly, it counts
    at, of_step = steps.index(saga.step), steps.index(target.step)
    if target.reach is Reach.OWES_STEP:
        return at >= of_step
    return saga.status == "RUNNING" and at <= of_step
