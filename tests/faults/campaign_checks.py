"""What must hold after a campaign, whatever happened in it: read from PostgreSQL, the saga log, and every answer."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from campaign_orders import Answer, Order, customer, minor
from replica_mesh import PLENTY, SCARCE, SERVICES, ReplicaMesh

PENDING, CONFIRMED, CANCELLED = 1, 2, 3
FINAL = {"CONFIRMED": CONFIRMED, "CANCELLED": CANCELLED}
STEPS = {
    "create_order": "order",
    "reserve_stock": "inventory",
    "charge_payment": "payment",
    "confirm_order": "order",
}
BUSINESS = {"PAYMENT_LIMIT_EXCEEDED", "INSUFFICIENT_STOCK"}
Row = Mapping[str, Any]


class Databases(Protocol):
    """The services' databases."""

    def rows(self, service: str, query: str) -> Sequence[Row]: ...


class Kept:
    """All that is in the databases and in the log."""

    def __init__(self, mesh: Databases, sagas: Sequence[Row]) -> None:
        """`sagas` are the log's, with saga_id, idempotency_key, run and status."""
        self.orders = _by("order_id", mesh.rows("order", "SELECT * FROM orders"))
        self.payments = _by("order_id", mesh.rows("payment", "SELECT * FROM payments"))
        self.reservations = _by("order_id", mesh.rows("inventory", "SELECT * FROM reservations"))
        self.stock = mesh.rows("inventory", "SELECT * FROM stock")
        self.effects: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for service, table in zip(SERVICES, ("orders", "reservations", "payments"), strict=True):
            for row in mesh.rows(service, f"SELECT * FROM {table}_ledger ORDER BY n"):
                self.effects[row["order_id"]][row["what"]].append(row["detail"])
        self.sagas = {row["saga_id"]: row for row in sagas}
        self.saga_of_key = {row["idempotency_key"]: saga_id for saga_id, row in self.sagas.items()}
        self.barrier: dict[str, dict[tuple[str, str], tuple[str, Row]]] = defaultdict(dict)
        for service in SERVICES:
            for row in mesh.rows(
                service,
                f"SELECT saga, step, direction, run, state FROM sagagen_{service}.barrier WHERE step <> ''",
            ):
                self.barrier[row["saga"]][row["step"], row["direction"]] = service, row

    def status(self, saga_id: str) -> int:
        """Of its order; 0 if there is none."""
        stored = self.orders.get(saga_id)
        return stored[0]["status"] if stored else 0


def violations(mesh: Databases, sagas: Sequence[Row], orders: Sequence[Order]) -> list[str]:
    """What does not hold, in words; nothing, if all is well."""
    kept = Kept(mesh, sagas)
    found = [f"key {order.key}: {fault}" for order in orders for fault in _of_answers(kept, order)]
    found += [f"key {order.key}: {fault}" for order in orders for fault in _of_reads(kept, order)]
    touched = {*kept.orders, *kept.payments, *kept.reservations, *kept.effects, *kept.sagas}
    found += [
        f"saga {saga_id}: {fault}" for saga_id in sorted(touched) for fault in _of_effects(kept, saga_id)
    ]
    found += [f"saga {saga_id}: {fault}" for saga_id in kept.sagas for fault in _of_barrier(kept, saga_id)]
    found += _of_stock(kept)
    return found


def outcomes(mesh: Databases) -> Counter[str]:
    """How sagas ended, and why those that turned back did."""
    ended = Counter[str]()
    for row in mesh.rows("order", "SELECT status, coalesce(cancel_reason, '') AS why FROM orders"):
        ended["confirmed" if row["status"] == CONFIRMED else f"cancelled {row['why']}"] += 1
    return ended


