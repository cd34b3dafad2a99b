"""The food-delivery project (tests/projects/delivery), generated, and what its services have done for an order."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from project_copy import copy_project, edit, generate
from stack import Stack

SERVICES = ("payment", "restaurant", "courier", "kitchen", "loyalty", "notification")
LOG = "saga-log"

Changes = Mapping[str, str]
"""What in saga.yaml is replaced by what."""

AS_IT_IS: Changes = {}
SHORT_WAIT: Changes = {"within: 10m": "within: 500ms"}
"""A restaurant that says nothing for half a second is silent."""


def delivery(root: Path, changes: Changes = AS_IT_IS) -> Path:
    """Make the project in `root`. Returns `root`."""
    copy_project("delivery", root)
    edit(root / "contracts" / "saga.yaml", changes)
    return generate(root)


def effects_of(stack: Stack, order_id: str) -> dict[str, Any]:
    """What stands of an order in the services' databases; a key that is missing: nothing."""
    found: dict[str, Any] = {}
    for row in _rows(stack, "payment", "SELECT status FROM payments", order_id):
        found["payment"] = row["status"]
    for row in _rows(stack, "restaurant", "SELECT status, reason FROM tickets", order_id):
        found["ticket"] = row["status"] if row["reason"] is None else f"{row['status']}: {row['reason']}"
    for _ in _rows(stack, "courier", "SELECT 1 FROM couriers", order_id):
        found["courier"] = "RIDES"
    for row in _rows(stack, "kitchen", "SELECT dish_id, quantity FROM reservations", order_id):
        found[row["dish_id"]] = row["quantity"]
    for row in _rows(stack, "loyalty", "SELECT count(*) AS count FROM journal", order_id):
        if row["count"]:
            found["points"] = row["count"]
    for row in _rows(stack, "notification", "SELECT count(*) AS count FROM mails", order_id):
        if row["count"]:
            found["mails"] = row["count"]
    return found


def journal_of(stack: Stack, order_id: str) -> list[str]:
    """What the services did for an order, in the order in which they did it: `reserve[lasagne]`, `undo authorise`."""
    lines = [
        (row["at_ns"], row["what"])
        for service in SERVICES
        for row in _rows(stack, service, "SELECT at_ns, what FROM journal", order_id)
    ]
    return [what for _, what in sorted(lines)]


def undone_in_the_log(stack: Stack, order_id: str) -> list[str]:
    """The steps whose compensation the log has as done, in its order."""
    query = (
        "SELECT event.step FROM event JOIN saga ON saga.number = event.saga "
        f"WHERE saga.saga_id = '{order_id}' AND event.kind = 'COMPENSATED' ORDER BY event.seq"
    )
    return [row["step"] for row in stack.rows(LOG, query)]


def assert_in_layers(found: Sequence[str], layers: Iterable[set[str]]) -> None:
    """Each layer wholly before the next; within one, in any order."""
    rest = list(found)
    for layer in layers:
        assert set(rest[: len(layer)]) == layer, found
        rest = rest[len(layer) :]
    assert not rest, found


def assert_undone(stack: Stack, order_id: str, *layers: set[str]) -> None:
    """As the log tells it, and as the services' databases do."""
    assert_in_layers(undone_in_the_log(stack, order_id), layers)
    undone = [line.removeprefix("undo ") for line in journal_of(stack, order_id) if line.startswith("undo ")]
    assert_in_layers(undone, layers)


def _rows(stack: Stack, service: str, select: str, order_id: str) -> Sequence[Any]:
    return stack.rows(service, f"{select} WHERE order_id = '{order_id}'")
