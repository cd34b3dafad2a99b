"""Scripted histories, the same on each log that an engine runs on: same rows, statuses, effects and answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest
from engine_world import World
from grpclib.const import Status as Code
from runtime_conformance import RUNTIMES, over
from small_mesh import ManualClock, acceptance, saga, step, usual_saga
from test_structure import block, loop

from sagagen.runtime.engine.port import CommandRejected, SagaRuntime
from sagagen.runtime.model.definition import Direction, Saga, StepKind
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.events import LogEvent
from sagagen.runtime.saga.history import fold

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
FORGOTTEN = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain=DOMAIN)
OTHER_PAYLOAD = RpcError(Code.ABORTED, "other", reason="PAYLOAD_MISMATCH", domain=DOMAIN)
BROKEN = RpcError(Code.INTERNAL, "broken")
INVALID = RpcError(Code.INVALID_ARGUMENT, "no such field")
RETRY, CANCEL, HOLD = (OperatorCommand(act, "ann", "as said") for act in (Act.RETRY, Act.CANCEL, Act.HOLD))
USUAL = usual_saga()
TREE = saga(
    step("one"),
    block("both", a=[step("left")], b=[step("right"), step("right_too")]),
    loop("each"),
    step("pivot", StepKind.PIVOT),
    step("after", StepKind.RETRIABLE),
)
SHARED = ("embedded", "shared")
"""Engines whose rows are looked at. Where others keep theirs is their own affair."""


@dataclass(frozen=True)
class Scenario:
    name: str
    """With hyphens in the place of blanks, it is the saga's id too."""
    definition: Saga = USUAL
    faults: Mapping[tuple[str, Direction], list[str | RpcError]] = field(
        default_factory=dict[tuple[str, Direction], list[str | RpcError]]
    )
    declines: frozenset[str] = frozenset()
    commands: tuple[OperatorCommand, ...] = ()
    """Given one after the other, whenever the saga is not active any more."""
    restarts: bool = False
    """Before each command."""


def fault(name: str, step: str, direction: Direction, *faults: str | RpcError, **more: Any) -> Scenario:
    return Scenario(name, faults={(step, direction): [*faults]}, **more)


SCENARIOS = (
    Scenario("straight"),
    *(Scenario(f"{name} declines", declines=frozenset({name})) for name in ("one", "two", "pivot")),
    *(
        fault(f"{name} {how}", name, ACTION, *faults)
        for name in ("one", "two", "pivot", "after")
        for how, faults in {
            "is lost": ["lost"],
            "is down": ["down", "down"],
            "is lost and down": ["lost", "down", "lost"],
            "breaks once": [BROKEN],
            "finds no field once": [INVALID],
        }.items()
    ),
    *(
        replace(
            fault(f"compensation of {name} {how}", name, COMPENSATION, *faults), declines=frozenset({"pivot"})
        )
        for name in ("one", "two")
        for how, faults in {
            "is lost": ["lost"],
            "is down": ["down", "down", "down"],
            "breaks": [BROKEN, "down"],
        }.items()
    ),
    *(
        fault(
            f"{name} is stuck, and {command.act}{later}",
            name,
            ACTION,
            FORGOTTEN,
            commands=(command,),
            restarts=bool(later),
        )
        for name in ("one", "two", "pivot", "after")
        for command in (RETRY, CANCEL)
        for later in ("", " after a restart")
    ),
    *(
        fault(f"payload of {name} is another", name, ACTION, OTHER_PAYLOAD, commands=(RETRY, CANCEL))
        for name in ("two", "pivot")
    ),
    *(
        replace(
            fault(f"undoing {name} is stuck, and {command.act}{later}", name, COMPENSATION, *[FORGOTTEN] * 3),
            declines=frozenset({"pivot"}),
            commands=(command, command),
            restarts=bool(later),
        )
        for name in ("one", "two")
        for command in (RETRY, OperatorCommand(Act.RESOLVE, "ann", "by hand", name), CANCEL)
        for later in ("", " after a restart")
    ),
    Scenario("a tree", TREE),
    *(
        Scenario(f"a tree whose {name} declines", TREE, declines=frozenset({name}))
        for name in ("one", "pivot")
    ),
    *(
        fault(f"a tree whose {name} {how}", name, ACTION, *faults, definition=TREE)
        for name in ("one", "left", "pivot", "after")
        for how, faults in {"is lost": ["lost"], "is down": ["down", "down"]}.items()
    ),
)


