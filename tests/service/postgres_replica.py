"""A replica that sends itself what two engines and a bad network would, until it is killed.

python postgres_replica.py URL ISOLATION ROUND SEED: calls of the sagas of a round, in any order and more than once,
each direction and each of two runs; a line for each answer.
"""

import asyncio
import sys
from pathlib import Path
from random import Random
from typing import NamedTuple, cast

from small_mesh import saga_call
from store_conformance import TABLES, Shop, effect, reason

from sagagen.runtime.clock import SystemClock
from sagagen.runtime.model.definition import Direction, Isolation
from sagagen.runtime.service.postgres_store.preparing import PostgresError, PostgresScripts
from sagagen.runtime.service.postgres_store.store import PostgresStore

SAGAS = 30
"""Of a round: few, so that calls of one meet."""
WORKERS = 4


class Sent(NamedTuple):
    """A call, as a line names it."""

    saga: str
    step: str
    run: str
    direction: Direction

    @property
    def effect(self) -> str:
        return f"{self.saga} {self.step} {self.run} {self.direction}"

    async def to(self, shop: Shop) -> str:
        call = saga_call(self.step, self.direction, saga=self.saga, run=self.run)
        return reason(await shop.write(call, effect(self.effect)))

    async def until_settled(self, shop: Shop) -> str:
        """As an engine does: again after whatever is in doubt."""
        while True:
            said = await self.to(shop)
            if said != "UNAVAILABLE":
                return said
            await asyncio.sleep(0.01)


def calls_of(number: int) -> list[Sent]:
    return [
        Sent(f"r{number}n{saga}", step, run, direction)
        for saga in range(SAGAS)
        for step in ("a", "b")
        for run in ("first", "second")
        for direction in (Direction.ACTION, Direction.COMPENSATION)
    ]


def scripts() -> PostgresScripts:
    return PostgresScripts(Path("lab.postgres.sql"), TABLES, {})


async def serve(url: str, isolation: Isolation, number: int, random: Random) -> None:
    calls = calls_of(number)
    async with PostgresStore.open("lab", url, scripts(), SystemClock(), isolation=isolation) as store:

        async def work() -> None:
            while True:
                call = random.choice(calls)
                said = await call.to(Shop(store))
                print(f"{call.effect} {said}", flush=True)

        await asyncio.gather(*(work() for _ in range(WORKERS)))


async def main(url: str, isolation: str, number: str, seed: str) -> None:
    while True:
        try:
            await serve(url, cast(Isolation, isolation), int(number), Random(int(seed)))
        except PostgresError:  # the server is being started again
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
