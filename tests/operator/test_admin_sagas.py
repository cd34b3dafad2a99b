"""The gateway's admin listener: who gets in, what is shown, what is done."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from grpclib.const import Status as Code
from shop_mesh import order
from small_mesh import auditor_of, running_engine

from generated.mesh import MESH
from sagagen.runtime.admin.gate import TokenGate
from sagagen.runtime.admin.listener import admin_app
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import Orders
from sagagen.runtime.admin.parsing import Order
from sagagen.runtime.admin.routes import SagaAdmin, saga_routes
from sagagen.runtime.engine.at_rest import SagasAtRest
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.gauges import set_gauges
from sagagen.runtime.engine.port import Acceptance
from sagagen.runtime.health import Readiness
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.commands import Act, CommandRejected, OperatorCommand, UnknownSaga
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.secret_file import Secret

SECRET_CUSTOMER = "cust_secret_payload"


class Forgetful:
    """Services that answer everything with the default response, but have forgotten the payment they may have made."""

    def __init__(self) -> None:
        self.is_mended = False

    async def call(self, path: str, request: bytes, **_: object) -> Reply:
        if path.endswith("ChargePayment") and not self.is_mended:
            raise RpcError(Code.FAILED_PRECONDITION, "unknown here", reason="FORGOTTEN", domain=DOMAIN)
        return Reply(b"")


@asynccontextmanager
async def gateway(
    folder: Path, *, host: str = "127.0.0.1", token: str = "", sagas: int = 1
) -> AsyncGenerator[tuple[httpx.AsyncClient, EmbeddedEngine, Forgetful]]:
    """A gateway whose sagas are stuck at their payment, and a client of its admin listener."""
    services = Forgetful()
    transports = {service.name: services for service in MESH.services}
    async with running_engine(folder, MESH.sagas, transports, random=Random(1)) as engine:
        for number in range(sagas):
            await engine.accept(secret_order(f"saga-{number}"))
        await engine.wait_until_idle()
        operations = SagaOperations(engine, lambda: Schema(MESH.descriptors.read_bytes()))
        secret = Secret.of("token", token.encode()) if token else None
        app = admin_app(
            Readiness({}),
            saga_routes(SagaAdmin(Orders(operations, auditor_of(engine)), TokenGate(host, secret))),
            before_metrics=partial(set_gauges, engine),
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8081") as client:
            yield client, engine, services


def secret_order(saga_id: str) -> Acceptance:
    return order(5.0, saga_id, customer=SECRET_CUSTOMER)


async def test_a_stuck_saga_is_listed_explained_retried_and_over(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (client, engine, services):
        (listed,) = (await client.get("/sagas")).json()["sagas"]
        assert (listed["id"], listed["status"]) == ("saga-0", "STUCK")
        assert (listed["step"], listed["service"]) == ("charge_payment", "payment")
        assert "waits for an operator" in listed["explanation"]
        shown = await client.get("/sagas/saga-0")
        assert "FORGOTTEN" in shown.json()["error"]
        assert SECRET_CUSTOMER not in shown.text
        assert [step["status"] for step in shown.json()["steps"]] == ["DONE", "DONE", "STUCK", "PENDING"]
        services.is_mended = True
        done = await client.post("/sagas/saga-0/retry", json={"by": "ann", "note": "restored"})
        assert done.status_code == 200
        assert done.json()["operators"][0] | {"at": ""} == {
            "at": "",
            "act": "retried",
            "step": "charge_payment",
            "by": "ann",
            "note": "restored",
        }
        await engine.wait_until_idle()
        assert (await client.get("/sagas")).json()["sagas"] == []
        (over,) = (await client.get("/sagas?status=completed")).json()["sagas"]
        assert over["id"] == "saga-0"
        refused = await client.post("/sagas/saga-0/cancel", json={"by": "ann"})
        assert (refused.status_code, "over" in refused.json()["detail"]) == (409, True)


async def test_a_stuck_saga_is_cancelled_and_undone(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (client, engine, _):
        cancelled = await client.post("/sagas/saga-0/cancel", json={"by": "ann"})
        assert cancelled.status_code == 200
        assert cancelled.json()["operators"][0]["note"] is None
        await engine.wait_until_idle()
        assert (await client.get("/sagas/saga-0")).json()["status"] == "COMPENSATED"


async def test_lists_are_narrowed_by_every_filter(tmp_path: Path) -> None:
    async with gateway(tmp_path, sagas=220) as (client, _, _):

        async def count(query: str) -> int:
            return len((await client.get(f"/sagas?{query}")).json()["sagas"])

        assert await count("") == 100
        assert await count("limit=1000") == 220, "over several pages"
        assert await count("service=payment&step=charge_payment&saga=place_order&limit=7") == 7
        for nothing in (
            "service=order",
            "step=create_order",
            "saga=other",
            "older_than_s=3600",
            "status=RUNNING",
            "status=ALL&ended_since_s=3600",
        ):
            assert await count(nothing) == 0
        assert await count("status=stuck,running&limit=1000") == 220
        stats = (await client.get("/stats")).json()
        assert stats["sagas"]["place_order"]["stuck"] == 220
        assert stats["sagas"]["place_order"]["versions"] == {"1": {"unfinished": 220, "can_go": False}}
        assert stats["log"]["is_disk_full"] is False
        assert stats["log"]["size_bytes"] > 0


EMPTY: dict[str, str] = {}
AS_JSON = {"content-type": "application/json"}
AT_PAYMENT: dict[str, Any] = {"by": "ann", "note": "n", "step": "charge_payment"}
Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
REFUSED: list[tuple[Ask, int, str]] = [
    (lambda c: c.get("/sagas?status=LOST"), 400, "SUPERSEDED"),
    (lambda c: c.get("/sagas?older_than_s=nan"), 400, "older_than_s"),
    (lambda c: c.get("/sagas?limit=0"), 400, "limit"),
    (lambda c: c.get("/sagas/nobody"), 404, "nobody"),
    (lambda c: c.post("/sagas/nobody/retry", json={"by": "ann"}), 404, "nobody"),
    (lambda c: c.post("/sagas/saga-0/delete", json={"by": "ann"}), 400, "delete"),
    (lambda c: c.post("/sagas/saga-0/retry", json={}), 400, "who"),
    (lambda c: c.post("/sagas/saga-0/retry", json=[]), 400, "object"),
    (lambda c: c.post("/sagas/saga-0/retry", json={"by": 5}), 400, "strings"),
    (lambda c: c.post("/sagas/saga-0/retry", json={"by": "ann", "note": 5}), 400, "strings"),
    (lambda c: c.post("/sagas/saga-0/retry", content=b'{"by": "a page"}'), 400, "application/json"),
    (lambda c: c.post("/sagas/saga-0/resolve", json={"by": "ann", "note": "n"}), 400, "names the step"),
    (lambda c: c.post("/sagas/saga-0/skip", json={"by": "ann", "note": "n"}), 400, "names the step"),
    (lambda c: c.post("/sagas/saga-0/resolve", json=AT_PAYMENT | {"note": ""}), 409, "note"),
    (lambda c: c.post("/sagas/saga-0/resolve", json=AT_PAYMENT), 409, "`cancel` the saga"),
    (lambda c: c.post("/sagas/saga-0/resolve", json=AT_PAYMENT | {"as": "gone"}), 400, "done or refused"),
    (lambda c: c.post("/sagas/saga-0/resolve", json=AT_PAYMENT | {"response": {"n": 1}}), 400, "no field"),
    (lambda c: c.post("/sagas/saga-0/resolve", json=AT_PAYMENT | {"response": [1]}), 400, "is no shop"),
    (
        lambda c: c.post("/sagas/saga-0/resolve", json=AT_PAYMENT | {"step": "x", "response": EMPTY}),
        409,
        "no step x",
    ),
    (
        lambda c: c.post("/sagas/saga-0/resolve", json=AT_PAYMENT | {"as": "refused", "response": EMPTY}),
        400,
        "has no response",
    ),
    (lambda c: c.post("/sagas/saga-0/retry", json={"by": "ann", "as": "done"}), 400, "for resolve"),
    (lambda c: c.post("/sagas/saga-0/retry", json={"by": "ann", "notes": "x"}), 400, "no member notes"),
    (lambda c: c.post("/sagas/saga-0/hold", content=b'{"by": "\\ud800"}', headers=AS_JSON), 400, "half"),
    (lambda c: c.post("/sagas/saga-0/retry", content=b"[" * 100_000, headers=AS_JSON), 400, "nested"),
    (lambda c: c.get("/sagas?act=delete"), 400, "retry, resolve"),
    (lambda c: c.get("/sagas", headers={"host": "evil.example:8081"}), 403, "localhost"),
]


@pytest.mark.parametrize(("ask", "status", "says"), REFUSED)
async def test_what_can_t_be_done_is_said(tmp_path: Path, ask: Ask, status: int, says: str) -> None:
    async with gateway(tmp_path) as (client, _, _):
        response = await ask(client)
        assert response.status_code == status
        assert says in response.json()["detail"]
        assert (await client.get("/sagas/saga-0")).json()["status"] == "STUCK"


async def test_beyond_loopback_the_sagas_need_a_token_and_the_rest_does_not(tmp_path: Path) -> None:
    async def statuses(client: httpx.AsyncClient, **headers: str) -> list[int]:
        asked: list[Any] = [
            await client.get(path, headers=headers)
            for path in ("/sagas", "/sagas/saga-0", "/stats", "/readyz", "/healthz", "/metrics")
        ]
        asked.append(await client.post("/sagas/saga-0/resolve", headers=headers, json=AT_PAYMENT))
        return [response.status_code for response in asked]

    async with gateway(tmp_path / "1", host="0.0.0.0") as (client, _, _):
        assert await statuses(client) == [403, 403, 403, 200, 200, 200, 403]
        assert "SAGAGEN_ADMIN_TOKEN" in (await client.get("/sagas")).json()["detail"]
    async with gateway(tmp_path / "2", host="0.0.0.0", token="s3cret") as (client, _, _):
        assert await statuses(client) == [401, 401, 401, 200, 200, 200, 401]
        assert (await statuses(client, authorization="Bearer wrong"))[0] == 401
        assert await statuses(client, authorization="bearer s3cret") == [200, 200, 200, 200, 200, 200, 409]


async def test_metrics_tell_what_is_stuck_and_name_no_saga(tmp_path: Path) -> None:
    async with gateway(tmp_path, sagas=3) as (client, _, _):
        text = (await client.get("/metrics")).text
        assert 'sagagen_sagas_stuck{saga="place_order",version="1"} 3.0' in text
        assert 'sagagen_sagas_in_flight{saga="place_order",version="1"} 0.0' in text
        for metric in (
            'sagagen_sagas_started_total{saga="place_order",version="1"}',
            'sagagen_oldest_unfinished_saga_age_seconds{saga="place_order"}',
            'code="OK",direction="action",outcome="DONE",saga="place_order",step="reserve_stock"}',
            'direction="action",outcome="DOUBT",saga="place_order",step="charge_payment"}',
            "sagagen_log_commit_writes_count",
            "sagagen_log_size_bytes",
        ):
            assert metric in text
        assert "saga-0" not in text


async def test_an_order_in_a_log_at_rest_is_carried_out_by_the_next_gateway(tmp_path: Path) -> None:
    async with gateway(tmp_path, sagas=2):
        pass
    async with SagaLog.open(tmp_path / "saga-log.db") as log:
        operations = SagaOperations(SagasAtRest(log, Definitions(MESH.sagas)))
        assert (await operations.command("saga-0", Order(OperatorCommand(Act.CANCEL, "ann"))))[
            "status"
        ] == "RUNNING"
        with pytest.raises(CommandRejected, match="note"):
            await operations.command("saga-1", Order(OperatorCommand(Act.RESOLVE, "ann")))
        with pytest.raises(UnknownSaga):
            await operations.command("nobody", Order(OperatorCommand(Act.RETRY, "ann")))
        far_from_its_project = await SagaOperations(SagasAtRest(log, Definitions(()))).show("saga-1")
        assert [(step["name"], step["status"]) for step in far_from_its_project["steps"]] == [
            ("create_order", "DONE"),
            ("reserve_stock", "DONE"),
            ("charge_payment", "STUCK"),
        ]
    async with gateway(tmp_path, sagas=0) as (client, engine, _):
        await engine.wait_until_idle()
        found = (await client.get("/sagas?status=ALL")).json()["sagas"]
        assert [(saga["id"], saga["status"]) for saga in found] == [
            ("saga-1", "STUCK"),
            ("saga-0", "COMPENSATED"),
        ]


async def test_at_rest_a_pivot_that_may_have_been_sent_is_not_cancelled(tmp_path: Path) -> None:
    calls = asyncio.Event()

    class Silent(Forgetful):
        async def call(self, path: str, request: bytes, **options: object) -> Reply:
            if path.endswith("ConfirmOrder"):
                calls.set()
                await asyncio.Event().wait()
            return Reply(b"")

    silent = {service.name: Silent() for service in MESH.services}
    async with running_engine(tmp_path, MESH.sagas, silent, grace_s=0.0) as engine:
        await engine.accept(secret_order("saga-0"))
        await calls.wait()
    async with SagaLog.open(tmp_path / "saga-log.db") as log:
        operations = SagaOperations(SagasAtRest(log, Definitions(MESH.sagas)))
        with pytest.raises(CommandRejected, match="only goes forward"):
            await operations.command("saga-0", Order(OperatorCommand(Act.CANCEL, "ann")))
        far_from_its_project = SagaOperations(SagasAtRest(log, Definitions(())))
        shown = await far_from_its_project.show("saga-0")
        assert (shown["status"], shown["waiting_for"]) == ("RUNNING", None)


async def test_a_version_that_no_open_saga_needs_can_go(tmp_path: Path) -> None:
    newer = replace(MESH.sagas[0], version=2, digest="d2")
    async with gateway(tmp_path) as (client, engine, services):
        services.is_mended = True
        await client.post("/sagas/saga-0/retry", json={"by": "ann"})
        await engine.wait_until_idle()
    async with SagaLog.open(tmp_path / "saga-log.db") as log:
        operations = SagaOperations(SagasAtRest(log, Definitions([*MESH.sagas, newer])))
        stats = (await operations.stats())["sagas"]["place_order"]
    assert stats["versions"] == {
        "1": {"unfinished": 0, "can_go": True},
        "2": {"unfinished": 0, "can_go": False},
    }
    assert (stats["in_flight"], stats["oldest_unfinished_age_s"]) == (0, None)
    assert stats["ended"] == {"COMPLETED": 1}


async def test_the_beginning_of_an_id_is_enough_where_no_other_begins_like_it(tmp_path: Path) -> None:
    async with gateway(tmp_path, sagas=12) as (client, engine, services):
        services.is_mended = True
        for beginning, says in (("saga-", "saga-1, saga-10, saga-11"), ("s", "..."), ("saga-1%", "saga-1%")):
            answer = await client.get(f"/sagas/{quote(beginning)}")
            assert (answer.status_code, says in answer.json()["detail"]) == (
                404 if "%" in says else 409,
                True,
            )
        assert (await client.get("/sagas/saga-1")).json()["id"] == "saga-1", (
            "whole, though others begin with it"
        )
        assert (await client.get("/sagas/saga-7")).json()["id"] == "saga-7"
        done = await client.post("/sagas/saga-11/retry", json={"by": "ann"})
        assert done.json()["id"] == "saga-11"
        await engine.wait_until_idle()
        refused = await client.post("/sagas/saga-/retry", json={"by": "ann"})
        assert refused.status_code == 409
        assert (await client.get("/sagas?status=STUCK&limit=20")).json()["sagas"][0]["id"] == "saga-10"


async def test_an_answer_holds_no_command_for_a_terminal(tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J\u202e"
    async with gateway(tmp_path) as (client, _, _):
        done = await client.post("/sagas/saga-0/hold", json={"by": hostile, "note": hostile})
        await client.post("/sagas/saga-0/cancel", json={"by": hostile, "note": hostile})
        shown = await client.get("/sagas/saga-0")
        missing = await client.get(f"/sagas/{quote(hostile)}")
    for answer in (done, shown, missing):
        assert answer.text.isprintable()
    assert shown.json()["operators"][0]["note"] == hostile, "it is the same JSON"