def failures_of_calls(mesh: ReplicaMesh) -> Counter[str]:
    """Of sagas' calls that failed: the step and the error, without what is different each time."""
    columns = "step, direction, code, message"
    found = Counter[str]()
    for row in mesh.log_rows(
        f"SELECT {columns}, count(*) AS times FROM event WHERE kind = 'FAILED' GROUP BY {columns}"
    ):
        words = re.sub(r"\d+(\.\d+)?", "N", row["message"] or "")[:60]
        found[f"{row['step']} {row['direction']}: {row['code']} {words}"] += row["times"]
    return found


# -- what was answered ---------------------------------------------------------------------------------------------


def _of_answers(kept: Kept, order: Order) -> Iterator[str]:
    saga_id = kept.saga_of_key.get(order.key, "")
    settled = {(answer.status, answer.body) for answer in order.answers if answer.is_settled}
    winners = {answer.variant for answer in order.answers if answer.status in (201, 202)}
    for answer in order.answers:
        yield from _of_answer(kept, saga_id, answer)
    if order.kind == "invalid":
        if saga_id or winners:
            yield f"it is invalid, and there is saga {saga_id!r}"
        return
    if not saga_id:
        yield f"never accepted: {[answer.status for answer in order.answers][-5:]}"
        return
    if not settled:
        yield f"its answer never came: {[answer.status for answer in order.answers][-5:]}"
    if len(settled) > 1:
        yield f"{len(settled)} different answers: {[(status, body[:200]) for status, body in settled]}"
    if len(winners) > 1:
        yield f"payloads {winners} were both accepted"
    if sum(answer.is_settled and not answer.is_replayed for answer in order.answers) > 1:
        yield "two answers, neither of which says that it is a repeat"
    yield from _of_stored(kept, order, saga_id, winners)


def _of_answer(kept: Kept, saga_id: str, answer: Answer) -> Iterator[str]:
    if answer.status not in (0, 201, 202, 400, 409, 422, 502, 503):
        yield f"answered {answer.status}: {answer.body[:300]!r}"
    if answer.status == 201:
        named = answer.document["order_id"]
        if named != saga_id:
            yield f"201 names {named}, the log has {saga_id or 'nothing'}"
        elif kept.status(saga_id) not in FINAL.values():
            yield f"201, and its order is {kept.status(saga_id)}"


def _of_stored(kept: Kept, order: Order, saga_id: str, winners: set[str]) -> Iterator[str]:
    stored = kept.orders.get(saga_id)
    if not stored:
        if winners and kept.sagas[saga_id]["status"] != "COMPENSATED":
            yield "accepted, and there is no order"
        return
    row = stored[0]
    variant = next((each for each in order.payloads if customer(order.key, each) == row["customer_id"]), "")
    items = [
        [product, quantity, minor(price)] for product, quantity, price in order.payloads.get(variant, [])
    ]
    if json.loads(row["items"]) != items or (winners and variant not in winners):
        yield f"the order holds {row['items']} of {row['customer_id']}"
        return
    kind = order.kind_of(variant)
    if row["status"] == CONFIRMED and kind in ("dear", "nostock"):
        yield f"{kind}, and confirmed"
    if row["status"] == CANCELLED and kind == "good" and row["cancel_reason"] in BUSINESS:
        yield f"good, and cancelled for {row['cancel_reason']}"


def _of_reads(kept: Kept, order: Order) -> Iterator[str]:
    saga_id = kept.saga_of_key.get(order.key, "")
    first = min((answer.ended for answer in order.answers if answer.status == 201), default=float("inf"))
    final, final_at = "", float("inf")
    for began, ended, what in sorted(order.reads, key=lambda read: read[1]):
        if what == "404" and began > first:
            yield "not found after its 201"
        if final and began > final_at and what != final:
            yield f"was {final}, then {what}"
        if what in FINAL and not final:
            final, final_at = what, ended
    if final and FINAL[final] != kept.status(saga_id):
        yield f"was read as {final}, and is {kept.status(saga_id)}"


# -- what was done -------------------------------------------------------------------------------------------------


