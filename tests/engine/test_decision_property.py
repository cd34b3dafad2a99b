"""Any interleaving of done, refused, doubt, crash, passing time and an operator's orders ends in a legal state."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from grpclib.const import Status as Code
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mesh import RETRY, SAGA_ID, TRACE, saga, text
from test_engine_crash import legal_steps
from thorough import FUZZ_ROUNDS

from sagagen.runtime.model.definition import Direction, Saga, StepKind
from sagagen.runtime.saga.commands import Act, Offer, OperatorCommand, offers, row_for
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import (
    CallNow,
    Decision,
    End,
    GetStuck,
    GiveUp,
    PassOver,
    Plan,
    Receive,
    StepCall,
    TurnBack,
)
from sagagen.runtime.saga.events import (
    Accepted,
    Compensated,
    Done,
    DoneByHand,
    Ended,
    Failed,
    GaveUp,
    LogEvent,
    NextRequest,
    OperatorRow,
    Outcome,
    PassedOver,
    Resolved,
    Resumed,
    SagaStatus,
    Stuck,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.forward import Forward
from sagagen.runtime.saga.history import NOBODY_KNOWS, History, fold

BY_HAND = (Act.RESOLVE, Act.SKIP, Act.CANCEL)
TROUBLES = 25
"""So many things may go wrong; after them every call succeeds and an operator retries what is stuck."""


@dataclass
class Walk:
    """One saga's way: its log, and what its services truly did."""

    definition: Saga
    data: st.DataObject
    rows: list[LogEvent] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    is_hopeless: bool = False
    """In the end no service answers any more: what ends the saga is an operator."""

    def draw(self, *choices: str) -> str:
        return self.data.draw(st.sampled_from(choices))

    def order(self, acts: Collection[Act] = tuple(Act)) -> None:
        """Give one of the commands that are offered."""
        history = fold(self.rows)
        offered = [offer for offer in offers(self.definition, history) if offer.act in acts]
        if not offered:
            return
        row = self.carried_out(self.data.draw(st.sampled_from([self.truly(offer) for offer in offered])))
        self.rows.append(row)
        match row:
            case Resolved(step=name):
                self.effect(name, is_action=False)
            case DoneByHand(step=name):
                self.effect(name, is_action=True)
            case GaveUp(failure=failure):
                self.given_up.add(failure.step)
            case _:
                pass

    def truly(self, offer: Offer) -> Offer:
        """What an operator says of a pivot is true, and made to stay so."""
        if offer.outcome is None:
            return offer
        return replace(offer, outcome=Outcome.DONE if offer.step in self.done else Outcome.REFUSED)

    def carried_out(self, offer: Offer) -> OperatorRow:
        """Its row. What is offered is accepted, and means no more when it is said again."""
        history = fold(self.rows)
        command = OperatorCommand(offer.act, "ann", "by hand", offer.step, offer.outcome)
        row = row_for(command, self.definition, history, 1)
        assert row is not None
        if isinstance(row, DoneByHand | GaveUp):
            row = replace(row, next=NextRequest(b""))
        if offer.act is not Act.RETRY:
            assert row_for(command, self.definition, history.with_row(row), 2) is None
        return row

    def crash(self) -> None:
        last = max(n for n, row in enumerate(self.rows) if row.is_durable)
        lazy = [row for row in self.rows[last + 1 :] if self.data.draw(st.booleans())]
        self.rows[last + 1 :] = lazy
        if not fold(self.rows).stuck:
            self.rows.append(Resumed(at_ms=1))

    def carry_out(self, decision: Decision, *, is_troubled: bool) -> None:
        match decision:
            case CallNow(calls) if self.is_hopeless and not is_troubled:
                self.rows.append(self.hopeless(calls[0]))
            case CallNow(calls):
                self.rows.append(self.call(calls[0], is_troubled=is_troubled))
            case PassOver(name, reason, message):
                self.rows.append(PassedOver(at_ms=1, step=name, reason=reason, message=message))
            case TurnBack(failure, outcome):
                self.rows.append(TurnedBack(at_ms=1, failure=failure, outcome=outcome))
            case End(status):
                self.rows.append(Ended(at_ms=1, status=status))
            case GetStuck(direction, failure):
                self.rows.append(Stuck(at_ms=1, direction=direction, failure=failure))
            case Plan() | Receive() | GiveUp():
                raise AssertionError("a straight line has none")

    def call(self, call: StepCall, *, is_troubled: bool) -> LogEvent:
        name, is_action = call.step.name, call.direction is Direction.ACTION
        fates = ["done"]
        if is_troubled:
            fates += ["lost", "down"] + ["time up"] * (call.give_up_at_ms is not None)
        if name in self.refused and is_action:
            fates = ["refused"]
        elif is_action and call.step.kind is not StepKind.RETRIABLE and name not in self.done:
            fates += ["refused"] * is_troubled
        fate = self.draw(*fates)
        if fate == "time up":
            return TimeUp(at_ms=1, step=name, direction=call.direction)
        if fate == "refused":
            self.refused.add(name)
            return self.failed(call, Outcome.REFUSED, Code.FAILED_PRECONDITION)
        if fate != "down":
            self.effect(name, is_action=is_action)
        if fate != "done":
            return self.failed(call, Outcome.DOUBT, Code.UNAVAILABLE)
        if is_action:
            following = NextRequest(b"")
            return Done(at_ms=1, step=name, attempt=call.attempt, response=text(name), next=following)
        return Compensated(at_ms=1, step=name, attempt=call.attempt)

    def hopeless(self, call: StepCall) -> LogEvent:
        if call.give_up_at_ms is not None and call.failures:
            return TimeUp(at_ms=1, step=call.step.name, direction=call.direction)
        return self.failed(call, Outcome.DOUBT, Code.UNAVAILABLE)

    def effect(self, name: str, *, is_action: bool) -> None:
        """What the barrier lets through: each once, and no compensation of what never happened."""
        if is_action and name not in self.done:
            assert name not in self.undone
            self.done.append(name)
        if not is_action and name in self.done and name not in self.undone:
            self.undone.append(name)

    def failed(self, call: StepCall, outcome: Outcome, code: Code) -> Failed:
        return Failed(
            at_ms=1,
            step=call.step.name,
            direction=call.direction,
            attempt=call.attempt,
            outcome=outcome,
            code=code,
        )


