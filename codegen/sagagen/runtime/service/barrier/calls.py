"""A call as the barrier sees it, the row that it leaves, and the result that its caller gets."""

from typing import NamedTuple

from google.rpc import status_pb2
from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.service.barrier.rules import (
    BarrierDecision,
    BarrierRow,
    RecordEmpty,
    Replay,
    RunHandler,
    State,
    TurnDown,
)

UNSETTLED = "UNSETTLED"
"""A compensation whose action is still under way."""


class CallResult(NamedTuple):
    """What the caller gets: the encoded response, or the error."""

    response: bytes = b""
    error: RpcError | None = None
    is_replay: bool = False


class Record(NamedTuple):
    """A row for the barrier, written in the transaction of the effect that it records."""

    call: SagaCall
    digest: bytes
    trace_id: str
    state: State
    outcome: bytes = b""
    incarnation: str = ""
    """Of the process that runs a PENDING call."""


class Handled(NamedTuple):
    """What a handler's end asks of the transaction."""

    result: CallResult
    record: Record | None = None
    """None for calls that nobody repeats, and where nothing was decided."""
    keeps_effects: bool = False
    """Otherwise the handler's writes are undone, and only the record is kept."""


class BarredCall(NamedTuple):
    """A call on its way through the barrier."""

    saga: SagaCall | None
    """None for a call that passes without a row: nobody can repeat it."""
    digest: bytes
    """SHA-256 of method and request."""
    trace: TraceContext | None
    """The span of the call; None if its caller sent none."""
    name: str
    """The rpc: `/shop.order.v1.OrderService/CreateOrder`."""

    def about(self) -> dict[str, str]:
        """What a log line says of it."""
        about = {"rpc": self.name}
        if saga := self.saga:
            about |= {"saga_id": saga.saga_id, "step": saga.step, "attempt": str(saga.attempt)}
        return about | (
            {"trace_id": self.trace.trace_id, "span_id": self.trace.span_id} if self.trace else {}
        )

    def record(self, state: State, outcome: bytes = b"", incarnation: str = "") -> Record | None:
        """The row that says so; None if the call leaves none."""
        if self.saga is None:
            return None
        trace_id = self.trace.trace_id if self.trace else ""
        return Record(self.saga, self.digest, trace_id, state, outcome, incarnation)


def unavailable(message: str) -> CallResult:
    """Nothing is known of the call's effects, or nothing happened: repeat it."""
    return CallResult(error=RpcError(Code.UNAVAILABLE, message))


def result_of(decision: Replay | RecordEmpty | TurnDown) -> CallResult:
    """The caller's result where no handler runs."""
    match decision:
        case RecordEmpty():
            return CallResult()
        case TurnDown(error):
            return CallResult(error=error)
        case Replay(row):
            return result_of_row(row)


def result_of_row(row: BarrierRow) -> CallResult:
    """What a settled call gets when it comes again."""
    if row.state is State.REFUSED:
        return CallResult(error=_refusal(row.outcome), is_replay=True)
    return CallResult(row.outcome, is_replay=True)


def _refusal(outcome: bytes) -> RpcError:
    """A recorded refusal, as the caller got it the first time."""
    status = status_pb2.Status.FromString(outcome)
    return RpcError.from_status(Code(status.code), status.message, outcome)


def decision_name(decision: BarrierDecision) -> str:
    """A label's value: RUN, REPLAY, EMPTY, or the reason of a refusal."""
    match decision:
        case RunHandler():
            return "RUN"
        case Replay():
            return "REPLAY"
        case RecordEmpty():
            return "EMPTY"
        case TurnDown(error):
            return error.reason or UNSETTLED
