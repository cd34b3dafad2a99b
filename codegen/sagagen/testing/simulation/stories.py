"""A schedule that was played, as a story for people: numbered sentences, what went wrong among them.

Calls that nothing happens to stand together in one sentence; a saga's number stands wherever there are several.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sagagen.runtime.model.definition import Direction
from sagagen.testing.simulation.outcomes import Happening, Played, What
from sagagen.testing.simulation.schedule import GATEWAY, REFUSED, Fault, FaultKind, Schedule

_MOST_LINES = 60
"""A story that is longer is cut: nobody reads it."""
_LONGEST_INPUT = 400
_SAID: Mapping[FaultKind, str] = {
    FaultKind.REQUEST_LOST: "the request is lost",
    FaultKind.ANSWER_LOST: "it is done, and the answer is lost",
    FaultKind.FAILS: "the service answers UNAVAILABLE",
    FaultKind.REFUSES: f"the service declines: {REFUSED}",
    FaultKind.LATE: "it arrives later than anybody waits",
    FaultKind.TWICE: "it is delivered twice",
    FaultKind.DIES_BEFORE: "the service dies before its commit",
    FaultKind.DIES_AFTER: "the service dies after its commit, and the answer is lost",
    FaultKind.GATEWAY_BEFORE: "the gateway dies as it is about to be sent",
    FaultKind.GATEWAY_AFTER: "it is done, and the gateway dies with the answer before it is in the log",
    FaultKind.GATEWAY_LATER: "it is done, and the gateway dies once that is in the log",
}


_WITHOUT_END = (
    FaultKind.TWICE,
    FaultKind.GATEWAY_BEFORE,
    FaultKind.GATEWAY_AFTER,
    FaultKind.GATEWAY_LATER,
)
"""After these what comes of the call is told as that of any other."""
_CallName = tuple[int, str, str, int]
"""Number of the saga, step, direction and attempt."""


def story(schedule: Schedule, played: Played) -> list[str]:
    """Sentences, each with its number: `1. order 1: reserve_stock is sent; the answer is lost.`"""
    lines = [*_Teller(schedule).tell(played.trace)]
    if len(lines) > _MOST_LINES:
        left_out = len(lines) - _MOST_LINES
        lines = [*lines[: _MOST_LINES - 5], f"({left_out} more happen.)", *lines[-5:]]
    return [f"{number}. {line}" for number, line in enumerate(lines, start=1)]


@dataclass
class _Teller:
    schedule: Schedule
    _calm: list[Happening] = field(default_factory=list[Happening])
    """Calls of one saga that were done, and are not told yet."""
    _last: str = ""
    """What was told last."""
    _started: set[int] = field(default_factory=set[int])
    _told: set[_CallName] = field(default_factory=set[_CallName])
    """Calls whose outcome was told before it came."""

    def __post_init__(self) -> None:
        self._sagas = {saga.number: saga for saga in self.schedule.sagas}
        self._faults: dict[_CallName, Fault] = {
            (saga.number, fault.step, str(fault.direction), fault.attempt): fault
            for saga in self.schedule.sagas
            for fault in saga.faults
        }

    def tell(self, trace: Sequence[Happening]) -> Iterator[str]:
        for each in trace:
            if self._is_told_already(each):
                continue
            if each.what is What.DONE and not each.detail and each.attempt == 1:
                if self._calm and self._calm[0].saga != each.saga:
                    yield self._told_calm()
                self._calm.append(each)
                continue
            sentence = self._sentence(each)
            if sentence:
                if self._calm:
                    yield self._told_calm()
                self._last = sentence
                yield sentence
        if self._calm:
            yield self._told_calm()

    def _told_calm(self) -> str:
        names = [_call(each) for each in self._calm]
        of = self._of(self._calm[0])
        self._calm = []
        verb = "is" if len(names) == 1 else "are"
        return f"{of}{_listed(names)} {verb} done."

    def _sentence(self, each: Happening) -> str:
        of = self._of(each)
        match each.what:
            case What.STARTS:
                return f"{self._name(each.saga)} starts with {_short(self._sagas[each.saga].input)}."
            case What.NOT_TAKEN:
                return f"{of}{each.step or 'the request'} is not taken: {each.detail}."
            case What.CALL:
                fault = self._struck(each)
                return f"{of}{_sent(each)}; {_SAID[fault.kind]}{_later(fault)}." if fault else ""
            case What.DONE:
                return f"{of}{_call(each)} is done{' already, the recorded answer comes' if each.detail else ''}."
            case What.FAILED:
                return f"{of}{_sent(each)} and fails: {each.detail}."
            case What.EVENT:
                return f"{of}{each.detail}."
            case What.BACK:
                return "" if each.detail in self._last else f"{of}it turns back: {each.detail}."
            case What.ENDS | What.STUCK:
                return f"{of}it is {each.detail}."
            case What.KILLED:
                return f"{_process(each.detail)} dies."
            case _:
                return ""

    def _is_told_already(self, each: Happening) -> bool:
        """What came of a call was told together with the fault that struck it; and a saga starts once."""
        if each.what is What.STARTS:
            is_told = each.saga in self._started
            self._started.add(each.saga)
            return is_told
        if each.what not in (What.DONE, What.FAILED):
            return False
        call = each.saga, each.step, each.direction, each.attempt
        is_told = call in self._told
        self._told.discard(call)
        return is_told

    def _struck(self, each: Happening) -> Fault | None:
        """The fault that strikes this call. After a death of the gateway the same attempt may be made again."""
        call = each.saga, each.step, each.direction, each.attempt
        fault = self._faults.pop(call, None)
        if fault and fault.kind not in _WITHOUT_END:
            self._told.add(call)
        return fault

    def _of(self, each: Happening) -> str:
        return f"{self._name(each.saga)}: " if each.saga else ""

    def _name(self, number: int) -> str:
        return f"{self._sagas[number].saga} {number}"


def _call(each: Happening) -> str:
    return each.step if each.direction == Direction.ACTION else f"undoing {each.step}"


def _sent(each: Happening) -> str:
    again = f" again, for the {_ordinal(each.attempt)} time" if each.attempt > 1 else ""
    return f"{_call(each)} is sent{again}"


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def _later(fault: Fault) -> str:
    if fault.kind is FaultKind.TWICE and fault.late_ms:
        return f", the second time {_duration(fault.late_ms)} later"
    return ""


def _duration(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:g} s"


def _process(name: str) -> str:
    return "the gateway" if name == GATEWAY else f"service {name}"


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_INPUT else f"{text[:_LONGEST_INPUT]}..."
