"""What operators are held to, as workflows on Restate: each entry of the audit, and each order that waits, is one.

An entry is a workflow that is over at once; Restate forgets it with its retention. An order waits for its promise
`closed`, which can be resolved once, by whoever confirms or withdraws it, or by the end of its time: it brings the
entry that says why the order waits no more.
"""

from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.restate.entries import entry_from_bytes, entry_line, entry_to_bytes
from sagagen.runtime.restate.invocation import Invocation, Refused
from sagagen.runtime.restate.workflow_names import CLOSE, RUN, audit_service, orders_service

ENTRY, ORDER = "entry", "order"
"""Keys of the state, each the only one of its workflow."""
CLOSED = "closed"
YES, NO = b"1", b"0"


async def keep(invocation: Invocation) -> bytes:
    """`run` of an entry."""
    invocation.set_state(ENTRY, entry_line(entry_from_bytes(invocation.input)))
    return b""


async def wait(invocation: Invocation, project: str) -> bytes:
    """`run` of an order: its input is the order, and in a line before it the entry that says that it waits."""
    entry, _, order = invocation.input.partition(b"\n")
    invocation.set_state(ORDER, order)
    send_entry(invocation, project, entry_from_bytes(entry))
    closed = invocation.promise(CLOSED)
    while not invocation.has_come(closed):
        await invocation.wait(closed)
    invocation.clear_state(ORDER)
    send_entry(invocation, project, entry_from_bytes(invocation.take(closed) or b""))
    return b""


async def look(invocation: Invocation) -> bytes:
    """The order; empty if it does not wait."""
    state, closed = invocation.get_state(ORDER), invocation.peek(CLOSED)
    await invocation.wait(state)
    await invocation.wait(closed)
    order, has_ended = invocation.take(state), invocation.take(closed)
    return b"" if has_ended or not order else order


async def close(invocation: Invocation) -> bytes:
    """Let it wait no more. YES if it did, also if the same was said before."""
    state = invocation.get_state(ORDER)
    await invocation.wait(state)
    if not invocation.take(state):
        return NO
    handle = invocation.resolve(CLOSED, invocation.input)
    await invocation.wait(handle)
    try:
        invocation.take(handle)
    except Refused:
        peeked = invocation.peek(CLOSED)
        await invocation.wait(peeked)
        return YES if invocation.take(peeked) == invocation.input else NO
    return YES


def send_entry(invocation: Invocation, project: str, entry: AuditEntry) -> None:
    """Keep it, durably as soon as this command is; once, however often it is sent."""
    is_stranger = entry.result is Result.UNKNOWN
    service = audit_service(project, is_stranger=is_stranger)
    invocation.send(service, entry.id, RUN, entry_to_bytes(entry))


def send_of_row(invocation: Invocation, project: str, entry: AuditEntry) -> None:
    """The entry of a row that was recorded; an order that it carries out waits no more."""
    send_entry(invocation, project, entry)
    if entry.order_id:
        invocation.send(orders_service(project), entry.order_id, CLOSE, entry_to_bytes(entry))
