"""A fault campaign: orders to two replicas of each service on PostgreSQL, while all of it is killed and frozen.

    PYTHONPATH=codegen:.:tests:tests/faults python tests/faults/campaign_on_postgres.py --orders 4000 --seed 7

Every order is sent until its answer is known. Then everything is healed, every saga ends, and PostgreSQL, the saga log
and all answers are held against each other (campaign_checks.py). Exit code 0: nothing is wrong; 1: something is, and
the folder is kept.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from campaign_checks import failures_of_calls, outcomes, violations
from campaign_faults import Fault, Faults
from campaign_orders import Clients, Order, draw
from replica_mesh import ReplicaMesh

SETTLE_S = 120.0
"""How long sagas and answers may take after everything is healed, in seconds, on a quiet machine."""


@dataclass
class Result:
    """What a campaign came to."""

    seed: int
    orders: Sequence[Order]
    faults: Sequence[Fault]
    took_s: float
    settled_s: float
    """From the healing of the last fault until all sagas had ended that were accepted before."""
    found: list[str] = field(default_factory=list[str])
    ended: Counter[str] = field(default_factory=Counter[str])
    repeated: Counter[str] = field(default_factory=Counter[str])
    """Why calls of sagas were made again, in the words of their errors."""

    def summary(self) -> str:
        """A page for people, whose last line says PASS or FAIL."""
        statuses = Counter(answer.status for order in self.orders for answer in order.answers)
        kinds = Counter(fault.name for fault in self.faults)
        answers = [answer for order in self.orders for answer in order.answers if answer.status]
        waited = sorted(answer.ended - answer.began for answer in answers)
        lines = [
            f"orders: {len(self.orders)}, answers: {dict(sorted(statuses.items()))} (0: none)",
            f"ended: {dict(self.ended)}",
            f"faults: {len(self.faults)}: {', '.join(f'{name} {count}' for name, count in kinds.most_common())}",
            f"calls that failed: {sum(self.repeated.values())}: {dict(self.repeated.most_common(12))}",
            f"took {self.took_s:.0f} s; {self.settled_s:.1f} s from the last fault until sagas from before had ended",
            f"an answer took: p50 {_share(waited, 0.5):.2f} s, p99 {_share(waited, 0.99):.1f} s, "
            f"longest {_share(waited, 1):.1f} s",
            *(f"VIOLATION: {each}" for each in self.found[:20]),
        ]
        if len(self.found) > 20:
            lines.append(f"and {len(self.found) - 20} more")
        verdict = "FAIL" if self.found else "PASS"
        counted = f"seed {self.seed}, {len(self.orders)} orders, {len(self.faults)} faults"
        return "\n".join([*lines, f"{verdict}: {counted}"])


def _share(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


async def campaign(
    mesh: ReplicaMesh, count: int, seed: int, *, per_s: float, pause_s: float, longest_s: float
) -> Result:
    """`count` orders, `per_s` a second, with a fault every `pause_s` seconds that lasts at most `longest_s`."""
    rng = random.Random(f"{seed}/orders")
    orders = [draw(number, rng) for number in range(count)]
    clients = Clients(mesh.http_port, orders, random.Random(f"{seed}/clients"))
    faults = Faults(mesh, random.Random(f"{seed}/faults"), pause_s=pause_s, longest_s=longest_s)
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(faults.run(clients.done))
        await clients.load(per_s, at_once=24)
    healed_ms = time.time() * 1000
    await asyncio.to_thread(mesh.await_ready)
    places = asyncio.Semaphore(12)

    async def know(order: Order) -> None:
        async with places:
            await clients.repeat(order, SETTLE_S)

    await asyncio.gather(*map(know, orders))
    left = await asyncio.to_thread(mesh.await_no_open_sagas, SETTLE_S)
    settled_s = max(0.0, mesh.last_end_ms(healed_ms) - healed_ms) / 1000
    # Once more: the answers that are kept are those that were given.
    again = random.Random(f"{seed}/again").sample(orders, min(200, count))
    await asyncio.gather(*(_again(clients, order, places) for order in again))
    found = [f"{left} sagas are open still"] if left else []
    found += [f"SIGTERM: {each}" for each in faults.slow_ends]
    if len(mesh.ended) > mesh.starts_in_vain():
        found.append(f"processes ended by themselves: {mesh.ended}")
    found += await asyncio.to_thread(
        violations, mesh, [dict(row) for row in mesh.log_rows("SELECT * FROM saga")], orders
    )
    took_s = time.monotonic() - begun
    return Result(
        seed, orders, faults.done, took_s, settled_s, found, outcomes(mesh), failures_of_calls(mesh)
    )


async def _again(clients: Clients, order: Order, places: asyncio.Semaphore) -> None:
    async with places:
        variants = [each.variant for each in order.answers if each.is_settled or each.status == 202]
        if variants:
            await clients.send(order, variants[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--orders", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--per-second", type=float, default=12.0, help="orders that begin, on average")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two faults, on average")
    parser.add_argument("--longest", type=float, default=8.0, help="seconds that a fault may last")
    parser.add_argument("--keep", action="store_true", help="leave the folder behind")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    with ReplicaMesh(folder) as mesh:
        result = asyncio.run(
            campaign(
                mesh,
                options.orders,
                options.seed,
                per_s=options.per_second,
                pause_s=options.pause,
                longest_s=options.longest,
            )
        )
        print(result.summary())
        print(f"processes that were started anew: {len(mesh.ended)}; error lines: {_errors(mesh.log)}")
    if result.found or options.keep:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if result.found else 0


def _errors(log: Path) -> dict[str, int]:
    """What processes reported as errors, by its words."""
    found = Counter[str]()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"level": "error"' in line or '"level":"error"' in line or line.startswith("Traceback"):
            found[line.partition('"event"')[2][:90] or line[:90]] += 1
    return dict(found.most_common(12))


if __name__ == "__main__":
    sys.exit(main())
