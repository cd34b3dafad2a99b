"""Worlds made up by a number: the saga, the weather, clients and operators. The same number is the same world."""

from random import Random

from invariants import after_each_write, at_the_end
from made_up_sagas import made_up
from outline import outline
from participants import Weather
from world import Plan, World, events_for

from sagagen.runtime.model.definition import Saga


def stormy_world(
    number: int,
    saga: Saga | None = None,
    *,
    gateways: int = 1,
    meddles: bool = False,
    cancels: float = 0.25,
    within_s: float = 40.0,
    refuses: float | None = None,
) -> World:
    """A world of a saga, made up if none is given. Its clients send what they send within so many seconds."""
    random = Random(f"world {number}")
    saga = saga or made_up(random)
    plan = Plan(
        saga,
        number,
        gateways,
        is_alone=random.random() < 0.7,
        weather=_weather(random, refuses),
        dies=random.choice([0.01, 0.01, 0.05]),
        dies_every_s=random.choice([None, 30.0, 10.0]),
        longest_absence_s=random.choice([5.0] * 7 + [150.0]),
        slowest_commit_s=random.choice([0.05, 0.2, 1.0]),
        events=events_for(saga, random, within_s),
        cancel_at_s=random.uniform(1, within_s) if random.random() < cancels else None,
        meddles_every_s=random.choice([2.0, 6.0]) if meddles else None,
    )
    return World(plan, [after_each_write])


def _weather(random: Random, refuses: float | None) -> Weather:
    weather = Weather(
        refuses=random.choice([0.0, 0.0, 0.05, 0.2]) if refuses is None else refuses,
        declines=random.choice([0.0, 0.0, 0.1]),
    )
    weather.fails, weather.asks = random.choice([(0.1, 0.0), (0.1, 0.0), (0.25, 0.7)])
    return weather


def broken_in(world: World) -> list[str]:
    """Invariants that do not hold in a world that has run."""
    return at_the_end(world)


def told(number: int, world: World, broken: list[str]) -> str:
    """What a person needs to see why."""
    return "\n".join([f"world {number}: {broken}", outline(world.plan.saga), *world.trace[-150:]])
