"""What becomes of a saga when one of its steps fails: the engine's own decisions, without an engine.

The docs promise what is undone, in which order, and what the client gets. None of that is decided a second time here:
`decide` gets the rows that a running engine would write, until it says that the saga has ended or waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from betterproto2 import Message
from grpclib.const import Status as Code

from sagagen.contract import model
from sagagen.runtime.model.definition import Action, Direction, Method, Respond, Saga, Step, StepKind
from sagagen.runtime.rpc.trace import TraceContext
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
    decide,
)
from sagagen.runtime.saga.events import (
    Accepted,
    Compensated,
    Done,
    Failed,
    NextRequest,
    Outcome,
    PassedOver,
    SagaStatus,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.history import History


class Fault(Enum):
    """How a step's call goes wrong."""

    DECLINED = "declined"
    """The handler says no."""
    NO_ANSWER = "no answer"
    """It fails, or does not answer, until its time is up: it may have happened."""


@dataclass(frozen=True, slots=True)
class Undoing:
    """One step on the way back."""

    step: str
    is_left: bool
    """Nothing is sent: a read, or `compensate: none`."""


@dataclass(frozen=True, slots=True)
class FailurePath:
    """What follows when `step` fails in this way."""

    step: str
    fault: Fault
    undone: tuple[Undoing, ...]
    """In this order."""
    outcome: Outcome | None
    """What is known of the failed step when the saga turns back; None if the saga does not turn back."""
    status: SagaStatus
    """How it ends; STUCK where it waits for an operator."""


FailurePaths = Mapping[tuple[str, Fault], FailurePath]
"""By step and fault."""


def failure_paths(saga: model.Saga) -> FailurePaths:
    """Play through everything that may go wrong."""
    paper = _on_paper(saga)
    return {
        (step.name, fault): _Play(paper, step.name, fault).run() for step in saga.calls for fault in Fault
    }


class _Play:
    """A saga in which every call succeeds, except at one step."""

    def __init__(self, saga: Saga, step: str, fault: Fault) -> None:
        self._saga = saga
        self._step = step
        self._fault = fault
        self._history = History.begin(_accepted(saga))
        self._undone: list[Undoing] = []
        self._has_failed = False

    def run(self) -> FailurePath:
        while (decision := decide(self._saga, self._history)) is not None:
            if (status := self._take(decision)) is not None:
                return self._path(status)
        raise AssertionError("only rows that are never written here end a saga's decisions")

    def _path(self, status: SagaStatus) -> FailurePath:
        turned_back = self._history.turned_back
        outcome = turned_back.outcome if turned_back else None
        return FailurePath(self._step, self._fault, tuple(self._undone), outcome, status)

    def _take(self, decision: Decision) -> SagaStatus | None:
        """Carry out one decision. Returns the saga's status if that was the last one."""
        match decision:
            case CallNow((call,)):
                self._call(call)
            case PassOver(step, reason, message):
                self._undone.append(Undoing(step, is_left=True))
                self._add(PassedOver(at_ms=0, step=step, reason=reason, message=message))
            case TurnBack(failure, outcome):
                self._add(TurnedBack(at_ms=0, failure=failure, outcome=outcome))
            case End(status):
                return status
            case GetStuck():
                return SagaStatus.STUCK
            case CallNow() | Plan() | Receive() | GiveUp():
                raise AssertionError("steps are sequential calls")
        return None

    def _call(self, call: StepCall) -> None:
        if call.direction is Direction.COMPENSATION:
            self._undone.append(Undoing(call.step.name, is_left=False))
            self._add(Compensated(at_ms=0, step=call.step.name, attempt=1))
        elif call.step.name != self._step:
            self._add(Done(at_ms=0, step=call.step.name, attempt=1, response=b"", next=NextRequest(b"")))
        else:
            self._fail(call)

    def _fail(self, call: StepCall) -> None:
        if self._has_failed:
            self._add(TimeUp(at_ms=0, step=call.step.name, direction=Direction.ACTION))
            return
        self._has_failed = True
        is_declined = self._fault is Fault.DECLINED
        # A refusal of a retriable step is not recorded: it is repeated like any other failure.
        is_settled = is_declined and call.step.kind is not StepKind.RETRIABLE
        self._add(
            Failed(
                at_ms=0,
                step=call.step.name,
                direction=Direction.ACTION,
                attempt=1,
                outcome=Outcome.REFUSED if is_settled else Outcome.DOUBT,
                code=Code.FAILED_PRECONDITION if is_declined else Code.UNAVAILABLE,
            )
        )

    def _add(self, row: Done | Failed | TimeUp | PassedOver | Compensated | TurnedBack) -> None:
        self._history = self._history.with_row(row)


def _accepted(saga: Saga) -> Accepted:
    return Accepted(
        at_ms=0,
        saga_id="",
        saga=saga.name,
        version=saga.version,
        digest=saga.digest,
        run="",
        caller="",
        key="",
        fingerprint=b"",
        input=b"",
        trace=TraceContext("", ""),
        next=NextRequest(b""),
    )


def _on_paper(saga: model.Saga) -> Saga:
    """The definition as decisions read it; none of its functions can be called."""
    return Saga(
        name=saga.name,
        version=saga.version,
        digest=saga.digest,
        trigger=_method(saga.trigger.name),
        key=saga.key,
        on_concurrent=saga.on_concurrent,
        retention_s=saga.retention_s,
        deadline_s=saga.deadline_s,
        respond=Respond(saga.respond.after, saga.respond.status, saga.respond.wait_s),
        steps=tuple(
            Step(step.name, step.kind, _action(step.action), step.compensation and _action(step.compensation))
            for step in saga.calls
        ),
    )


def _action(call: model.Call) -> Action:
    method = call.method
    return Action(
        service=call.service.name,
        method=_method(method.descriptor.name, is_read=method.is_read),
        request=lambda scope: Message(),
        timeout_s=call.timeout_s,
        retry=call.retry,
    )


def _method(name: str, *, is_read: bool = False) -> Method[Any, Any]:
    return Method(
        path=name,
        request=Message,
        response=Message,
        handler="",
        request_name="",
        response_name="",
        is_read=is_read,
    )
