"""The open sagas, and which of them a change hits."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sagagen.compatibility.change import Hit, Reach, Target, count_open
from sagagen.contract.model import Mesh


@dataclass(frozen=True, slots=True)
class OpenSaga:
    """A saga that is active (RUNNING, COMPENSATING) or STUCK."""

    saga: str
    version: int
    status: str
    step: str
    """The step that it is calling or undoing; empty if that is not known."""
    age_s: float


class OpenSagas:
    """Where the open sagas are, by the old contract's order of steps."""

    def __init__(self, open_sagas: Iterable[OpenSaga], old: Mesh) -> None:
        self._sagas = tuple(open_sagas)
        self._steps: Mapping[tuple[str, int], Sequence[str]] = {
            (saga.name, saga.version): [step.name for step in saga.calls] for saga in (*old.sagas, *old.kept)
        }

    def __str__(self) -> str:
        return count_open(len(self._sagas))

    def hit(self, target: Target) -> Hit:
        steps = self._steps.get((target.saga, target.version), ())
        own = [
            each
            for each in self._sagas
            if (each.saga, each.version) == (target.saga, target.version) and _is_hit(each, target, steps)
        ]
        places = Counter(each.step or "an unknown step" for each in own)
        order = {step: number for number, step in enumerate(steps)}
        where = sorted(places.items(), key=lambda place: order.get(place[0], len(order)))
        return Hit(len(own), tuple(where), max((each.age_s for each in own), default=0.0))


def _is_hit(saga: OpenSaga, target: Target, steps: Sequence[str]) -> bool:
    if target.reach is Reach.ALL or saga.step not in steps or target.step not in steps:
        return True  # it may be hit, so it counts
    at, of_step = steps.index(saga.step), steps.index(target.step)
    if target.reach is Reach.OWES_STEP:
        return at >= of_step
    return saga.status == "RUNNING" and at <= of_step
