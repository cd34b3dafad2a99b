"""What the writer does with its connection: each function is a part of one transaction."""

import sqlite3
from functools import partial
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
    rule,
)
from sagagen.runtime.service.sqlite_store.guard import own
from sagagen.runtime.service.sqlite_store.table import Record, read_rows
from sagagen.runtime.sqlite import database

begin = partial(database.begin, sql=own(database.BEGIN))
begin_at_once = partial(database.begin_at_once, sql=own(database.BEGIN))
never_wait = partial(database.never_wait, pragma=own("PRAGMA busy_timeout = 0"))

_SAVEPOINT = own("SAVEPOINT sagagen_call")
_UNDO = own("ROLLBACK TO sagagen_call")
_RELEASE = own("RELEASE sagagen_call")
_COMMIT = own("COMMIT")


class CallResult(NamedTuple):
    """What the caller is told: the encoded response, or the error."""

    response: bytes = b""
    error: RpcError | None = None
    is_replay: bool = False


class Handled(NamedTuple):
    """What a handler's end asks of the transaction."""

    outcome: CallResult
    record: Record | None = None
    """The row for the barrier; None for calls that nobody repeats, and where nothing was decided."""
    keeps_effects: bool = False


class BarredCall(NamedTuple):
    """A call as the barrier sees it."""

    saga: SagaCall | None
    """None: passes the barrier by."""
    digest: bytes
    """Of method and request."""
    trace: TraceContext | None
    """The span of the call; None if its caller sent none."""
    name: str
    """The rpc: `/shop.order.v1.OrderService/CreateOrder`."""

    @property
    def trace_id(self) -> str:
        """Empty if the caller sent none."""
        return self.trace.trace_id if self.trace else ""

    def record(self, state: State, outcome: bytes = b"", incarnation: str = "") -> Record | None:
        if self.saga is None:
            return None
        return Record(self.saga, self.digest, self.trace_id, state, outcome, incarnation)


class GroupVoid(Exception):
    """The transaction is not as its owner left it."""


def begin_call(
    connection: sqlite3.Connection, *, write: BarredCall, purged_through_ms: int, now_ms: int
) -> BarrierDecision:
    """Make the ruling and prepare for it."""
    if write.saga is None:
        ruling: BarrierDecision = RunHandler()
    else:
        rows = read_rows(connection, write.saga)
        ruling = rule(write.saga, write.digest, rows, purged_through_ms, now_ms)
    if isinstance(ruling, RunHandler):
        connection.execute(_SAVEPOINT)
        return ruling
    if isinstance(ruling, RecordEmpty):
        _insert(connection, write.record(State.EMPTY))
    return ruling


def end_call(connection: sqlite3.Connection, *, handled: Handled) -> None:
    """Keep a handler's effects, or undo them."""
    if not connection.in_transaction:
        raise GroupVoid("a statement of the handler rolled the whole transaction back")
    if not handled.keeps_effects:
        connection.execute(_UNDO)
    _insert(connection, handled.record)
    connection.execute(_RELEASE)


def _insert(connection: sqlite3.Connection, record: Record | None) -> None:
    if record is not None:
        record.insert(connection)


def commit(connection: sqlite3.Connection) -> None:
    if not connection.in_transaction:
        raise GroupVoid("the transaction of the group is gone")
    connection.execute(_COMMIT)


def nothing(_connection: sqlite3.Connection) -> None:
    pass


def outcome_of(ruling: Replay | RecordEmpty | TurnDown) -> CallResult:
    match ruling:
        case RecordEmpty():
            return CallResult()
        case TurnDown(error):
            return CallResult(error=error)
        case Replay(row):
            return outcome_of_row(row)


def outcome_of_row(row: BarrierRow) -> CallResult:
    """What a settled call is told when it comes again."""
    if row.state is State.REFUSED:
        return CallResult(error=refusal(row.outcome), is_replay=True)
    return CallResult(row.outcome, is_replay=True)


def refusal(outcome: bytes) -> RpcError:
    """A recorded refusal, as it was told the first time."""
    status = status_pb2.Status.FromString(outcome)
    return RpcError.from_status(Code(status.code), status.message, outcome)
