"""How long each fault is felt: an order every 0.2 s, one fault of each kind, and how long the slowest order took.

    PYTHONPATH=codegen:.:tests:tests/faults python tests/faults/recovery_on_postgres.py --times 3

A figure is in seconds: until the answer, and until the saga had ended. What the fault itself lasted stands beside it.
"""

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from campaign_faults import Faults
from campaign_orders import Clients, Order, Send
from replica_mesh import ReplicaMesh

EVERY_S = 0.2
BEFORE_S, AFTER_S = 1.0, 5.0
"""How long orders are placed before a fault, and after its healing."""


class Felt(NamedTuple):
    """Of one fault."""

    what: str
    lasted_s: float
    answer_s: float
    """The slowest answer."""
    saga_s: float
    """The slowest saga."""
    refused: int
    """Orders that got another answer than 201."""


async def felt(mesh: ReplicaMesh, faults: Faults, name: str, number: int) -> Felt:
    orders: list[Order] = []
    clients = Clients(mesh.http_port, orders, random.Random(number))
    is_over = asyncio.Event()
    begun_ms = time.time() * 1000

    async def place() -> None:
        async with asyncio.TaskGroup() as group:
            while not is_over.is_set():
                key = f"{name}-{number}-{len(orders)}".replace(" ", "-")
                item = (f"prod_{len(orders) % 5 + 1}", 1, 10.0)
                orders.append(Order(key, "good", {"A": [item]}, [Send(0.0, "A", None)]))
                group.create_task(clients.send(orders[-1], "A"))
                await asyncio.sleep(EVERY_S)

    placing = asyncio.create_task(place())
    await asyncio.sleep(BEFORE_S)
    fault = await faults.do(name)
    await asyncio.sleep(AFTER_S)
    is_over.set()
    await placing
    await asyncio.to_thread(mesh.await_no_open_sagas, 60.0)
    ended = mesh.log_rows(f"SELECT max(updated_ms - started_ms) FROM saga WHERE started_ms >= {begun_ms:.0f}")
    answers = [answer for order in orders for answer in order.answers]
    return Felt(
        fault.what,
        fault.healed - fault.begun,
        max(answer.ended - answer.began for answer in answers),
        (ended[0][0] or 0) / 1000,
        sum(answer.status != 201 for answer in answers),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds that a fault may last")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="recovery-"))
    table: dict[str, list[Felt]] = defaultdict(list)
    with ReplicaMesh(folder) as mesh:
        faults = Faults(mesh, random.Random(options.seed), pause_s=1.0, longest_s=options.longest)
        for number in range(options.times):
            for name in faults.kinds:
                table[name].append(asyncio.run(felt(mesh, faults, name, number)))
                found = table[name][-1]
                print(
                    f"{name:31} {found.what:28} lasted {found.lasted_s:4.1f}  answer {found.answer_s:5.1f}  "
                    f"saga {found.saga_s:5.1f}  not 201: {found.refused}  load {os.getloadavg()[0]:.0f}",
                    flush=True,
                )
                mesh.await_ready()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
