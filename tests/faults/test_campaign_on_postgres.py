"""Orders to two replicas of each service while all of it is killed, frozen and restarted: none lost or half undone.

With SAGAGEN_PROOFS=all or SAGAGEN_FAULT_ROUNDS it is 4,000 orders, which take a quarter of an hour.
"""

from pathlib import Path

import postgres_server
import pytest
from campaign_on_postgres import campaign
from replica_mesh import ReplicaMesh
from thorough import FAULT_ROUNDS, TRIES_ALL

IS_LONG = TRIES_ALL or FAULT_ROUNDS > 1
SEED = 1

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-"),
]


async def test_a_campaign_of_faults(tmp_path: Path) -> None:
    count, per_s, pause_s, longest_s = (4000, 9.0, 2.0, 8.0) if IS_LONG else (60, 10.0, 0.7, 1.5)
    with ReplicaMesh(tmp_path) as mesh:
        result = await campaign(mesh, count, SEED, per_s=per_s, pause_s=pause_s, longest_s=longest_s)
    assert not result.found, result.summary()
    assert result.faults
    assert result.ended