def _of_effects(kept: Kept, saga_id: str) -> Iterator[str]:
    if saga_id not in kept.sagas:
        yield f"it has effects {kept.effects[saga_id]}, and the log has lost it"
        return
    effects = kept.effects[saga_id]
    count = Counter({what: len(details) for what, details in effects.items()})
    reserved = Counter(detail.partition("*")[0] for detail in effects["reserve"])
    twice = [what for what in ("create", "confirm", "cancel", "charge", "refund") if count[what] > 1]
    if twice or max(reserved.values(), default=0) > 1 or len(kept.orders.get(saga_id, ())) > 1:
        yield f"done twice: {dict(effects)}"
    status, saga_status = kept.status(saga_id), kept.sagas[saga_id]["status"]
    if saga_status == "COMPLETED" and status == CONFIRMED:
        yield from _of_confirmed(kept, saga_id, count)
    elif saga_status == "COMPENSATED" and status in (CANCELLED, 0):
        yield from _of_cancelled(kept, saga_id, count)
    else:
        yield f"it is {saga_status}, and its order {status}; {dict(effects)}"


def _of_confirmed(kept: Kept, saga_id: str, count: Counter[str]) -> Iterator[str]:
    order = kept.orders[saga_id][0]
    wanted = Counter[str]()
    for product, quantity, _ in json.loads(order["items"]):
        wanted[product] += quantity
    payments = kept.payments.get(saga_id, [])
    charged = [(row["status"], row["amount_minor"]) for row in payments]
    if charged != [("CHARGED", order["total_minor"])]:
        yield f"confirmed, and its payments are {charged}"
    held = {row["product_id"]: row["quantity"] for row in kept.reservations.get(saga_id, ())}
    if held != dict(wanted):
        yield f"confirmed, and {held} is reserved"
    if count["cancel"] or count["refund"] or count["release"]:
        yield f"confirmed, and undone in part: {dict(count)}"


def _of_cancelled(kept: Kept, saga_id: str, count: Counter[str]) -> Iterator[str]:
    left = [row["status"] for row in kept.payments.get(saga_id, ()) if row["status"] != "REFUNDED"]
    if left or kept.reservations.get(saga_id) or count["confirm"]:
        yield f"cancelled, and half undone: {dict(kept.effects[saga_id])}"
    if sorted(kept.effects[saga_id]["reserve"]) != sorted(kept.effects[saga_id]["release"]):
        yield f"cancelled, and its stock is not back: {dict(kept.effects[saga_id])}"
    if count["charge"] != count["refund"]:
        yield f"cancelled, charged {count['charge']} times and refunded {count['refund']} times"


def _of_stock(kept: Kept) -> Iterator[str]:
    held = Counter[str]()
    for rows in kept.reservations.values():
        for row in rows:
            held[row["product_id"]] += row["quantity"]
    for row in kept.stock:
        product = row["product_id"]
        initial = PLENTY if product.startswith("prod_") else SCARCE if product.startswith("scarce") else 0
        if row["available"] + row["reserved"] != initial or row["reserved"] != held[product]:
            yield f"stock of {product}: {row['available']} and {row['reserved']}, and {held[product]} is reserved"


def _of_barrier(kept: Kept, saga_id: str) -> Iterator[str]:
    saga, found = kept.sagas[saga_id], kept.barrier[saga_id]
    for (step, direction), (service, row) in found.items():
        if row["run"] != saga["run"] or STEPS.get(step) != service or row["state"] == "PENDING":
            yield f"{service} has {dict(row)} as {step} {direction}"
    states = {at: row["state"] for at, (_, row) in found.items()}
    if saga["status"] == "COMPLETED" and states != {(step, "action"): "DONE" for step in STEPS}:
        yield f"it is COMPLETED, and the barriers have {states}"
    if saga["status"] == "COMPENSATED":
        for step in STEPS:
            action, undo = states.get((step, "action")), states.get((step, "compensation"))
            if (action == "DONE") != (undo == "DONE"):
                yield f"it is COMPENSATED, and {step} is {action}/{undo}"


def _by(name: str, rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[name]].append(row)
    return found
