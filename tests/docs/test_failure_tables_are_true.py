"""What generated/docs says of a failing step happens on a running engine: each step of the shop is made to fail."""

import functools
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from small_mesh import running_engine, running_services
from waiting import eventually_async

from generated.mesh import MESH
from sagagen.contract import read_contract
from sagagen.contract.model import Saga
from sagagen.emit.docs_failures import client_gets
from sagagen.emit.failure_paths import Fault, failure_paths
from sagagen.runtime import Gateway
from sagagen.runtime.model.definition import Direction, Service, Step, StepKind
from sagagen.runtime.process.project import Project
from sagagen.runtime.rpc.errors import Code, Declined, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply, Transport
from sagagen.runtime.saga.events import SagaStatus

STEPS = [step.name for step in MESH.sagas[0].calls]
AFTER = ["create_order", "completion", "acceptance"]
DEADLINE_S, PIVOT_BUDGET_S = 1.0, 3.0
ENDED = ("COMPLETED", "COMPENSATED", "SUPERSEDED", "STUCK")
ORDER = {"customer_id": "cust_1", "items": [{"product_id": "prod_1", "quantity": 1, "price": 5.0}]}


@functools.cache
def the_saga() -> Saga:
    mesh, _ = read_contract(MESH.root)
    assert mesh is not None
    return mesh.sagas[0]


def contract(after: str) -> Saga:
    """The shop's saga as the contract has it, answered elsewhere and with less patience."""
    saga = the_saga()
    return replace(saga, deadline_s=DEADLINE_S, respond=replace(saga.respond, after=after, body=None))


@dataclass
class Watched:
    """The way to a service, on which one step's calls get lost; what is undone there is written down."""

    to: Transport
    lost: str
    undone: list[str]

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        call = SagaCall.from_metadata(metadata)
        if call and call.direction is Direction.ACTION and call.step == self.lost:
            raise RpcError(Code.UNAVAILABLE, "no connection")
        reply = await self.to.call(path, request, metadata=metadata, timeout_s=timeout_s)
        if call and call.direction is Direction.COMPENSATION:
            self.undone.append(call.step)
        return reply


@dataclass
class Shop:
    """The shop over real services, engine, log and HTTP edge."""

    client: httpx.AsyncClient
    undone: list[str] = field(default_factory=list)

    async def place(self) -> httpx.Response:
        return await self.client.post("/orders", json=ORDER, headers={"idempotency-key": "key-1"})

    async def end(self, saga_id: str) -> str:
        saga = await eventually_async(
            "the saga to end", lambda: self.saga(saga_id), lambda saga: saga["status"] in ENDED
        )
        return saga["status"]

    async def saga(self, saga_id: str) -> dict[str, Any]:
        return (await self.client.get(f"/sagas/{saga_id}")).json()


def declining(handlers: object, step: str) -> object:
    """The handlers, of which the one of this step says no."""

    async def no(request: object, call: object) -> object:
        raise Declined("NOT_TODAY", "the test says no")

    method = next(each for each in MESH.sagas[0].calls if each.name == step).action.method
    if hasattr(handlers, method.handler):
        setattr(handlers, method.handler, no)
    return handlers


def with_pivots_budget(step: Step) -> Step:
    """Short, but longer than the deadline."""
    if step.kind is not StepKind.PIVOT:
        return step
    retry = replace(step.action.retry, give_up_after_s=PIVOT_BUDGET_S)
    return replace(step, action=replace(step.action, retry=retry))


@asynccontextmanager
async def shop(data_dir: Path, after: str, step: str, fault: Fault) -> AsyncGenerator[Shop]:
    saga = replace(
        MESH.sagas[0],
        steps=tuple(map(with_pivots_budget, MESH.sagas[0].calls)),
        # Patience ends where nobody answers; a step that is only slow on a busy machine must not seem lost.
        deadline_s=DEADLINE_S if fault is Fault.NO_ANSWER else 60.0,
        respond=replace(MESH.sagas[0].respond, after=after, body=None, wait_s=5.0),
    )
    mesh = replace(MESH, sagas=(saga,))
    gateway, project, undone = Gateway(mesh), Project(MESH.root, mesh), list[str]()

    def handlers(service: Service) -> object:
        own = project.handlers(service)
        return declining(own, step) if fault is Fault.DECLINED else own

    lost = step if fault is Fault.NO_ANSWER else ""
    async with AsyncExitStack() as stack:
        reached = await stack.enter_async_context(running_services(mesh, data_dir, handlers))
        transports = {name: Watched(to, lost, undone) for name, to in reached.items()}
        engine = await stack.enter_async_context(
            running_engine(data_dir, mesh.sagas, transports, grace_s=0.0)
        )
        asgi = httpx.ASGITransport(gateway.application(engine, transports))
        client = await stack.enter_async_context(httpx.AsyncClient(transport=asgi, base_url="http://shop"))
        yield Shop(client, undone)


def saga_id_of(answer: httpx.Response) -> str:
    body = answer.json()
    link = answer.headers.get("link", "")
    return body.get("saga_id") or body.get("id") or link.partition("/sagas/")[2].partition(">")[0]


def in_the_docs_words(first: httpx.Response, again: httpx.Response | None) -> str:
    """An answer, as the last column of the table tells it."""
    if again is not None:
        return f"`202` at once, then {in_the_docs_words(again, None)}"
    if first.status_code == 400:
        assert first.json()["reason"] == "NOT_TODAY"
        return "`400` with the service's `reason`"
    if first.status_code == 502:
        return f"`502` `{first.json()['reason']}`"
    return f"`{first.status_code}`, already after `create_order`"


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize(
    ("step", "fault"),
    [(step, fault) for step in STEPS for fault in (Fault.DECLINED, Fault.NO_ANSWER)][:-1],
)
async def test_the_table_says_what_happens(tmp_path: Path, step: str, fault: Fault, after: str) -> None:
    saga = contract(after)
    path = failure_paths(saga)[step, fault]
    async with shop(tmp_path, after, step, fault) as running:
        first = await running.place()
        assert await running.end(saga_id_of(first)) == path.status
        again = await running.place() if after == "acceptance" else None
    assert running.undone == [each.step for each in path.undone if not each.is_left]
    assert in_the_docs_words(first, again) == client_gets(saga, path)


async def test_a_pivot_without_an_answer_goes_on_past_the_deadline_until_its_budget_is_spent(
    tmp_path: Path,
) -> None:
    path = failure_paths(contract("completion"))["confirm_order", Fault.NO_ANSWER]
    assert (path.status, path.undone) == (SagaStatus.STUCK, ())
    async with shop(tmp_path, "acceptance", "confirm_order", Fault.NO_ANSWER) as running:
        saga_id = saga_id_of(await running.place())
        assert await running.end(saga_id) == path.status
        saga = await running.saga(saga_id)
        assert (await running.place()).status_code == 409
    assert (saga["steps"][-1]["status"], running.undone) == ("STUCK", [])
    assert saga["steps"][-1]["attempts"] > 1
    took = datetime.fromisoformat(saga["updated_at"]) - datetime.fromisoformat(saga["created_at"])
    assert took.total_seconds() >= PIVOT_BUDGET_S > DEADLINE_S
