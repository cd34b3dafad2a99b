"""What goes wrong in a campaign: which fault comes when follows from the seed."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from replica_mesh import GATEWAY, SERVICES, ReplicaMesh

STOPPING_S = 10.0
"""How long a process has to end after SIGTERM, in seconds, on a quiet machine."""


class Fault(NamedTuple):
    """One that was done, and healed."""

    name: str
    what: str
    begun: float
    healed: float


class Faults:
    """They come one after the other."""

    def __init__(self, mesh: ReplicaMesh, rng: random.Random, *, pause_s: float, longest_s: float) -> None:
        """`pause_s` on average between two; none lasts longer than `longest_s`."""
        self._mesh = mesh
        self._rng = rng
        self._pause_s = pause_s
        self._longest_s = longest_s
        self.done: list[Fault] = []
        self.slow_ends: list[str] = []
        """Processes that took long to end after SIGTERM, or said that they could not."""
        self.kinds: dict[str, tuple[Callable[[random.Random], Awaitable[str]], float]] = {
            "kill a replica": (self._kill_replica, 6),
            "kill a service": (self._kill_service, 1),
            "kill the gateway": (self._kill_gateway, 2),
            "stop a replica by SIGTERM": (self._terminate_replica, 2),
            "freeze a replica": (self._freeze_replica, 4),
            "freeze the gateway": (self._freeze_gateway, 1),
            "crash PostgreSQL": (self._crash_postgres, 2),
            "restart PostgreSQL": (self._restart_postgres, 1),
            "freeze PostgreSQL": (self._freeze_postgres, 1),
            "end connections to PostgreSQL": (self._end_connections, 2),
            "kill Redis": (self._kill_redis, 1),
            "freeze Redis": (self._freeze_redis, 1),
        }

    async def run(self, over: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rng.expovariate(1 / self._pause_s)):
                    await over.wait()
            if over.is_set():
                return
            await self._one()
            self._mesh.look_after()

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

    def _replica(self, rng: random.Random) -> str:
        self._mesh.look_after()
        return rng.choice(self._mesh.replicas)

    # -- the faults --------------------------------------------------------------------------------------------------

    async def _kill_replica(self, rng: random.Random) -> str:
        return await self._kill(rng, self._replica(rng))

    async def _kill_service(self, rng: random.Random) -> str:
        service = rng.choice(SERVICES)
        return await self._kill(rng, *(name for name in self._mesh.replicas if name.startswith(service)))

    async def _kill_gateway(self, rng: random.Random) -> str:
        return await self._kill(rng, GATEWAY)

    async def _kill(self, rng: random.Random, *names: str) -> str:
        self._mesh.kill(*names)
        lasted = await self._last(rng)
        self._mesh.start(*names)
        return f"{'+'.join(names)} {lasted}"

    async def _terminate_replica(self, rng: random.Random) -> str:
        name = self._replica(rng)
        if not await asyncio.to_thread(self._mesh.is_ready, name):
            return await self._kill(rng, name)  # it knows no SIGTERM before it has started
        code, took_s = await asyncio.to_thread(self._mesh.terminate, name)
        if code != 0 or took_s > STOPPING_S:
            self.slow_ends.append(f"{name}: exit code {code} after {took_s:.1f} s")
        self._mesh.start(name)
        return f"{name} {took_s:.1f} s"

    async def _freeze_replica(self, rng: random.Random) -> str:
        return await self._freeze(rng, self._replica(rng))

    async def _freeze_gateway(self, rng: random.Random) -> str:
        return await self._freeze(rng, GATEWAY)

    async def _freeze(self, rng: random.Random, name: str) -> str:
        self._mesh.signal(name, signal.SIGSTOP)
        lasted = await self._last(rng)
        self._mesh.signal(name, signal.SIGCONT)
        return f"{name} {lasted}"

    async def _crash_postgres(self, rng: random.Random) -> str:
        return await self._stop_postgres(rng, "immediate")

    async def _restart_postgres(self, rng: random.Random) -> str:
        return await self._stop_postgres(rng, "fast")

    async def _stop_postgres(self, rng: random.Random, mode: str) -> str:
        await asyncio.to_thread(self._mesh.postgres.stop, mode)
        lasted = await self._last(rng, 3.0)
        await asyncio.to_thread(self._mesh.postgres.start)
        return f"-m {mode}, {lasted}"

    async def _freeze_postgres(self, rng: random.Random) -> str:
        self._mesh.postgres.freeze()
        lasted = await self._last(rng, 4.0)
        self._mesh.postgres.thaw()
        return lasted

    async def _end_connections(self, rng: random.Random) -> str:
        some = rng.choice((0.2, 0.5, 1.0))
        ended = await asyncio.to_thread(
            self._mesh.postgres.sql,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            f"WHERE application_name LIKE 'sagagen %' AND random() < {some}",
        )
        return f"{ended} connections"

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
