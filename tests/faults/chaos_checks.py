"""What must hold of every dinner after peace: read from the services' databases and from whoever keeps the sagas."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from campaign_checks import Row
from chaos_dinners import TURNED_BACK, Dinner
from chaos_fleet import Fleet

from sagagen.runtime.saga.events import EventTaken, LogEvent
from sagagen.runtime.saga.history import History, fold

UNDOABLE = {"authorise", "open_ticket", "assign_courier"}
LARDER = 100_000
EVENTS = {"answer": "answered", "pickup": "picked_up"}
"""What a message is called in the contract."""


def saga_lines(sagas: Mapping[str, Sequence[LogEvent]]) -> list[Row]:
    """Sagas as `campaign_checks` looks at them."""
    histories = {saga_id: fold(rows) for saga_id, rows in sagas.items()}
    return [
        {
            "saga_id": saga_id,
            "idempotency_key": history.accepted.key,
            "run": history.accepted.run,
            "status": str(history.status),
        }
        for saga_id, history in histories.items()
    ]


def slowest_s(sagas: Mapping[str, Sequence[LogEvent]]) -> float:
    """How long the slowest saga took from its acceptance to its last row, in seconds."""
    return max((rows[-1].at_ms - rows[0].at_ms for rows in sagas.values()), default=0) / 1000


class _Kept:
    """All that is in the services' databases of the delivery, by the order's id."""

    def __init__(self, fleet: Fleet) -> None:
        self.journal: dict[str, Counter[str]] = defaultdict(Counter)
        for service in fleet.services:
            for row in fleet.rows(service, "SELECT order_id, what FROM journal"):
                self.journal[row["order_id"]][row["what"]] += 1
        self.payments = _values(fleet.rows("payment", "SELECT order_id, status FROM payments"))
        self.tickets = _values(fleet.rows("restaurant", "SELECT order_id, status FROM tickets"))
        self.rides = _values(fleet.rows("courier", "SELECT order_id, courier_id FROM rides"))
        self.mails = _values(fleet.rows("notification", "SELECT order_id, customer_id FROM mails"))
        self.dishes: dict[str, dict[str, int]] = defaultdict(dict)
        for row in fleet.rows("kitchen", "SELECT order_id, dish_id, quantity FROM reservations"):
            self.dishes[row["order_id"]][row["dish_id"]] = row["quantity"]
        self.larder = fleet.rows("kitchen", "SELECT dish_id, available, reserved FROM larder")
        self.couriers = fleet.rows("courier", "SELECT courier_id, rides FROM couriers")


def dinner_violations(fleet: Fleet, dinners: Sequence[Dinner]) -> list[str]:
    """What does not hold, in words."""
    kept, sagas = _Kept(fleet), fleet.saga_rows()
    found: list[str] = []
    for dinner in dinners:
        rows = sagas.get(dinner.order_id)
        faults = _of_dinner(kept, dinner, fold(rows), rows) if rows else [f"saga {dinner.order_id} is lost"]
        found += [f"dinner {dinner.number} ({dinner.kind}, {dinner.order_id}): {fault}" for fault in faults]
    known = {dinner.order_id for dinner in dinners}
    strays = {*kept.journal, *sagas} - known
    found += [f"order {order_id} is nobody's" for order_id in sorted(strays)]
    return found + list(_of_stock(kept))


def dinner_outcomes(sagas: Mapping[str, Sequence[LogEvent]]) -> Counter[str]:
    """How sagas ended, and why those that turned back did."""
    ended = Counter[str]()
    for rows in sagas.values():
        history = fold(rows)
        why = f" {history.turned_back.failure.reason}" if history.turned_back else ""
        ended[f"{history.status}{why}"] += 1
    return ended


def _of_dinner(kept: _Kept, dinner: Dinner, history: History, rows: Sequence[LogEvent]) -> Iterator[str]:
    yield from dinner.differing
    journal = kept.journal[dinner.order_id]
    if twice := {what: count for what, count in journal.items() if count > 1}:
        yield f"done twice: {twice}"
    is_undone = dinner.kind in TURNED_BACK or dinner.is_acknowledged("cancel")
    wanted = "COMPENSATED" if is_undone else "COMPLETED"
    if str(history.status) != wanted:
        yield f"it is {history.status}, and not {wanted}; {dinner.answered}"
    elif is_undone:
        yield from _of_undone(kept, dinner, set(journal))
    else:
        yield from _of_brought(kept, dinner, set(journal))
    yield from _of_messages(dinner, history, rows)


def _of_messages(dinner: Dinner, history: History, rows: Sequence[LogEvent]) -> Iterator[str]:
    """Whoever was told 2xx is in the saga, once; whoever was told no is not."""
    taken = Counter(row.event for row in rows if isinstance(row, EventTaken))
    for message, event in EVENTS.items():
        if taken[event] != int(dinner.is_acknowledged(message)):
            yield f"{message} was answered {dinner.answered.get(message)}, and is kept {taken[event]} times"
    if (history.cancelled is not None) != dinner.is_acknowledged("cancel"):
        yield f"cancel was answered {dinner.answered.get('cancel')}, and the saga has {history.cancelled}"
    for message, (status, reason) in dinner.answered.items():
        if status not in (200, 202, 409):
            yield f"{message} was answered {status} {reason}"


def _of_brought(kept: _Kept, dinner: Dinner, journal: set[str]) -> Iterator[str]:
    mails = set[str]() if dinner.kind == "bounced" else {"send_mail"}
    reserved = {f"reserve[{dish}]" for dish in dinner.dishes}
    wanted = UNDOABLE | reserved | mails | {"capture", "add_points"}
    if journal != wanted:
        yield f"brought: lacks {wanted - journal}, and has {journal - wanted} beside"
    found = _effects(kept, dinner.order_id)
    is_mailed = dinner.order_id in kept.mails
    if found != ("CAPTURED", "OPEN", True, dict(dinner.dishes)) or is_mailed != bool(mails):
        yield f"brought, and there is {found}, mail: {is_mailed}"


def _of_undone(kept: _Kept, dinner: Dinner, journal: set[str]) -> Iterator[str]:
    done = {what for what in journal if not what.startswith("undo ")}
    if {f"undo {what}" for what in done} != journal - done:
        yield f"half undone: {sorted(journal)}"
    if late := done & {"capture", "add_points", "send_mail"}:
        yield f"undone, and {late} was done"
    payment, ticket, rides, dishes = _effects(kept, dinner.order_id)
    if payment not in ("", "VOIDED") or ticket not in ("", "WITHDRAWN") or rides or dishes:
        yield f"undone, and there is {payment} {ticket} {rides} {dishes}"
    if dinner.order_id in kept.mails:
        yield "undone, and a mail was sent"


def _effects(kept: _Kept, order_id: str) -> tuple[str, str, bool, dict[str, int]]:
    payment, ticket = kept.payments.get(order_id, ""), kept.tickets.get(order_id, "")
    return payment, ticket, order_id in kept.rides, kept.dishes.get(order_id, {})


def _of_stock(kept: _Kept) -> Iterator[str]:
    wanted, rides = Counter[str](), Counter(kept.rides.values())
    for dishes in kept.dishes.values():
        wanted.update(dishes)
    for row in kept.larder:
        if row["reserved"] != wanted[row["dish_id"]] or row["available"] + row["reserved"] not in (0, LARDER):
            yield f"the larder has {row}, and {wanted[row['dish_id']]} is reserved"
    for row in kept.couriers:
        if row["rides"] != rides[row["courier_id"]]:
            yield f"{row['courier_id']} has {row['rides']} rides, and {rides[row['courier_id']]} are there"


def _values(rows: Sequence[Row]) -> dict[str, Any]:
    """The second column by the first."""
    pairs = (tuple(row.values()) for row in rows)
    return {str(key): value for key, value in pairs}
