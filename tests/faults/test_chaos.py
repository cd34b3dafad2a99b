"""Orders and dinners at two gateways on each way to run, while anything is killed, frozen or stopped.

With SAGAGEN_FAULT_ROUNDS=20 they are 4,000 orders and 1,000 dinners on each.
"""

from pathlib import Path

import postgres_server
import pytest
import restate_server
from chaos import Pace, chaos
from chaos_fleet import WAYS, Arena
from thorough import FAULT_ROUNDS, TRIES_ALL

IS_LONG = FAULT_ROUNDS > 1
SEED = 1
SHORT = Pace(orders_per_s=10.0, dinners_per_s=8.0, pause_s=0.7, longest_s=1.5, at_least=3, at_most=4)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing() or "-"),
]
if IS_LONG:
    pytestmark.append(pytest.mark.timeout(7200))


@pytest.mark.parametrize("way", WAYS if IS_LONG or TRIES_ALL else list(WAYS)[:2])
async def test_nothing_is_lost_doubled_or_half_undone(way: str, tmp_path: Path) -> None:
    if WAYS[way] and (why := restate_server.missing()):
        pytest.skip(why)
    orders, dinners = (200 * FAULT_ROUNDS, 50 * FAULT_ROUNDS) if IS_LONG else (24, 16)
    with Arena(way, tmp_path) as arena:
        report = await chaos(arena, orders, dinners, SEED, Pace() if IS_LONG else SHORT)
    print(report.summary())
    assert not report.found, report.summary()
    assert report.faults
