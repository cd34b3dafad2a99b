"""Worlds made up by a number: the saga, the weather, clients and operators. The same number is the same world."""

from random import Random

from invariants import after_each_write, at_the_end
from made_up_sagas import made_up
from outline import outline
from participants import Weather
from world import Plan, World, events_for


def stormy_world(number: int, *, gateways: int = 1, meddles: bool = False) -> World:
    random = Random(f"world {number}")
    saga = made_up(random)
    plan = Plan(
        saga,
        number,
        gateways,
        weather=Weather(
            refuses=random.choice([0.0, 0.0, 0.05, 0.2]), declines=random.choice([0.0, 0.0, 0.1])
        ),
        dies=random.choice([0.02, 0.02, 0.06]),
        events=events_for(saga, random),
        cancel_at_s=random.uniform(1, 40) if random.random() < 0.25 else None,
        meddles_every_s=random.choice([2.0, 6.0]) if meddles else None,
    )
    return World(plan, [after_each_write])


def broken_in(world: World) -> list[str]:
    """Invariants that do not hold in a world that has run."""
    return at_the_end(world)


def told(number: int, world: World, broken: list[str]) -> str:
    """What a person needs to see why."""
    return "\n".join([f"world {number}: {broken}", outline(world.plan.saga), *world.trace[-150:]])
