"""What a service did for an order, and when. Each effect adds a line, so that one that is doubled shows."""

import time

from sagagen.runtime import Call


async def note(call: Call, order_id: str, what: str) -> None:
    """Write a line in the transaction of the effect that it is about."""
    await call.db.execute(
        "INSERT INTO journal (at_ns, order_id, what) VALUES (?, ?, ?)", (time.time_ns(), order_id, what)
    )