def decided(saga: Saga, history: History) -> Decision | None:
    """What is decided; on its way forward, a straight line finds what a look at all elements finds."""
    found = decide(saga, history)
    if not (history.turned_back or history.ended or NOBODY_KNOWS in history.stuck):
        assert found == Forward(saga, history).decision()
    return found


def walk_to_the_end(walk: Walk) -> SagaStatus:
    for turn in range(TROUBLES + 60):
        is_troubled = turn < TROUBLES
        if is_troubled:
            match walk.draw("go on", "go on", "go on", "crash", "order"):
                case "crash":
                    walk.crash()
                case "order":
                    walk.order()
                case _:
                    pass
        decision = decided(walk.definition, fold(walk.rows))
        if decision is None and (ended := fold(walk.rows).ended):
            assert not list(offers(walk.definition, fold(walk.rows)))
            return ended.status
        if decision is None:
            walk.order(BY_HAND if walk.is_hopeless and not is_troubled else [Act.RETRY])
        else:
            walk.carry_out(decision, is_troubled=is_troubled)
    raise AssertionError(f"the saga does not end: {walk.rows}")


@settings(max_examples=100 * FUZZ_ROUNDS)
@given(legal_steps(), st.booleans(), st.booleans(), st.data())
def test_any_interleaving_ends_in_a_legal_state(
    steps: tuple[object, ...], is_hasty: bool, is_hopeless: bool, data: st.DataObject
) -> None:
    definition = saga(*steps)  # pyright: ignore[reportArgumentType]
    if is_hasty:
        hasty = replace(RETRY, max_attempts=1)
        definition = replace(
            definition,
            steps=tuple(replace(s, action=replace(s.action, retry=hasty)) for s in definition.calls),
        )
    accepted = Accepted(
        at_ms=0,
        saga_id=SAGA_ID,
        saga="place",
        version=1,
        digest="d1",
        run="r",
        caller="a",
        key="k",
        fingerprint=b"",
        input=b"",
        trace=TRACE,
        next=NextRequest(b""),
    )
    walk = Walk(definition, data, [accepted], is_hopeless=is_hopeless)
    status = walk_to_the_end(walk)
    kinds = {each.name: each for each in definition.calls}
    if status is SagaStatus.COMPLETED:
        assert [name for name in kinds if name in walk.done or name in walk.given_up] == list(kinds)
        assert walk.undone == []
        return
    assert status is SagaStatus.COMPENSATED
    undoable = [name for name in walk.done if kinds[name].compensation]
    assert walk.undone == undoable[::-1], "everything undone, last one first"
    assert all(kinds[name].kind is StepKind.COMPENSATABLE for name in walk.done)
