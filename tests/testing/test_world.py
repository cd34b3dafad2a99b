"""A world of the shop: what its parts do to each other, before any face is put on it."""

import json

import pytest

from generated.mesh import MESH
from sagagen.testing.faults import (
    Crash,
    Delay,
    DelayAnswer,
    Duplicate,
    Fault,
    LoseAnswer,
    LoseRequest,
    Moment,
)
from sagagen.testing.virtual_time import virtual_time
from sagagen.testing.world import World

ORDER = {"customer_id": "ann", "items": [{"product_id": "prod_1", "quantity": 2, "price": 5.0}]}


async def place(world: World, key: str = "key-1") -> str:
    """The saga's id; a client whose connection breaks sends the same again."""
    while True:
        try:
            answer = await world.request(
                "POST", "/orders", json.dumps(ORDER).encode(), {"idempotency-key": key}
            )
        except ConnectionError:
            await world.gateway.started()
        else:
            return answer.saga_id


async def ended(*faults: Fault) -> tuple[World, int]:
    """A world in which one order was placed while these things went wrong; and how much stock is reserved then."""
    async with World(MESH) as world:
        world.plan.add(*faults)
        saga_id = await place(world)
        await world.rest(saga_id)
        return world, world.databases["inventory"].execute("SELECT sum(reserved) FROM stock")[0][0]


def status(world: World) -> str:
    (history,) = world.histories.values()
    return str(history.status)


EVERY_MOMENT = [Crash(step="reserve_stock", moment=moment, times=1) for moment in Moment]
LINES: list[Fault] = [
    LoseRequest(step="reserve_stock", attempt=1),
    LoseAnswer(step="reserve_stock", attempt=1),
    Delay(step="reserve_stock", attempt=1, seconds=5.0),
    DelayAnswer(step="reserve_stock", attempt=1, seconds=5.0),
    Duplicate(step="reserve_stock", times=1),
    Duplicate(step="reserve_stock", times=1, late_s=3.0),
]


@pytest.mark.parametrize("fault", [*EVERY_MOMENT, *LINES], ids=str)
@virtual_time
async def test_whatever_happens_to_a_call_its_effect_is_there_once(fault: Fault) -> None:
    world, reserved = await ended(fault)
    assert status(world) == "COMPLETED"
    assert reserved == 2
    assert not world.plan.unused
    assert not world.mistakes
