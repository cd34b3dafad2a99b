"""Chaos beyond one machine: orders and dinners at two gateways, while anything is killed, frozen or stopped.

    PYTHONPATH=codegen:.:tests:tests/faults python tests/faults/chaos.py --way "three Restate nodes" --seed 7

The sagas are on a shared log in PostgreSQL, on one Restate node or on three; services keep their data in PostgreSQL.
Every message is sent until its answer is known. Then all is healed, everything has to end within half a minute, and
databases, sagas and answers are held against each other. Exit code 0: nothing is wrong; 1: something is, and the
folder is kept.
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from campaign_checks import outcomes, violations
from campaign_faults import Fault
from campaign_orders import Clients, Order, draw
from chaos_checks import dinner_outcomes, dinner_violations, saga_lines, slowest_s
from chaos_dinners import Dinner, Guests, draw_dinner
from chaos_faults import ChaosFaults
from chaos_fleet import WAYS, Arena
from waiting import LIMIT_S, under_load

PEACE_S = 30.0
"""Within which everything has ended once all messages are answered, in seconds, on a quiet machine."""
AGAIN = 200
"""Keys that are sent once more in the end."""


@dataclass(frozen=True)
class Pace:
    """How much comes, and how much goes wrong."""

    orders_per_s: float = 9.0
    dinners_per_s: float = 2.5
    pause_s: float = 2.0
    """On average between two faults."""
    longest_s: float = 8.0
    """No fault lasts longer."""
    at_once: int = 24
    at_least: int = 0
    at_most: int | None = None
    """So many faults."""


@dataclass
class Report:
    """What a run came to."""

    way: str
    seed: int
    orders: Sequence[Order]
    dinners: Sequence[Dinner]
    faults: Sequence[Fault] = ()
    took_s: float = 0.0
    peace_s: float = 0.0
    """From the last answer until nothing was unfinished."""
    slowest_order_s: float = 0.0
    """A saga of the shop, from its acceptance to its end."""
    found: list[str] = field(default_factory=list[str])
    ended: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    statuses: Counter[int] = field(default_factory=Counter[int])
    """Of what was answered to dinners."""

    def summary(self) -> str:
        """A page for people, whose last line says PASS or FAIL."""
        answers = [answer for order in self.orders for answer in order.answers]
        waited = sorted(answer.ended - answer.began for answer in answers if answer.status)
        dined = max((dinner.longest_s for dinner in self.dinners), default=0.0)
        kinds = Counter(fault.name for fault in self.faults)
        lines = [
            f"orders: {len(self.orders)}, answers: {dict(sorted(Counter(a.status for a in answers).items()))}",
            f"dinners: {len(self.dinners)}, answers: {dict(sorted(self.statuses.items()))} (0: none)",
            *(f"{project} ended: {dict(ended)}" for project, ended in self.ended.items()),
            f"faults: {', '.join(f'{name} {count}' for name, count in kinds.most_common())}",
            f"an answer to an order took: p50 {_share(waited, 0.5):.2f} s, p99 {_share(waited, 0.99):.1f} s, longest "
            f"{_share(waited, 1):.1f} s; the slowest order's saga {self.slowest_order_s:.1f} s; the longest time "
            f"that a message of a dinner needed, {dined:.1f} s",
            f"took {self.took_s:.0f} s; {self.peace_s:.1f} s from the last answer until nothing was unfinished",
            *(f"VIOLATION: {each}" for each in self.found[:20]),
        ]
        if len(self.found) > 20:
            lines.append(f"and {len(self.found) - 20} more")
        counted = f"{len(self.orders)} orders, {len(self.dinners)} dinners, {len(self.faults)} faults"
        return "\n".join(
            [*lines, f"{'FAIL' if self.found else 'PASS'}: {self.way}, seed {self.seed}, {counted}"]
        )


def _share(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


async def chaos(arena: Arena, orders: int, dinners: int, seed: int, pace: Pace) -> Report:
    """So many orders and dinners with faults between them; then peace, and all is looked at. Once in an arena."""
    rng = random.Random(f"{seed}/what")
    report = Report(
        arena.way,
        seed,
        [draw(number, rng) for number in range(orders)],
        [draw_dinner(number, rng) for number in range(dinners)],
    )
    begun = time.monotonic()
    faults = ChaosFaults(
        arena,
        random.Random(f"{seed}/faults"),
        pause_s=min(3 * pace.pause_s, under_load(pace.pause_s)),
        longest_s=pace.longest_s,
    )
    report.faults = faults.done
    await _under_faults(arena, report, faults, pace)
    report.found += [f"SIGTERM: {each}" for each in faults.slow_ends]
    report.peace_s, left = await _until_finished(arena)
    report.found += (
        [f"{left} sagas or invocations are unfinished after {report.peace_s:.0f} s"] if left else []
    )
    report.found += await asyncio.to_thread(_violations, arena, report)
    report.took_s = time.monotonic() - begun
    return report


async def _under_faults(arena: Arena, report: Report, faults: ChaosFaults, pace: Pace) -> None:
    """Returns in peace: all is healed, and all messages are answered for good."""
    clients, guests = None, None
    is_over, sent = asyncio.Event(), list[asyncio.Task[None]]()
    if shop := arena.fleets.get("shop"):
        clients = Clients(shop.gateway_ports, report.orders, random.Random(f"{report.seed}/clients"))
        sent.append(asyncio.create_task(clients.load(pace.orders_per_s, pace.at_once)))
    if delivers := arena.fleets.get("delivery"):
        guests = Guests(delivers.gateway_ports, report.dinners, random.Random(f"{report.seed}/guests"))
        sent.append(asyncio.create_task(guests.dine(pace.dinners_per_s, pace.at_once)))
        report.statuses = guests.statuses
    plan = asyncio.create_task(faults.run(is_over, pace.at_least, pace.at_most))
    have_begun = [clients.done] if clients else []
    have_begun += [guests.have_begun] if guests else []
    for event in have_begun:
        await event.wait()
    is_over.set()
    await plan
    await asyncio.to_thread(arena.await_ready)
    if guests:
        guests.ask_until_s = time.monotonic() + LIMIT_S
    await asyncio.gather(*sent)
    places = asyncio.Semaphore(12)

    async def know(order: Order, clients: Clients) -> None:
        async with places:
            await clients.repeat(order, LIMIT_S)

    if clients:
        await asyncio.gather(*(know(order, clients) for order in report.orders))
        for order in random.Random(f"{report.seed}/again").sample(
            report.orders, min(AGAIN, len(report.orders))
        ):
            variants = [answer.variant for answer in order.answers if answer.is_settled]
            if variants:
                await clients.send(order, variants[0])
    if guests:
        await guests.ask_again(report.dinners[:AGAIN])


async def _until_finished(arena: Arena) -> tuple[float, int]:
    """How long it takes, in seconds, and what is left then."""
    begun = time.monotonic()
    left = await asyncio.to_thread(arena.keeper.unfinished)
    while left and time.monotonic() - begun < under_load(PEACE_S):
        await asyncio.sleep(0.2)
        left = await asyncio.to_thread(arena.keeper.unfinished)
    return time.monotonic() - begun, left


def _violations(arena: Arena, report: Report) -> list[str]:
    found: list[str] = []
    for project, fleet in arena.fleets.items():
        sagas = fleet.saga_rows()
        if project == "shop":
            found += violations(fleet, saga_lines(sagas), report.orders)
            report.ended[project] = outcomes(fleet)
            report.slowest_order_s = slowest_s(sagas)
        else:
            found += dinner_violations(fleet, report.dinners)
            report.ended[project] = dinner_outcomes(sagas)
        if len(fleet.ended) > fleet.starts_in_vain():
            found.append(f"processes of the {project} ended by themselves: {fleet.ended}")
    return found


def _end(_number: int, _frame: object) -> None:
    """So that nothing of a run that is stopped goes on alone."""
    sys.exit(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--way", choices=WAYS, default=next(iter(WAYS)))
    parser.add_argument("--orders", type=int, default=4000)
    parser.add_argument("--dinners", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--per-second", type=float, default=9.0, help="orders that begin, on average")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two faults, on average")
    parser.add_argument("--longest", type=float, default=8.0, help="seconds that a fault may last")
    parser.add_argument("--at-once", type=int, default=24, help="orders, and dinners, that are under way")
    parser.add_argument("--at-most", type=int, help="faults; default: as many as come")
    parser.add_argument("--keep", action="store_true", help="leave the folder behind")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    per_s = options.per_second
    pace = Pace(
        per_s,
        per_s * max(1, options.dinners) / max(1, options.orders),
        options.pause,
        options.longest,
        options.at_once,
        at_most=options.at_most,
    )
    with Arena(options.way, folder, shop=options.orders > 0, delivers=options.dinners > 0) as arena:
        report = asyncio.run(chaos(arena, options.orders, options.dinners, options.seed, pace))
        print(report.summary(), flush=True)
    if report.found or options.keep:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.found else 0


if __name__ == "__main__":
    sys.exit(main())
