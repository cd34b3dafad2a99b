"""Mistakes that people make in handlers, planted in the shop's, each as an edit of a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from project_copy import SHOP


@dataclass(frozen=True)
class Bug:
    name: str
    service: str
    edits: Mapping[str, str]
    breaks: str
    """The invariant that misses what it destroys."""
    most_sagas: int
    """That the shortest story may have."""
    most_faults: int = 0

    @property
    def file(self) -> str:
        return f"handlers/{self.service}.py"

    def handlers(self) -> object:
        """An instance of the handlers with the mistake."""
        text = (SHOP / self.file).read_text(encoding="utf-8")
        for old, new in self.edits.items():
            assert text.count(old) == 1, f"{self.file} has changed: {old!r}"
            text = text.replace(old, new)
        module = ModuleType(f"planted_{self.service}")
        exec(compile(text, self.file, "exec"), vars(module))
        return vars(module)[f"{self.service.title()}Service"]()


UNDOES_TOO_MUCH = Bug(
    "a compensation that undoes too much",
    "inventory",
    {
        '"DELETE FROM reservations WHERE order_id = ?", (request.order_id,)': (
            '"DELETE FROM reservations WHERE product_id IN "\n'
            '            "(SELECT product_id FROM reservations WHERE order_id = ?)", (request.order_id,)'
        )
    },
    "what_is_reserved_has_an_owner",
    2,
    1,
)

WRITES_BESIDE_THE_TRANSACTION = Bug(
    "a refusal after a write outside of the transaction",
    "inventory",
    {
        "class InventoryService(InventoryHandlers):\n": (
            "class InventoryService(InventoryHandlers):\n"
            "    def __init__(self) -> None:\n"
            "        self._reserved: dict[str, int] = {}  # faster than to ask the database\n\n"
        ),
        "        for product_id, quantity in sorted(wanted.items()):\n            taken = await call.db.execute(\n": (
            "        for product_id, quantity in sorted(wanted.items()):\n"
            "            if product_id not in self._reserved:\n"
            "                rows = await call.db.fetch(\n"
            '                    "SELECT reserved FROM stock WHERE product_id = ?", (product_id,)\n'
            "                )\n"
            '                self._reserved[product_id] = rows[0]["reserved"] if rows else 0\n'
            "            self._reserved[product_id] += quantity\n"
            "            if quantity > 100:\n"
            '                raise Declined("TOO_MANY", "at most 100 of one product")\n'
            "            taken = await call.db.execute(\n"
        ),
        "available = available - ?1, reserved = reserved + ?1 ": "available = available - ?1, reserved = ?3 ",
        "(quantity, product_id),": "(quantity, product_id, self._reserved[product_id]),",
        '        await call.db.execute(\n            "UPDATE stock SET available = available + r.quantity': (
            "        self._reserved.clear()\n"
            '        await call.db.execute(\n            "UPDATE stock SET available = available + r.quantity'
        ),
    },
    "no_stock_is_lost",
    2,
    1,
)

READS_THEN_WRITES = Bug(
    "a read-then-write race over two steps",
    "inventory",
    {
        "class InventoryService(InventoryHandlers):\n": (
            "class InventoryService(InventoryHandlers):\n"
            "    def __init__(self) -> None:\n"
            "        self._before: dict[tuple[str, str], int] = {}  # what is put back when it is undone\n\n"
        ),
        "        for product_id, quantity in sorted(wanted.items()):\n            taken = await call.db.execute(\n": (
            "        for product_id, quantity in sorted(wanted.items()):\n"
            "            rows = await call.db.fetch(\n"
            '                "SELECT available FROM stock WHERE product_id = ?", (product_id,)\n'
            "            )\n"
            '            self._before[request.order_id, product_id] = rows[0]["available"] if rows else 0\n'
            "            taken = await call.db.execute(\n"
        ),
        '        await call.db.execute("DELETE FROM reservations WHERE order_id = ?", (request.order_id,))\n': (
            '        await call.db.execute("DELETE FROM reservations WHERE order_id = ?", (request.order_id,))\n'
            "        for (order_id, product_id), available in self._before.items():\n"
            "            if order_id == request.order_id:\n"
            "                await call.db.execute(\n"
            '                    "UPDATE stock SET available = ? WHERE product_id = ?", (available, product_id)\n'
            "                )\n"
        ),
    },
    "no_stock_is_lost",
    2,
    1,
)

ANSWERS_OTHERWISE = Bug(
    "a non-deterministic response that is compared",
    "order",
    {
        "import json\n": "import json\nimport random\n",
        "        return CreateOrderResponse(order=order)\n": (
            "        order.total_minor -= random.choice([0, 0, 0, 1])  # the discount of the day\n"
            "        return CreateOrderResponse(order=order)\n"
        ),
    },
    "confirmed_orders_are_paid_and_no_others",
    1,
)

FORGETS_TO_UNDO = Bug(
    "a forgotten undo",
    "payment",
    {
        "        await call.db.execute(\n"
        "            \"UPDATE payments SET status = 'REFUNDED' WHERE order_id = ?\", (request.order_id,)\n"
        "        )\n"
        "        return RefundPaymentResponse()": "        return RefundPaymentResponse()"
    },
    "confirmed_orders_are_paid_and_no_others",
    1,
    1,
)

BUGS = (UNDOES_TOO_MUCH, WRITES_BESIDE_THE_TRANSACTION, READS_THEN_WRITES, ANSWERS_OTHERWISE, FORGETS_TO_UNDO)
