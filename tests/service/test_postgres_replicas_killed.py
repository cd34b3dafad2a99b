"""Two replicas as processes, kill -9 at any time, and a server that crashes: every effect once, all or nothing.

SAGAGEN_FAULT_ROUNDS=20 runs as many rounds as a release should see. Each round has other sagas, and another isolation.
"""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import postgres_server
import pytest
from postgres_replica import Sent, calls_of, scripts
from postgres_server import PostgresServer
from store_conformance import Shop
from thorough import FAULT_ROUNDS
from waiting import eventually

from sagagen.runtime.clock import SystemClock
from sagagen.runtime.model.definition import Direction, Isolation
from sagagen.runtime.service.postgres_store.store import PostgresStore

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-")

ISOLATIONS: tuple[Isolation, ...] = ("repeatable_read", "read_committed", "serializable")
HERE = Path(__file__).parent
BETWEEN = 25
"""Answers between two faults."""


class Replica:
    """A process, and the answers that it has written."""

    def __init__(self, output: Path, *arguments: str) -> None:
        self.output = output
        self._arguments = arguments
        self.start()

    def start(self) -> None:
        paths = os.pathsep.join((str(HERE), str(HERE.parent), *filter(None, sys.path)))
        with self.output.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "postgres_replica.py"), *self._arguments],
                stdout=out,
                env={**os.environ, "PYTHONPATH": paths},
            )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def answers(self) -> list[tuple[Sent, str]]:
        """Without a line that was cut off, which begins no other one: a process that starts again begins a new one."""
        lines = self.output.read_text().splitlines()
        parts = [line.split(" ") for line in lines]
        return [
            (Sent(part[0], part[1], part[2], Direction(part[3])), part[4])
            for part in parts
            if len(part) == 5 and part[4] in ANSWERS
        ]


ANSWERS = {"OK", "REPLAY", "UNAVAILABLE", "STEP_COMPENSATED", "OTHER_RUN", "INTERNAL", "DATA_LOSS"}
SETTLED = {"OK", "REPLAY"}


async def settled(url: str, calls: list[Sent]) -> tuple[list[str], dict[Sent, str]]:
    """What is there in the end, once each call that is in doubt has been repeated; by a replica of its own."""
    async with PostgresStore.open("lab", url, scripts(), SystemClock()) as store:
        shop = Shop(store)
        said = {call: await call.until_settled(shop) for call in calls}
        return await shop.effects(), said


def violations(found: Counter[str], said: dict[Sent, str], answered: list[tuple[Sent, str]]) -> list[str]:
    """What does not hold, in words."""
    wrong = [f"{effect} happened {times} times" for effect, times in found.items() if times != 1]
    runs: dict[str, set[str]] = {}
    for effect in found:
        saga, step, run, direction = effect.split(" ")
        runs.setdefault(saga, set()).add(run)
        if direction == "compensation" and f"{saga} {step} {run} action" not in found:
            wrong.append(f"{effect} undid nothing")
    wrong += [f"two runs of {saga} had effects" for saga, names in runs.items() if len(names) > 1]
    for call, answer in [*answered, *said.items()]:
        undone = Sent(call.saga, call.step, call.run, Direction.COMPENSATION)
        if answer in SETTLED and call.direction is Direction.ACTION and call.effect not in found:
            wrong.append(f"{call.effect} was answered as {answer}, and is lost")
        is_half = undone.effect not in found and undone._replace(direction=Direction.ACTION).effect in found
        if answer in SETTLED and call.direction is Direction.COMPENSATION and is_half:
            wrong.append(f"{call.effect} was answered as {answer}, and its action stands")
        if answer in ("INTERNAL", "DATA_LOSS"):
            wrong.append(f"{call.effect} got {answer}")
    return sorted(set(wrong))


def test_nothing_is_lost_doubled_or_half_undone_under_kills(tmp_path: Path):
    random = Random(11)
    kills = deliveries = crashes = 0
    with PostgresServer() as server:
        for number in range(FAULT_ROUNDS):
            isolation = ISOLATIONS[number % len(ISOLATIONS)]
            url = server.database(f"round_{number}")
            replicas = [
                Replica(tmp_path / f"{number}-{name}", url, isolation, str(number), str(random.random())[2:])
                for name in ("one", "two")
            ]
            faults = ["kill", "kill", "crash"]
            random.shuffle(faults)
            try:
                for fault in [*faults, ""]:
                    for each in replicas:
                        before = len(each.answers())
                        eventually(
                            "more answers",
                            lambda each=each: len(each.answers()),
                            lambda seen, before=before: seen >= before + BETWEEN,
                        )
                    if fault == "kill":
                        struck = random.choice(replicas)
                        struck.kill()
                        struck.start()
                        kills += 1
                    elif fault == "crash":
                        server.stop()
                        server.start()
                        crashes += 1
            finally:
                for each in replicas:
                    each.kill()
            kills += 2
            calls = calls_of(number)
            random.shuffle(calls)
            answered = [answer for each in replicas for answer in each.answers()]
            effects, said = asyncio.run(settled(url, calls))
            deliveries += len(answered) + len(said)
            assert violations(Counter(effects), said, answered) == [], isolation
            assert {"OK", "REPLAY", "STEP_COMPENSATED", "OTHER_RUN"} <= {answer for _, answer in answered}
    print(f"{FAULT_ROUNDS} rounds, {deliveries} deliveries, {kills} kills, {crashes} crashes of the server")
