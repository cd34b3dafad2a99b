"""What operators see of sagas that wait for events, and the events that they send."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner
from grpclib.const import Status as Code
from small_mesh import acceptance, auditor_of, method, running_engine, saga, schema_of, step, text
from waiting import eventually_async

from sagagen.cli.sagas_acts import send
from sagagen.runtime.admin.gate import TokenGate
from sagagen.runtime.admin.listener import admin_app
from sagagen.runtime.admin.operations import AT_REST, SagaOperations
from sagagen.runtime.admin.orders import Orders
from sagagen.runtime.admin.parsing import Order
from sagagen.runtime.admin.routes import SagaAdmin, saga_routes
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import Delivered, Delivery, NotDelivered, Refusal
from sagagen.runtime.health import Readiness
from sagagen.runtime.model.definition import Event, ForEach, Saga, Service, StepKind, Wait
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.events import Outcome

SAGA = "5c0e2f9e-0000-5000-8000-000000000001"
ANSWERED = method("Answered")


def waiting() -> Saga:
    """One call, then a wait for an event."""
    line = saga(step("one"), respond_after="acceptance", deadline_s=3600.0)
    wait = Wait("answer", StepKind.COMPENSATABLE, "answered", within_s=600.0)
    event = Event("answered", ANSWERED, lambda scope: scope.event.value, lambda _: False)
    return replace(line, steps=(*line.steps, wait), events=(event,))


class Agreeable:
    async def call(self, path: str, request: bytes, **_: object) -> Reply:
        return Reply(b"")


@asynccontextmanager
async def gateway(
    folder: Path,
) -> AsyncGenerator[tuple[httpx.AsyncClient, EmbeddedEngine, list[Delivery]]]:
    definition, delivered = waiting(), list[Delivery]()
    schema = schema_of(Service("one", 1, "", "", (ANSWERED,)))

    async def deliver(delivery: Delivery) -> Delivered:
        delivered.append(delivery)
        if delivery.key == "late":
            raise NotDelivered(Refusal.SAGA_OVER, "the saga is over")
        return Delivered(True, "", 0)

    async with running_engine(folder, [definition], {"one": Agreeable()}) as engine:
        await engine.accept(acceptance(definition, SAGA))
        operations = SagaOperations(engine, lambda: schema, deliver)
        app = admin_app(
            Readiness({}),
            saga_routes(SagaAdmin(Orders(operations, auditor_of(engine)), TokenGate("127.0.0.1"))),
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8081") as client:
            yield client, engine, delivered
        await engine.command(SAGA, OperatorCommand(Act.CANCEL, "ann"))
        await engine.wait_until_idle()


async def test_sagas_that_wait_are_found_and_are_sent_events(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (client, _, delivered):

        async def found(query: str) -> list[dict[str, Any]]:
            return (await client.get(f"/sagas?{query}")).json()["sagas"]

        async def waits() -> list[dict[str, Any]]:
            return await found("waiting=answered")

        sagas: list[dict[str, Any]] = await eventually_async("the saga to wait", waits)
        (listed,) = sagas
        assert (listed["id"], listed["step"]) == (SAGA, "answer")
        missed = await client.get("/sagas?waiting=answerd")
        assert (missed.status_code, 'did you mean "answered"?' in missed.json()["detail"]) == (400, True)
        assert [each["id"] for each in await found("step=answer")] == [SAGA]
        shown = (await client.get(f"/sagas/{SAGA}")).json()
        assert [(each["name"], each["status"], each["event"]) for each in shown["steps"]] == [
            ("one", "DONE", None),
            ("answer", "WAITING", "answered"),
        ]
        assert shown["steps"][1]["since"] < shown["steps"][1]["until"]
        order = {"event": "answered", "by": "ann", "key": "k", "payload": {"value": "yes"}}
        sent = await client.post(f"/sagas/{SAGA[:4]}/send", json=order)
        assert (sent.status_code, sent.json()["id"]) == (200, SAGA)
        (delivery,) = delivered
        assert (delivery.saga_id, delivery.caller, delivery.key) == (SAGA, "ann", "k")
        assert (delivery.is_operator, delivery.payload) == (True, text("yes"))
        for wrong, status, words in (
            ({"event": "picked_up"}, 409, "it has: answered"),
            ({"payload": {"colour": 1}}, 400, "is no test.v1.Text"),
            ({"payload": [1]}, 400, "is no test.v1.Text"),
            ({"by": ""}, 400, "`by`"),
            ({"why": "x"}, 400, "why"),
            ({"payload": 0}, 400, "is no test.v1.Text"),
            ({"by": "\ud800"}, 400, "half"),
            ({"key": "late"}, 409, "SAGA_OVER"),
        ):
            refused = await client.post(
                f"/sagas/{SAGA}/send",
                content=json.dumps(order | wrong),
                headers={"content-type": "application/json"},
            )
            assert (refused.status_code, words in refused.json()["detail"]) == (status, True), refused.text
    run = await asyncio.to_thread(
        CliRunner().invoke, send, [SAGA, "answered", "{}", "--log", str(tmp_path / "saga-log.db")]
    )
    assert (run.exit_code, AT_REST in run.output) == (1, True), run.output


class Lossy:
    """It never learns what came of one item of a loop."""

    async def call(self, path: str, request: bytes, *, metadata: Mapping[str, str], **_: object) -> Reply:
        call = SagaCall.from_metadata(metadata)
        if call and call.step == "notify[b]":
            raise RpcError(Code.FAILED_PRECONDITION, "unknown here", reason="FORGOTTEN", domain=DOMAIN)
        return Reply(b"")


async def test_an_item_of_a_loop_is_settled_by_hand_with_its_response(tmp_path: Path) -> None:
    notify = replace(
        step("notify", StepKind.RETRIABLE), for_each=ForEach(lambda _: ["a", "b"], lambda s: s.item(str))
    )
    definition = saga(step("pivot", StepKind.PIVOT), notify)
    schema = schema_of(Service("one", 1, "", "", (notify.action.method,)))
    async with running_engine(tmp_path, [definition], {"one": Lossy()}) as engine:
        await engine.accept(acceptance(definition, SAGA))
        await engine.wait_until_idle()
        operations = SagaOperations(engine, lambda: schema)
        command = OperatorCommand(Act.RESOLVE, "ann", "told by phone", "notify[b]", Outcome.DONE)
        await operations.command(SAGA, Order(command, {"value": "told"}))
        await engine.wait_until_idle()
        assert (await operations.show(SAGA))["status"] == "COMPLETED"
