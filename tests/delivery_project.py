"""The food-delivery project (the template of `sagagen init`), generated, and what its services have done for an order.

The handlers of a copy keep a journal: each effect adds a line, so that one that is doubled shows.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from project_copy import copy_project, edit, generate
from stack import Stack

SERVICES = ("payment", "restaurant", "courier", "kitchen", "loyalty", "notification")
LOG = "saga-log"

Changes = Mapping[str, str]
"""What in saga.yaml is replaced by what."""

JOURNAL = """
CREATE TABLE IF NOT EXISTS journal (
  at_ns    INTEGER NOT NULL,
  order_id TEXT NOT NULL,
  what     TEXT NOT NULL
) STRICT;
"""
JOURNAL_IN_POSTGRES = """
CREATE TABLE IF NOT EXISTS journal (
  at_ns    bigint NOT NULL,
  order_id text NOT NULL,
  what     text NOT NULL
);
"""
NOTE = '''"""What a service did for an order, and when."""

import time

from sagagen.runtime import Call


async def note(call: Call) -> None:
    """Write a line in the transaction of the effect that it is about."""
    what = call.step if call.action is None else f"undo {call.step}"
    await call.db.execute(
        "INSERT INTO journal (at_ns, order_id, what) VALUES (?, ?, ?)", (time.time_ns(), call.saga_id, what)
    )
'''
END_OF_A_WRITE = re.compile(r"^        return (?!CheckFraudResponse)(?=\w+Response\()", re.MULTILINE)

AS_IT_IS: Changes = {}
SHORT_WAIT: Changes = {"within: 10m": "within: 500ms"}
"""A restaurant that says nothing for half a second is silent."""


def delivery(root: Path, changes: Changes = AS_IT_IS) -> Path:
    """Make the project in `root`, with journals. Returns `root`."""
    copy_project("delivery", root)
    edit(root / "contracts" / "saga.yaml", changes)
    (root / "handlers" / "journal.py").write_text(NOTE, encoding="utf-8")
    for service in SERVICES:
        _keep_a_journal(root / "handlers" / f"{service}.py")
        for file, text in ((f"{service}.sql", JOURNAL), (f"{service}.postgres.sql", JOURNAL_IN_POSTGRES)):
            with (root / "handlers" / file).open("a", encoding="utf-8") as tables:
                tables.write(text)
    return generate(root)


def _keep_a_journal(handlers: Path) -> None:
    text, count = END_OF_A_WRITE.subn(
        "        await note(call)\n\\g<0>", handlers.read_text(encoding="utf-8")
    )
    assert count, f"{handlers} has changed: no write of it was found"
    heading = "from sagagen.runtime import Call"
    handlers.write_text(
        text.replace(heading, f"from handlers.journal import note\n{heading}"), encoding="utf-8"
    )


def effects_of(stack: Stack, order_id: str) -> dict[str, Any]:
    """What stands of an order in the services' databases; a key that is missing: nothing."""
    found: dict[str, Any] = {}
    for row in _rows(stack, "payment", "SELECT status FROM payments", order_id):
        found["payment"] = row["status"]
    for row in _rows(stack, "restaurant", "SELECT status, reason FROM tickets", order_id):
        found["ticket"] = row["status"] if row["reason"] is None else f"{row['status']}: {row['reason']}"
    for _ in _rows(stack, "courier", "SELECT 1 FROM rides", order_id):
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
