"""Loops whose keys are any text: from the engine by each way to a service's barrier, and undone again."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from ledger import (
    PUT,
    SCHEMA,
    UNDO,
    Ledger,
    PutRequest,
    PutResponse,
    RunningLedger,
    database_in,
    delete,
    insert,
    running,
)
from small_mesh import BUDGETED, RETRY, Text, acceptance, running_engine, saga
from waiting import LIMIT_S

from sagagen.runtime import plain
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.model.definition import Action, ForEach, Saga, Step, StepKind
from sagagen.runtime.rpc.errors import Declined
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.scope import Scope
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.grpc.server import serve_grpc
from sagagen.runtime.transports.memory import MemoryTransport

KEYS = ["größe", "a", "a]", "100 %", "%25", " ", "レモン" * 14, "x" * 128]
WAYS: dict[str, set[plain.Switch]] = {"memory": set(), "grpc": set(), "plain": {"grpclib", "h2"}}


def definition() -> Saga:
    def listed(scope: Scope[Text]) -> Sequence[str]:
        return scope.input.value.split("\n")

    def item(scope: Scope[Text]) -> PutRequest:
        return PutRequest(name=scope.item(str), amount=1)

    def charge(scope: Scope[Text]) -> PutRequest:
        return PutRequest(name="last", amount=len(scope.responses("put", PutResponse)))

    return saga(
        Step(
            "put",
            StepKind.COMPENSATABLE,
            Action("ledger", PUT, item, 10.0, RETRY),
            Action("ledger", UNDO, item, 10.0, BUDGETED),
            for_each=ForEach(listed, lambda scope: scope.item(str), at_once=3),
        ),
        Step("last", StepKind.PIVOT, Action("ledger", PUT, charge, 10.0, RETRY)),
    )


@asynccontextmanager
async def mesh(
    folder: Path, way: str, ledger: Ledger
) -> AsyncGenerator[tuple[EmbeddedEngine, RunningLedger]]:
    async with AsyncExitStack() as stack:
        stack.enter_context(plain.using(WAYS[way]))
        sagas = [definition()]
        host: ServiceHost = await stack.enter_async_context(running(folder, ledger, sagas=sagas))
        if way == "memory":
            transport = MemoryTransport(host)
        else:
            port = await stack.enter_async_context(serve_grpc(host, "127.0.0.1", 0, SCHEMA))
            transport = await stack.enter_async_context(GrpcTransport("127.0.0.1", port))
        engine = await stack.enter_async_context(running_engine(folder, sagas, {"ledger": transport}))
        yield engine, RunningLedger(host, ledger, database_in(folder))


@pytest.mark.parametrize("way", list(WAYS))
async def test_hole_21_every_item_is_done_under_its_own_key(tmp_path: Path, way: str) -> None:
    told: list[tuple[str, str, str]] = []

    async def note(request: PutRequest, call: CallContext) -> PutResponse:
        told.append((call.step, request.name, call.caller))
        return await insert(request, call)

    ledger = Ledger()
    ledger.on_put = note
    async with mesh(tmp_path, way, ledger) as (engine, service):
        assert await ends(engine) is SagaStatus.COMPLETED
        assert sorted(told) == sorted(
            [*((f"put[{key}]", key, "ann ö") for key in KEYS), ("last", "last", "ann ö")]
        )
        assert service.states() == {(f"put[{key}]", "action"): "DONE" for key in KEYS} | {
            ("last", "action"): "DONE"
        }
        assert service.query("SELECT amount FROM entries WHERE name = 'last'") == [(len(KEYS),)]


@pytest.mark.parametrize("way", list(WAYS))
async def test_hole_21_every_item_is_undone_under_its_own_key(tmp_path: Path, way: str) -> None:
    undone: list[tuple[str, str]] = []

    async def decline_last(request: PutRequest, call: CallContext) -> PutResponse:
        if call.step == "last":
            raise Declined("NO")
        return await insert(request, call)

    async def note(request: PutRequest, call: CallContext) -> PutResponse:
        undone.append((call.step, request.name))
        return await delete(request, call)

    ledger = Ledger()
    ledger.on_put, ledger.on_undo = decline_last, note
    async with mesh(tmp_path, way, ledger) as (engine, service):
        assert await ends(engine) is SagaStatus.COMPENSATED
        assert sorted(undone) == sorted((f"put[{key}]", key) for key in KEYS)
        assert service.query("SELECT name FROM entries") == []


async def ends(engine: EmbeddedEngine) -> SagaStatus:
    started = replace(acceptance(definition(), input="\n".join(KEYS)), caller="ann ö")
    await engine.accept(started)
    async with asyncio.timeout(LIMIT_S):
        await engine.wait_until_idle()
    view = await engine.describe(started.saga_id)
    assert view is not None
    return view.status
