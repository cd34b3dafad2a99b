"""What goes wrong in a campaign: which fault comes when follows from the seed."""

import asyncio
import random
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from postgres_server import PostgresServer
from process_group import ProcessGroup
from replica_mesh import GATEWAY, SERVICES, ReplicaMesh

Kind = Callable[[random.Random], Awaitable[str]]

STOPPING_S = 10.0
"""How long a process has to end after SIGTERM, in seconds, on a quiet machine."""


class Fault(NamedTuple):
    """One that was done, and healed."""

    name: str
    what: str
    begun: float
    healed: float


class FaultPlan(ABC):
    """They come one after the other."""

    def __init__(self, rng: random.Random, *, pause_s: float, longest_s: float) -> None:
        """`pause_s` on average between two; none lasts longer than `longest_s`."""
        self._rng = rng
        self._pause_s = pause_s
        self._longest_s = longest_s
        self.done: list[Fault] = []
        self.slow_ends: list[str] = []
        """Processes that took long to end after SIGTERM, or said that they could not."""
        self.kinds: dict[str, tuple[Kind, float]] = {}
        """What each does, and how often it comes beside the others."""

    @abstractmethod
    def look_after(self) -> None:
        """Start anew what has ended by itself."""

    async def run(self, over: asyncio.Event, at_least: int = 0, at_most: int | None = None) -> None:
        """Until it is over and `at_least` have been done, or `at_most`."""
        while at_most is None or len(self.done) < at_most:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rng.expovariate(1 / self._pause_s)):
                    await over.wait()
            if over.is_set() and len(self.done) >= at_least:
                return
            await self._one()
            self.look_after()

    async def do(self, name: str) -> Fault:
        """One fault of this name, and its healing."""
        begun = time.monotonic()
        what = await self.kinds[name][0](random.Random(self._rng.random()))
        self.done.append(Fault(name, what, begun, time.monotonic()))
        return self.done[-1]

    async def _one(self) -> None:
        names = list(self.kinds)
        await self.do(self._rng.choices(names, [self.kinds[name][1] for name in names])[0])

    async def _last(self, rng: random.Random, longest_s: float | None = None) -> str:
        seconds = rng.uniform(0.0, min(self._longest_s, longest_s or self._longest_s))
        await asyncio.sleep(seconds)
        return f"{seconds:.1f} s"

    # -- what goes wrong with processes and PostgreSQL -------------------------------------------------------------

    async def kill(self, group: ProcessGroup, rng: random.Random, *names: str) -> str:
        group.kill(*names)
        lasted = await self._last(rng)
        group.start(*names)
        return f"{'+'.join(names)} {lasted}"

    async def freeze(self, group: ProcessGroup, rng: random.Random, name: str) -> str:
        group.signal(name, signal.SIGSTOP)
        lasted = await self._last(rng)
        group.signal(name, signal.SIGCONT)
        return f"{name} {lasted}"

    async def terminate(self, group: ProcessGroup, rng: random.Random, name: str) -> str:
        if not await asyncio.to_thread(group.is_ready, name):
            return await self.kill(group, rng, name)  # it knows no SIGTERM before it has started
        code, took_s = await asyncio.to_thread(group.terminate, name)
        if code != 0 or took_s > STOPPING_S:
            self.slow_ends.append(f"{name}: exit code {code} after {took_s:.1f} s")
        group.start(name)
        return f"{name} {took_s:.1f} s"

    async def stop_postgres(self, server: PostgresServer, rng: random.Random, mode: str) -> str:
        await asyncio.to_thread(server.stop, mode)
        lasted = await self._last(rng, 3.0)
        await asyncio.to_thread(server.start)
        return f"-m {mode}, {lasted}"

    async def freeze_postgres(self, server: PostgresServer, rng: random.Random) -> str:
        server.freeze()
        lasted = await self._last(rng, 4.0)
        server.thaw()
        return lasted

    async def end_connections(self, server: PostgresServer, rng: random.Random) -> str:
        some = rng.choice((0.2, 0.5, 1.0))
        ended = await asyncio.to_thread(
            server.sql,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            f"WHERE application_name LIKE 'sagagen %' AND random() < {some}",
        )
        return f"{ended} connections"


class Faults(FaultPlan):
    """Of a mesh with replicas."""

    def __init__(self, mesh: ReplicaMesh, rng: random.Random, *, pause_s: float, longest_s: float) -> None:
        super().__init__(rng, pause_s=pause_s, longest_s=longest_s)
        self._mesh = mesh
        self.kinds = {
            "kill a replica": (self._kill_replica, 6),
            "kill a service": (self._kill_service, 1),
            "kill the gateway": (lambda rng: self.kill(mesh, rng, GATEWAY), 2),
            "stop a replica by SIGTERM": (lambda rng: self.terminate(mesh, rng, self._replica(rng)), 2),
            "freeze a replica": (lambda rng: self.freeze(mesh, rng, self._replica(rng)), 4),
            "freeze the gateway": (lambda rng: self.freeze(mesh, rng, GATEWAY), 1),
            "crash PostgreSQL": (lambda rng: self.stop_postgres(mesh.postgres, rng, "immediate"), 2),
            "restart PostgreSQL": (lambda rng: self.stop_postgres(mesh.postgres, rng, "fast"), 1),
            "freeze PostgreSQL": (lambda rng: self.freeze_postgres(mesh.postgres, rng), 1),
            "end connections to PostgreSQL": (lambda rng: self.end_connections(mesh.postgres, rng), 2),
            "kill Redis": (self._kill_redis, 1),
            "freeze Redis": (self._freeze_redis, 1),
        }

    def look_after(self) -> None:
        self._mesh.look_after()

    def _replica(self, rng: random.Random) -> str:
        self._mesh.look_after()
        return rng.choice(self._mesh.replicas)

    async def _kill_replica(self, rng: random.Random) -> str:
        return await self.kill(self._mesh, rng, self._replica(rng))

    async def _kill_service(self, rng: random.Random) -> str:
        service = rng.choice(SERVICES)
        return await self.kill(
            self._mesh, rng, *(name for name in self._mesh.replicas if name.startswith(service))
        )

    async def _kill_redis(self, rng: random.Random) -> str:
        self._mesh.redis.kill()
        lasted = await self._last(rng)
        await asyncio.to_thread(self._mesh.redis.start)
        return lasted

    async def _freeze_redis(self, rng: random.Random) -> str:
        self._mesh.redis.freeze()
        lasted = await self._last(rng)
        self._mesh.redis.thaw()
        return lasted
