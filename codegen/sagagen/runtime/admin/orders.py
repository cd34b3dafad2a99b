"""Operators' orders: each is audited, and those under four eyes wait for a second person.

An order is carried out in one commit with its entry of the audit. What can't be audited is not done: whatever writes
here raises JournalUnavailable. Of those who are refused it is enough that the log stream has them.
"""

import json
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from secrets import token_hex

from sagagen.runtime.admin.deed import Deed
from sagagen.runtime.admin.gate import NotAdmitted
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.parsing import (
    BadOrder,
    EventOrder,
    Members,
    Order,
    audit_query_of,
    event_order_of,
    order_of,
    query_of,
)
from sagagen.runtime.admin.shown import Shown, entry_shown
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.audit.entry import Result
from sagagen.runtime.audit.trail import PendingOrder, TooManyPending
from sagagen.runtime.clock import Clock, SystemClock, rfc3339
from sagagen.runtime.engine.port import RecordedSaga
from sagagen.runtime.saga.commands import AmbiguousSaga, CommandRejected, UnknownSaga

SEND = "send"
"""The one order that is no command: it brings an event."""
EXPIRES_S = 24 * 3600.0
"""Time in seconds that an order waits for a second person."""


_OF_STATUS = {401: Result.UNKNOWN, 503: Result.UNKNOWN}


class UnknownOrder(Exception):
    """No order of this id waits."""

    def __init__(self, order_id: str) -> None:
        super().__init__(
            f"no order {order_id} waits for a second person: it was confirmed, withdrawn or refused, or has expired; "
            "the audit says which"
        )


