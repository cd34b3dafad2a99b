"""What does not hold of a row that was played: against the oracle, the built-in invariants, and other rows."""

from collections.abc import Iterator, Sequence

from sagagen.runtime.engine.port import Refusal
from sagagen.runtime.model.definition import Direction, Saga, Step, StepKind, leaves
from sagagen.runtime.saga.events import Compensated, GaveUp, SagaStatus
from sagagen.testing.invariants import effects_twice, left_in_part, undone_in_wrong_order
from sagagen.testing.matrix.effects import StepChanges
from sagagen.testing.matrix.oracle import Expected
from sagagen.testing.matrix.playbook import Deed, Script
from sagagen.testing.matrix.playing import OTHER, TAKEN, TAKEN_BEFORE, Played
from sagagen.testing.matrix.rows import Row, Way
from sagagen.testing.matrix.snapshots import Ending
from sagagen.testing.places import is_undone, wrong_orders
from sagagen.testing.tables import Column, RowChange, changed

_CLOSE = 12
"""So many lines of a difference are shown."""


def problems(saga: Saga, row: Row, script: Script, expected: Expected, played: Played) -> Iterator[str]:
    """What does not hold whatever was approved. Each names the step, and the table where there is one."""
    yield from played.problems
    for fault in played.unused:
        yield f"step {fault.step}: {type(fault).__name__} of its {fault.direction} never happened"
    yield from _ends(expected, played)
    yield from _undone(expected, played)
    effects = played.effects
    yield from effects_twice(effects)
    yield from undone_in_wrong_order(saga, effects)
    yield from _called_in_wrong_order(saga, played)
    yield from left_in_part(saga, played.history.status, effects)
    yield from _replies(saga, row, script, played)


def _ends(expected: Expected, played: Played) -> Iterator[str]:
    history = played.history
    if history.status is not expected.status:
        yield f"it ends {history.status}{_why(played)}, and should end {expected.status}"
        return
    back = history.turned_back
    if back and expected.reason and back.failure.reason != expected.reason:
        yield f"step {back.failure.step}: it turns back for {back.failure.reason}, and should for {expected.reason}"
    incomplete = given_up(played)
    if incomplete != expected.incomplete:
        yield f"given up are {_listed(incomplete)}, and should be {_listed(expected.incomplete)}"
    if played.stuck_first is not expected.stops_first:
        yield "it was never stuck, and should have been" if expected.stops_first else "it was stuck before"


def given_up(played: Played) -> frozenset[str]:
    return frozenset(key for key, settled in played.history.settled.items() if isinstance(settled, GaveUp))


def _why(played: Played) -> str:
    history = played.history
    for key, stuck in history.stuck.items():
        return f" at {key} ({stuck.failure.reason}: {stuck.failure.message})"
    if history.turned_back:
        failure = history.turned_back.failure
        return f", since step {failure.step} failed with {failure.reason}: {failure.message}"
    return ""


def _undone(expected: Expected, played: Played) -> Iterator[str]:
    if played.history.status is SagaStatus.STUCK or expected.status is SagaStatus.STUCK:
        return
    undone = {key for key, row in played.history.settled.items() if isinstance(row, Compensated)}
    for key in sorted(expected.undone - undone):
        yield f"step {key}: its compensation was never called"
    for key in sorted(undone - expected.undone - expected.may_be_undone):
        yield f"step {key}: its compensation was called, and should not have been"


def _called_in_wrong_order(saga: Saga, played: Played) -> Iterator[str]:
    last = {
        key: moment
        for moment, (key, direction) in enumerate(played.called)
        if direction is Direction.COMPENSATION
    }
    for first, second in wrong_orders(saga.steps, last):
        yield f"step {first}: its compensation was called before that of {second}, which comes after it"


def _replies(saga: Saga, row: Row, script: Script, played: Played) -> Iterator[str]:
    if Deed.CANCEL_UNDER_WAY in script.deeds:
        element = next(each for each in leaves(saga.steps) if each.name == row.element)
        is_too_late = element.kind is StepKind.RETRIABLE or (
            element.kind is StepKind.PIVOT and isinstance(element, Step)
        )
        wanted = {Refusal.TOO_LATE.value, Refusal.SAGA_OVER.value} if is_too_late else {TAKEN}
        if not wanted & set(played.replies):
            told = f"answered {_listed(played.replies)}, not {_listed(wanted)}"
            yield f"step {row.element}: the request to cancel is {told}"
    if row.way is Way.EVENT_TWICE and TAKEN_BEFORE not in played.replies:
        yield f"step {row.element}: the repeated event is answered {_listed(played.replies)}, not {TAKEN_BEFORE}"
    if row.way is Way.EVENT_LATE and TAKEN in played.replies[-1:]:
        yield f"step {row.element}: the event that comes too late is taken"


def of_others(played: Played) -> Iterator[RowChange]:
    """Rows that have changed and belong to another saga."""
    return (change for change in played.changes if change.before is not None and change.holds(OTHER))


def like(
    name: str, found: Sequence[RowChange], wanted: Sequence[RowChange], writers: "Writers"
) -> Iterator[str]:
    """What differs from what another row leaves that should leave the same."""
    missing = [change for change in map(str, wanted) if change not in set(map(str, found))]
    more = [change for change in found if str(change) not in set(map(str, wanted))]
    by_name = {str(change): change for change in wanted}
    for change in missing[:_CLOSE]:
        yield f"unlike {name} it does not leave {change}{writers.of(by_name[change])}"
    for change in more[:_CLOSE]:
        yield f"unlike {name} it leaves {change}{writers.of(change)}"


def forgotten_undoing(saga: Saga, by_step: StepChanges) -> Iterator[str]:
    """Compensations that change no table, though their action did."""
    for step in saga.calls:
        if not is_undone(step) or step.compensation is None:
            continue
        for (key, direction), changes in by_step.items():
            is_action = direction is Direction.ACTION and key.partition("[")[0] == step.name
            undoing = by_step.get((key, Direction.COMPENSATION))
            if is_action and changes and undoing is not None and not undoing:
                tables = _listed(sorted({f"{change.service}.{change.table}" for change in changes}))
                yield (
                    f"step {step.name}: {step.compensation.method.handler} changes nothing, though "
                    f"{step.action.method.handler} has changed {tables}"
                )
                break


class Writers:
    """Which calls write to which table, as far as rows that were looked at in detail show it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, by_step: StepChanges) -> None:
        for (key, direction), changes in by_step.items():
            name = key.partition("[")[0]
            did = name if direction is Direction.ACTION else f"undo {name}"
            for change in changes:
                self._found.setdefault((change.service, change.table), {})[did] = None

    def of(self, change: RowChange) -> str:
        return self.of_table(change.service, change.table)

    def of_table(self, service: str, table: str) -> str:
        """` (written by authorise, undo authorise)`; empty if nobody is known to."""
        found = self._found.get((service, table))
        return f" (written by {', '.join(found)})" if found else ""


def ending(played: Played, volatile: frozenset[Column], notes: Sequence[str] = ()) -> Ending:
    """What is kept in the snapshot."""
    ends = str(played.history.status)
    if incomplete := given_up(played):
        ends += f", incomplete: {_listed(sorted(incomplete))}"
    left = sorted(map(str, changed(played.changes, volatile)))
    return Ending(ends, tuple(left), tuple(notes))


def _listed(words: "Sequence[str] | frozenset[str] | set[str]") -> str:
    return ", ".join(sorted(words) if isinstance(words, frozenset | set) else words) or "nothing"