@dataclass(frozen=True)
class Told:
    """What came of a scenario, without what is drawn at random."""

    rows: Sequence[str]
    status: str
    effects: Sequence[str]
    answers: Sequence[str]


def shown(row: LogEvent) -> str:
    drawn = ("span_id", "trace", "run", "at_ms", "started_ms")
    return f"{type(row).__name__} " + " ".join(
        f"{each.name}={getattr(row, each.name)!r}" for each in fields(row) if each.name not in drawn
    )


class Worlds:
    """Each saga has a world of its own."""

    def __init__(self, scenarios: Sequence[Scenario], clock: ManualClock) -> None:
        self.of = {each.name: World(clock, faults=each.faults, declines=each.declines) for each in scenarios}

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        called = SagaCall.from_metadata(metadata)
        assert called
        world = self.of[called.saga_id]
        return await world.call(path, request, metadata=metadata, timeout_s=timeout_s)


async def tell(name: str, folder: Path, scenarios: Sequence[Scenario]) -> dict[str, Told]:
    """All of them, of one definition, on one log; those that restart do it together. The name is the saga's id."""
    clock, answers = ManualClock(), {each.name: list[str]() for each in scenarios}
    worlds, definition = Worlds(scenarios, clock), scenarios[0].definition

    async def give(runtime: SagaRuntime, saga_id: str, command: OperatorCommand) -> None:
        try:
            await runtime.command(saga_id, command)
            answers[saga_id].append("done")
        except CommandRejected as error:
            answers[saga_id].append(str(error))
        await over(runtime, saga_id)

    async with RUNTIMES[name](folder, definition, worlds, clock) as runtime:
        for each in scenarios:
            await runtime.accept(acceptance(definition, each.name, input="a b"))
            await over(runtime, each.name)
            for command in () if each.restarts else each.commands:
                await give(runtime, each.name, command)
    for number in range(2):
        async with RUNTIMES[name](folder, definition, worlds, clock) as runtime:
            for each in scenarios:
                if each.restarts and number < len(each.commands):
                    await give(runtime, each.name, each.commands[number])
    async with RUNTIMES[name](folder, definition, worlds, clock) as runtime:
        return {
            each.name: await _told(runtime, each.name, worlds.of[each.name], answers[each.name])
            for each in scenarios
        }


async def _told(runtime: SagaRuntime, saga_id: str, world: World, answers: Sequence[str]) -> Told:
    found = await runtime.find(saga_id)
    assert found
    result = repr(await runtime.wait(saga_id, 0.0))
    effects = [f"{each.step} {each.direction}" for each in world.effects]
    return Told([*map(shown, found.rows)], str(fold(found.rows).status), effects, [*answers, result])


@pytest.mark.parametrize("definition", [USUAL, TREE], ids=["line", "tree"])
async def test_each_history_is_the_same_on_each_log(tmp_path: Path, definition: Saga) -> None:
    scenarios = [
        replace(each, name=each.name.replace(",", "").replace(" ", "-"))
        for each in SCENARIOS
        if each.definition is definition
    ]
    embedded, shared = [await tell(name, tmp_path / name, scenarios) for name in SHARED]
    for name, told in embedded.items():
        assert shared[name] == told, name
    assert {told.status for told in embedded.values()} >= {"COMPLETED", "COMPENSATED"}