class Orders:
    """What operators do, for whoever knows who they are."""

    def __init__(
        self,
        operations: SagaOperations,
        auditor: Auditor,
        four_eyes: Collection[str] = (),
        clock: Clock | None = None,
    ) -> None:
        """`four_eyes` are the commands that wait for a second person."""
        self.operations = operations
        self.auditor = auditor
        self._trail = auditor.trail
        self._four_eyes = frozenset(four_eyes)
        self._clock = clock or SystemClock()
        self._under_way: set[str] = set()
        """Ids of orders that are being confirmed or withdrawn: the log has one process, so this is enough."""

    @property
    def four_eyes(self) -> Collection[str]:
        """The commands that wait for a second person."""
        return self._four_eyes

    @asynccontextmanager
    async def audited(self, deed: Deed) -> AsyncGenerator[None]:
        """Keep that it was refused, where it is: who, what and why, as far as the deed knows them by then.

        Of those who only look, it is kept that they may not.
        """
        try:
            yield
        except Exception as error:
            if not deed.is_kept:
                await self._keep_refusal(deed, error)
            raise

    async def _keep_refusal(self, deed: Deed, error: Exception) -> None:
        match error:
            case NotAdmitted():
                deed.by, deed.scheme = error.by or deed.by, error.scheme or deed.scheme
                result = _OF_STATUS.get(error.status, Result.DENIED)
                await self.auditor.refused(deed.entry(result, str(error)))
            case _ if not deed.is_order:
                pass  # what can't be shown is no refusal
            case BadOrder():
                # Not the message: it may repeat what the order says of a payload.
                await self.auditor.refused(deed.entry(Result.REFUSED, "the order is not well-formed"))
            case UnknownSaga() | AmbiguousSaga() | CommandRejected() | UnknownOrder() | TooManyPending():
                await self.auditor.refused(deed.entry(Result.REFUSED, str(error)))
            case _:
                self.auditor.tell(deed.entry(Result.FAILED, str(error)))

    async def give(self, deed: Deed, members: Members) -> Shown | PendingOrder:
        """Carry an order out, and show the saga; or let it wait for a second person.

        Raises UnknownSaga, AmbiguousSaga, BadOrder, CommandRejected, TooManyPending or JournalUnavailable.
        """
        order = _parsed(deed.did, members)
        deed.by = order.by if isinstance(order, EventOrder) else order.command.by
        recorded = await self._found(deed)
        if isinstance(order, EventOrder) or deed.did not in self._four_eyes:
            return await self._carry_out(deed, order)
        if self.operations.changes(recorded, order):
            return await self._place(deed, members)
        await self.auditor.keep(deed.entry(Result.REPEATED, order.command.note))
        return await self.operations.show(deed.saga_id)

    async def _found(self, deed: Deed) -> RecordedSaga:
        recorded = await self.operations.find(deed.saga_id)
        accepted = recorded.accepted
        deed.saga_id, deed.trace_id = accepted.saga_id, accepted.trace.trace_id
        return recorded

    async def _carry_out(self, deed: Deed, order: Order | EventOrder) -> Shown:
        note = order.event if isinstance(order, EventOrder) else order.command.note
        entry = deed.entry(Result.DONE, note)
        if isinstance(order, EventOrder):
            shown = await self.operations.send(deed.saga_id, order, entry)
        else:
            shown = await self.operations.command(deed.saga_id, order, entry)
        if await self._trail.has(entry.id):
            self.auditor.tell(entry)
            return shown
        # No row was written, since it had been done before.
        if not (deed.order_id and await self._close(deed.order_id, deed, Result.REPEATED, note)):
            await self.auditor.keep(deed.entry(Result.REPEATED, note))
        return shown

    # -- four eyes -----------------------------------------------------------------------------------------------------

    async def _place(self, deed: Deed, members: Members) -> PendingOrder:
        said = json.dumps({name: value for name, value in members.items() if name != "by"}, sort_keys=True)
        for waiting in await self.pending():
            if (waiting.saga_id, waiting.did, waiting.members, waiting.by) == (
                deed.saga_id,
                deed.did,
                said,
                deed.by,
            ):
                return waiting
        now_ms = self._clock.wall_ms()
        expires_ms = now_ms + round(EXPIRES_S * 1000)
        order = PendingOrder(token_hex(6), deed.saga_id, deed.did, said, deed.by, now_ms, expires_ms)
        deed.order_id = order.id
        entry = deed.entry(Result.PENDING, str(members.get("note") or ""))
        await self._trail.place(order, entry)
        self.auditor.tell(entry)
        return order

    async def pending(self) -> list[PendingOrder]:
        """Orders that wait for a second person, the oldest first."""
        now_ms = self._clock.wall_ms()
        return [order for order in await self._trail.pending() if order.expires_ms > now_ms]

    async def confirm(self, deed: Deed) -> Shown:
        """As the second person of the order that the deed names; shows the saga.

        It is checked again whether the saga takes it. Raises NotAdmitted (403) for the first person, and UnknownOrder;
        otherwise as `give`.
        """
        async with self._taken(deed) as order:
            if _is_same_person(order.by, deed.by):
                why = f"{order.by} gave this order, and you are {deed.by}: a second person has to confirm it"
                raise NotAdmitted(403, why, by=deed.by, scheme=deed.scheme)
            by = f"{order.by}, confirmed by {deed.by}"
            try:
                await self._found(deed)
                return await self._carry_out(deed, _parsed(order.did, {**_members(order), "by": by}))
            except (CommandRejected, UnknownSaga, BadOrder) as error:
                # What it was given for is no longer so, and may be so again in another way: nobody confirms it then.
                await self._close(order.id, deed, Result.REFUSED, str(error))
                raise

    async def withdraw(self, deed: Deed) -> None:
        """Let an order wait no more, whoever gave it. Raises UnknownOrder."""
        async with self._taken(deed) as order:
            if not await self._close(order.id, deed, Result.DONE, ""):
                raise UnknownOrder(order.id)

    async def _close(self, order_id: str, deed: Deed, result: Result, reason: str) -> bool:
        entry = deed.entry(result, reason)
        if closed := await self._trail.close(order_id, entry):
            deed.is_kept = True
            self.auditor.tell(entry)
        return closed

    @asynccontextmanager
    async def _taken(self, deed: Deed) -> AsyncGenerator[PendingOrder]:
        """The order, for one at a time: of two who confirm it at once, the second finds it under way, or gone."""
        order = await self._order(deed)
        if order.id in self._under_way:
            raise CommandRejected("somebody is confirming or withdrawing this order at this moment")
        self._under_way.add(order.id)
        try:
            # Looked up again: it may have been closed between the look and the mark.
            yield await self._order(deed)
        finally:
            self._under_way.discard(order.id)

    async def _order(self, deed: Deed) -> PendingOrder:
        order = await self._trail.find(deed.order_id)
        if order is None or order.expires_ms <= self._clock.wall_ms():
            raise UnknownOrder(deed.order_id)
        deed.saga_id, deed.did = order.saga_id, f"{deed.did.partition(' ')[0]} {order.did}"
        return order

    async def show_pending(self, deed: Deed) -> Shown:
        """One order with all that it says, for whoever is to confirm it.

        A response is a payload, so that it was looked at is kept first. Raises UnknownOrder or JournalUnavailable.
        """
        order = await self._order(deed)
        shown = order_shown(order)
        members = _members(order)
        if members.get("response") is None:
            return shown
        recorded = await self._found(deed)
        await self.auditor.keep(deed.entry(Result.DONE, "its payload was shown"))
        parsed = order_of(order.did, {**members, "by": order.by})
        return {**shown, "response": self.operations.response_shown(recorded, parsed)}

    # -- what is looked at ---------------------------------------------------------------------------------------------

    async def find(self, deed: Deed, asked: Mapping[str, str]) -> list[Shown]:
        """What `SagaOperations.list` finds. Who looks for values of payloads (`where`) is kept first."""
        await self._keep_looking(deed, asked)
        return await self.operations.listed_by(asked)

    async def page(self, deed: Deed, asked: Mapping[str, str]) -> Shown:
        """A page of what `SagaOperations.page` finds, as `find`."""
        await self._keep_looking(deed, asked)
        return await self.operations.page(asked)

    async def _keep_looking(self, deed: Deed, asked: Mapping[str, str]) -> None:
        if asked.get("where"):
            query_of(asked)
            await self.auditor.keep(deed.entry(Result.DONE, f"sagas where {asked['where']}"))

    async def audit(self, asked: Mapping[str, str]) -> list[Shown]:
        """Entries of the audit, newest first, as `audit_query_of` reads what is asked. Raises BadOrder."""
        return [entry_shown(entry) for entry in await self._trail.search(audit_query_of(asked))]


def _parsed(did: str, members: Members) -> Order | EventOrder:
    return event_order_of(members) if did == SEND else order_of(did, members)


def _is_same_person(first: str, second: str) -> bool:
    """Also by another scheme, whose callers have its name in front of their ids: `partners:ann` may well be `ann`."""
    return first == second or len({by.partition(":")[2] or by for by in (first, second)}) == 1


def _members(order: PendingOrder) -> dict[str, object]:
    return json.loads(order.members)


def order_shown(order: PendingOrder) -> Shown:
    """Without the payload that it may hold."""
    members = _members(order)
    return {
        "id": order.id,
        "saga_id": order.saga_id,
        "act": order.did,
        "step": members.get("step"),
        "as": members.get("as"),
        "note": members.get("note"),
        "has_response": members.get("response") is not None,
        "by": order.by,
        "at": rfc3339(order.at_ms),
        "expires_at": rfc3339(order.expires_ms),
    }
