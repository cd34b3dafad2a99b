"""What `sagagen engine status` sees of Restate's partitions, copies and snapshots."""

import asyncio

import pytest
import restate_server
from stack import free_ports
from waiting import eventually

from sagagen.runtime.restate.client import RestateClient, Unreachable
from sagagen.runtime.restate.cluster import Cluster, warnings
from sagagen.runtime.restate.status import Status, report
from sagagen.runtime.transports.grpc.client import GrpcTransport

ONE, TWO = "{node: 1}", "{node: 2}"
SNAPSHOT = frozenset({0})


@pytest.mark.parametrize(
    ("cluster", "cores", "said"),
    [
        (Cluster(8, alive=1), 2, []),
        (Cluster(9, alive=1), 2, ["9 partitions"]),
        (Cluster(24), 2, ["24 partitions"]),
        (Cluster(24, alive=1), None, []),
        (Cluster(2, ONE, ONE, 1), 2, []),
        (Cluster(2, TWO, TWO, 3, 0, SNAPSHOT), 2, []),
        (Cluster(2, ONE, ONE, 3, 0, SNAPSHOT), 2, ["3 nodes keep one copy"]),
        (Cluster(2, TWO, TWO, 3), 2, ["no partition has a snapshot"]),
        (Cluster(2, TWO, TWO, 2, 1, SNAPSHOT), 2, ["1 of 3 nodes are dead"]),
    ],
)
def test_what_is_warned_of(cluster: Cluster, cores: int | None, said: list[str]) -> None:
    found = warnings(cluster, cores)
    assert len(found) == len(said)
    assert all(warning.startswith(start) for warning, start in zip(found, said, strict=True)), found


@pytest.mark.skipif(bool(restate_server.missing()), reason=restate_server.missing())
def test_a_server_tells_its_partitions() -> None:
    async def asked(admin_url: str, port: int) -> Status:
        admin = RestateClient([admin_url])
        try:
            async with GrpcTransport("127.0.0.1", port) as node:
                return await report(admin, "nobody", node, f"127.0.0.1:{port}", 1)
        finally:
            admin.close()

    def once_it_can(admin_url: str, port: int) -> Status | None:
        """Restate refuses queries until each partition has its node."""
        try:
            return asyncio.run(asked(admin_url, port))
        except Unreachable:
            return None

    with restate_server.RestateServer(partitions=5) as server:
        found = eventually(
            "queries to be answered",
            lambda: once_it_can(server.admin, server.node_port),
            lambda it: it is not None,
        )
        assert found is not None
        print(found)
        assert f"partitions: 5; copies of a row: {ONE}, of a partition: {ONE}" in found.lines
        assert any(warning.startswith("5 partitions are more than 4") for warning in found.warnings)
        (closed,) = free_ports(1)
        silent = asyncio.run(asked(server.admin, closed))
    said = f"Restate's node port can't be reached at 127.0.0.1:{closed}"
    assert any(line.startswith(said) for line in silent.lines)
    assert not any("partitions" in warning for warning in silent.warnings)
    assert not server.folder.exists()
