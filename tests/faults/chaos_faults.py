"""What goes wrong beyond one machine: anything that runs is killed, frozen or stopped. The seed says what and when."""

import asyncio
import random
import signal
from collections.abc import Sequence

from campaign_faults import FaultPlan
from chaos_fleet import GATEWAYS, Arena, Fleet
from restate_cluster import RestateCluster, RestateNode


class ChaosFaults(FaultPlan):
    """In an arena."""

    def __init__(self, arena: Arena, rng: random.Random, *, pause_s: float, longest_s: float) -> None:
        super().__init__(rng, pause_s=pause_s, longest_s=longest_s)
        self._arena = arena
        postgres = arena.postgres
        self.kinds = {
            "kill a gateway": (lambda rng: self._kill_one(rng, GATEWAYS), 4),
            "freeze a gateway": (lambda rng: self._freeze_one(rng, GATEWAYS), 3),
            "stop a gateway by SIGTERM": (lambda rng: self._terminate_one(rng, GATEWAYS), 1),
            "kill both gateways": (lambda rng: self.kill(self._fleet(rng), rng, *GATEWAYS), 1),
            "kill a service": (lambda rng: self._kill_one(rng), 3),
            "freeze a service": (lambda rng: self._freeze_one(rng), 2),
            "stop a service by SIGTERM": (lambda rng: self._terminate_one(rng), 1),
            "kill a whole project": (self._kill_all, 1),
            "crash PostgreSQL": (lambda rng: self.stop_postgres(postgres, rng, "immediate"), 2),
            "freeze PostgreSQL": (lambda rng: self.freeze_postgres(postgres, rng), 1),
            "end connections to PostgreSQL": (lambda rng: self.end_connections(postgres, rng), 1),
        }
        if adapters := arena.keeper.adapters:
            self.kinds |= {
                "kill an adapter": (lambda rng: self._kill_one(rng, adapters), 4),
                "freeze an adapter": (lambda rng: self._freeze_one(rng, adapters), 2),
                "stop an adapter by SIGTERM": (lambda rng: self._terminate_one(rng, adapters), 1),
                "kill both adapters": (lambda rng: self.kill(self._fleet(rng), rng, *adapters), 1),
            }
        if cluster := arena.keeper.cluster:
            self.kinds |= {
                "kill a Restate node": (lambda rng: self._kill_nodes(rng, cluster, 1), 4),
                "freeze a Restate node": (lambda rng: self._freeze_node(rng, cluster), 2),
                "stop a Restate node by SIGTERM": (lambda rng: self._terminate_node(rng, cluster), 1),
            }
            if len(cluster.nodes) > 1:
                self.kinds["kill two Restate nodes"] = (lambda rng: self._kill_nodes(rng, cluster, 2), 1)

    def look_after(self) -> None:
        for fleet in self._arena.fleets.values():
            fleet.look_after()

    def _fleet(self, rng: random.Random) -> Fleet:
        self.look_after()
        return rng.choice(list(self._arena.fleets.values()))

    def _one_of(self, rng: random.Random, names: Sequence[str]) -> tuple[Fleet, str]:
        """One of `names`; of the services, if that is empty."""
        fleet = self._fleet(rng)
        return fleet, rng.choice(names or fleet.services)

    async def _kill_one(self, rng: random.Random, names: Sequence[str] = ()) -> str:
        fleet, name = self._one_of(rng, names)
        return await self.kill(fleet, rng, name)

    async def _freeze_one(self, rng: random.Random, names: Sequence[str] = ()) -> str:
        fleet, name = self._one_of(rng, names)
        return await self.freeze(fleet, rng, name)

    async def _terminate_one(self, rng: random.Random, names: Sequence[str] = ()) -> str:
        fleet, name = self._one_of(rng, names)
        return await self.terminate(fleet, rng, name)

    async def _kill_all(self, rng: random.Random) -> str:
        fleet = self._fleet(rng)
        return f"{fleet.project}: {await self.kill(fleet, rng, *fleet.names)}"

    # -- nodes of Restate ------------------------------------------------------------------------------------------

    async def _kill_nodes(self, rng: random.Random, cluster: RestateCluster, count: int) -> str:
        nodes = rng.sample(cluster.nodes, count)
        for node in nodes:
            node.kill()
        lasted = await self._last(rng)
        return f"{await self._begun(nodes)} {lasted}"

    async def _freeze_node(self, rng: random.Random, cluster: RestateCluster) -> str:
        node = rng.choice(cluster.nodes)
        node.send(signal.SIGSTOP)
        lasted = await self._last(rng)
        node.send(signal.SIGCONT)
        return f"{node.name} {lasted}"

    async def _terminate_node(self, rng: random.Random, cluster: RestateCluster) -> str:
        node = rng.choice(cluster.nodes)
        await asyncio.to_thread(node.stop)
        return await self._begun([node])

    async def _begun(self, nodes: Sequence[RestateNode]) -> str:
        for node in nodes:
            node.begin()
        return "+".join(node.name for node in nodes)
