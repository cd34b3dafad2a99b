"""What the writer does with its connection: each function is a step of one transaction, made in one piece."""

import sqlite3
from functools import partial
from typing import TYPE_CHECKING

from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.barrier.calls import BarredCall, Handled
from sagagen.runtime.service.barrier.rules import (
    BarrierDecision,
    RecordEmpty,
    RunHandler,
    State,
    TurnDown,
    rule,
)
from sagagen.runtime.service.sqlite_store.guard import own
from sagagen.runtime.service.sqlite_store.table import insert, read_rows, read_sealed_rows
from sagagen.runtime.sqlite import database

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault

begin = partial(database.begin, sql=own(database.BEGIN))
begin_at_once = partial(database.begin_at_once, sql=own(database.BEGIN))
never_wait = partial(database.never_wait, pragma=own("PRAGMA busy_timeout = 0"))

_SAVEPOINT = own("SAVEPOINT sagagen_call")
_UNDO = own("ROLLBACK TO sagagen_call")
_RELEASE = own("RELEASE sagagen_call")
_COMMIT = own("COMMIT")


class GroupVoid(Exception):
    """The transaction is not as its owner left it."""


def begin_call(
    connection: sqlite3.Connection,
    call: BarredCall,
    purged_through_ms: int,
    now_ms: int,
    vault: "Vault | None" = None,
) -> BarrierDecision:
    """Let the barrier decide, and prepare for what it says.

    The rows are read in the transaction that the record will be written in: no other call comes between.
    """
    if call.saga is None:
        decision: BarrierDecision = RunHandler()
    else:
        if vault is None:
            rows = read_rows(connection, call.saga)
        else:
            try:
                rows = read_sealed_rows(connection, call.saga, vault)
            except ValueError as error:  # this call's row is at fault, and no other's
                return TurnDown(
                    RpcError(Code.DATA_LOSS, f"what is recorded of this call can't be read: {error}")
                )
        decision = rule(call.saga, call.digest, rows, purged_through_ms, now_ms)
    if isinstance(decision, RunHandler):
        connection.execute(_SAVEPOINT)
    elif isinstance(decision, RecordEmpty) and (record := call.record(State.EMPTY)):
        insert(connection, record, vault)
    return decision


def end_call(connection: sqlite3.Connection, handled: Handled, vault: "Vault | None" = None) -> None:
    """Keep a handler's effects, or undo them; then record its outcome.

    The record comes after the undoing, which would take it along. RELEASE comes last: until then a failure of the
    record undoes the effects with it, since it voids the group.
    """
    if not connection.in_transaction:
        raise GroupVoid("a statement of the handler rolled the whole transaction back")
    if not handled.keeps_effects:
        connection.execute(_UNDO)
    if handled.record is not None:
        insert(connection, handled.record, vault)
    connection.execute(_RELEASE)


def commit(connection: sqlite3.Connection) -> None:
    """Raises GroupVoid where SQLite has rolled the group back already."""
    if not connection.in_transaction:
        raise GroupVoid("the transaction of the group is gone")
    connection.execute(_COMMIT)


def nothing(_connection: sqlite3.Connection) -> None:
    """For whoever waits until the thread has done what it was given before."""
