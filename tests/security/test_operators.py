"""Attacks on the operators' listener: each is turned away, and the audit says who tried what."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from encrypted_log import CANARY, SECRET
from encrypted_log import KEYS as KEYS_OF_LOG
from grpclib.const import Status as Code
from shop_mesh import order
from structlog.testing import capture_logs

from generated.mesh import MESH
from sagagen.runtime.access.identity import CannotTell, Headers, Identity, Unauthenticated
from sagagen.runtime.admin.gate import Gate, SchemeGate, TokenGate
from sagagen.runtime.admin.listener import admin_app
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import EXPIRES_S, Orders
from sagagen.runtime.admin.routes import SagaAdmin, audited_metrics, saga_routes
from sagagen.runtime.audit import refusals
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.audit.entry import AuditQuery
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.health import Readiness
from sagagen.runtime.log.errors import LogUnavailable
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.security import AdminAccess
from sagagen.runtime.process.operators import metrics_guard
from sagagen.runtime.process.project import Project
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import SettingsError
from sagagen.runtime.vault.keys import KeyWrapper

ACCESS = AdminAccess(("ops.read",), ("ops.write",), ("resolve",))
OPERATOR, VIEWER = frozenset({"ops.write"}), frozenset({"ops.read"})
KEYS = {
    "key-of-ann": Identity("ann", OPERATOR, scheme="staff"),
    "other-key-of-ann": Identity("ann", OPERATOR, scheme="partners"),
    "key-of-bob": Identity("bob", OPERATOR, scheme="staff"),
    "key-of-viv": Identity("viv", VIEWER, scheme="staff"),
    "key-of-cust": Identity("cust", frozenset({"orders.read", "orders.write"}), scheme="customers"),
}
RESOLVE = {"note": "the bank says so", "step": "confirm_order", "as": "done"}


class Keyring:
    """Knows callers by a header; stands for whatever schemes a contract has."""

    async def identity(self, headers: Headers) -> Identity:
        (key,) = headers.getlist("x-api-key") or [""]
        if key == "down":
            raise CannotTell("the provider's keys are not here yet", 5.0)
        if key not in KEYS:
            raise Unauthenticated("no key that is known here", self.challenges())
        return KEYS[key]

    def challenges(self, error: str = "", scopes: Sequence[str] = ()) -> Sequence[str]:
        return ('Bearer realm="shop"', 'ApiKey header="X-Api-Key"')


class Clock(SystemClock):
    """Ahead of the machine's, by as much as a test says."""

    ahead_s = 0.0

    def wall_ms(self) -> int:
        return super().wall_ms() + round(self.ahead_s * 1000)


class Forgetful:
    """Services in which sagas get stuck at their pivot."""

    def __init__(self) -> None:
        self.is_mended = False

    async def call(self, path: str, request: bytes, **_: object) -> Reply:
        if path.endswith("ConfirmOrder") and not self.is_mended:
            raise RpcError(Code.FAILED_PRECONDITION, "unknown here", reason="FORGOTTEN", domain=DOMAIN)
        return Reply(b"")


@dataclass
class Mesh:
    client: httpx.AsyncClient
    engine: EmbeddedEngine
    log: SagaLog
    orders: Orders
    services: Forgetful
    clock: Clock

    async def get(self, path: str, key: str = "key-of-ann") -> httpx.Response:
        return await self.client.get(path, headers={"x-api-key": key})

    async def post(
        self, path: str, key: str = "key-of-ann", json: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        return await self.client.post(path, headers={"x-api-key": key}, json=dict(json or {}))

    async def order(self, saga_id: str = "saga-0", **more: Any) -> str:
        """Ann's order to resolve; its id."""
        placed = await self.post(f"/sagas/{saga_id}/resolve", json=RESOLVE | more)
        assert placed.status_code == 202, placed.text
        return placed.json()["order"]["id"]

    async def audited(self) -> list[tuple[str, str, str, str]]:
        """By, did, result, saga; the oldest first."""
        entries = await self.log.audit.search(AuditQuery(limit=1000))
        return [(e.by, e.did, str(e.result), e.saga_id) for e in reversed(entries)]

    async def done_to(self, saga_id: str = "saga-0") -> list[str]:
        shown = (await self.get(f"/sagas/{saga_id}")).json()
        return [f"{each['by']} {each['act']}" for each in shown["operators"]]


@asynccontextmanager
async def mesh(
    folder: Path,
    *,
    sagas: int = 1,
    gate: Gate | None = None,
    closes_metrics: bool = False,
    keys: KeyWrapper | None = None,
) -> AsyncGenerator[Mesh]:
    services, clock = Forgetful(), Clock()
    transports = {service.name: services for service in MESH.services}
    async with (
        SagaLog.open(folder / "saga-log.db", keys) as log,
        EmbeddedEngine(sagas=MESH.sagas, log=log, transports=transports, random=Random(1)) as engine,
        Auditor.open(log.audit) as auditor,
    ):
        for number in range(sagas):
            await engine.accept(order(5.0, f"saga-{number}"))
        await engine.wait_until_idle()
        operations = SagaOperations(engine, lambda: Schema(MESH.descriptors.read_bytes()), engine.deliver)
        orders = Orders(operations, auditor, ACCESS.four_eyes, clock)
        admin = SagaAdmin(orders, gate or SchemeGate(Keyring(), ACCESS))
        guard = partial(audited_metrics, admin) if closes_metrics else None
        app = admin_app(Readiness({}), saga_routes(admin), metrics_guard=guard)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://ops.example:8081") as client:
            yield Mesh(client, engine, log, orders, services, clock)


READS = ("/sagas", "/sagas/saga-0", "/stats", "/audit", "/orders")
ORDERS = ("/sagas/saga-0/retry", "/sagas/saga-0/resolve", "/sagas/saga-0/send", "/orders/x/confirm")


async def test_only_those_with_the_scopes_get_in_and_each_refusal_is_audited(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        for key, reads, orders in (
            ("", 401, 401),
            ("made-up", 401, 401),
            ("down", 503, 503),
            ("key-of-cust", 403, 403),
            ("key-of-viv", 200, 403),
        ):
            for path in READS:
                assert (await m.get(path, key)).status_code == reads, (key, path)
            for path in ORDERS:
                assert (await m.post(path, key, RESOLVE)).status_code == orders, (key, path)
        assert (await m.get("/orders/x", "key-of-viv")).status_code == 403, "an order may show a payload"
        assert await m.done_to() == []
        audited = await m.audited()
        assert {(by, result) for by, _, result, _ in audited} == {
            ("", "UNKNOWN"),
            ("cust", "DENIED"),
            ("viv", "DENIED"),
        }
        assert {did for by, did, _, _ in audited if by == "viv"} == {
            "retry",
            "resolve",
            "send",
            "confirm",
            "order",
        }
        assert sum(by == "cust" for by, *_ in audited) == len(READS) + len(ORDERS)


async def test_a_refusal_is_a_problem_document_that_says_what_would_do(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        unknown = await m.get("/sagas", "made-up")
        assert unknown.headers["content-type"] == "application/problem+json"
        assert unknown.headers.get_list("www-authenticate") == list(Keyring().challenges())
        assert unknown.json()["status"] == 401
        assert "made-up" not in unknown.text
        denied = await m.post("/sagas/saga-0/cancel", "key-of-viv")
        assert (denied.json()["title"], "takes an operator" in denied.json()["detail"]) == ("Forbidden", True)
        assert "ops.read" in (await m.get("/sagas", "key-of-cust")).json()["detail"]
        assert (await m.get("/sagas", "down")).headers["retry-after"] == "5"


async def test_health_is_open_and_metrics_are_as_the_settings_say(tmp_path: Path) -> None:
    async with mesh(tmp_path / "open") as m:
        assert [(await m.get(path, "")).status_code for path in ("/healthz", "/readyz", "/metrics")] == [
            200
        ] * 3
    async with mesh(tmp_path / "closed", closes_metrics=True) as m:
        assert [(await m.get(path, "")).status_code for path in ("/healthz", "/readyz")] == [200] * 2
        assert [(await m.get("/metrics", key)).status_code for key in ("", "key-of-cust", "key-of-viv")] == [
            401,
            403,
            200,
        ]
        assert [each[:3] for each in await m.audited()] == [
            ("", "metrics", "UNKNOWN"),
            ("cust", "metrics", "DENIED"),
        ]


@pytest.mark.parametrize("access", [AdminAccess((), ()), AdminAccess((), ("ops.write",))])
async def test_a_role_without_scopes_is_nobodys(tmp_path: Path, access: AdminAccess) -> None:
    async with mesh(tmp_path, gate=SchemeGate(Keyring(), access)) as m:
        assert (await m.get("/sagas", "key-of-cust")).status_code == 403


async def test_a_forged_name_is_refused_and_the_log_has_the_one_that_is_known(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        for path in ("/sagas/saga-0/cancel", "/sagas/saga-0/send", "/orders/x/confirm", "/orders/x/withdraw"):
            forged = await m.post(path, json={"by": "bob", "event": "e"})
            assert (forged.status_code, "you are ann" in forged.json()["detail"]) == (403, True)
        forged = await m.client.post(
            "/sagas/saga-0/retry", headers={"x-api-key": "key-of-ann", "sagagen-operator": "bob"}, json={}
        )
        assert forged.status_code == 200
        assert await m.done_to() == ["ann retried"], "the header is not looked at"
        assert {(by, result) for by, _, result, _ in await m.audited()} == {
            ("ann", "DENIED"),
            ("ann", "DONE"),
        }


async def test_a_command_under_four_eyes_waits_for_another_person(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        id_ = await m.order()
        assert await m.order() == id_, "said twice, it waits once"
        (waiting,) = (await m.get("/orders", "key-of-viv")).json()["orders"]
        assert (waiting["id"], waiting["by"], waiting["act"], waiting["as"]) == (
            id_,
            "ann",
            "resolve",
            "done",
        )
        assert await m.done_to() == [], "nothing is done yet"
        for key in ("key-of-ann", "other-key-of-ann"):
            same = await m.post(f"/orders/{id_}/confirm", key)
            assert (same.status_code, "a second person" in same.json()["detail"]) == (403, True)
        assert (await m.post(f"/orders/{id_}/confirm", "key-of-viv")).status_code == 403
        confirmed = await m.post(f"/orders/{id_}/confirm", "key-of-bob")
        assert confirmed.status_code == 200, confirmed.text
        replayed = await m.post(f"/orders/{id_}/confirm", "key-of-bob")
        assert (replayed.status_code, "waits" in replayed.json()["detail"]) == (404, True)
        assert await m.done_to() == ["ann, confirmed by bob resolved_as_done"]
        assert (await m.get("/orders")).json() == {"orders": []}
        assert await m.audited() == [
            ("ann", "resolve", "PENDING", "saga-0"),
            ("ann", "confirm resolve", "DENIED", "saga-0"),
            ("ann", "confirm resolve", "DENIED", "saga-0"),
            ("viv", "confirm", "DENIED", ""),
            ("bob", "confirm resolve", "DONE", "saga-0"),
            ("bob", "confirm", "REFUSED", ""),
        ]


async def test_of_two_who_confirm_at_once_one_does(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        KEYS["key-of-eve"] = Identity("eve", OPERATOR, scheme="staff")
        id_ = await m.order()
        both = await asyncio.gather(
            *(m.post(f"/orders/{id_}/confirm", key) for key in ("key-of-bob", "key-of-eve") * 5)
        )
        assert sorted({each.status_code for each in both}) in ([200, 404], [200, 409], [200, 404, 409])
        assert sum(each.status_code == 200 for each in both) == 1
        assert len(await m.done_to()) == 1


async def test_an_order_whose_saga_has_ended_or_that_has_expired_is_refused(tmp_path: Path) -> None:
    async with mesh(tmp_path, sagas=2) as m:
        late, expired = await m.order("saga-0"), await m.order("saga-1")
        m.services.is_mended = True
        await m.post("/sagas/saga-0/retry", "key-of-bob")
        await m.engine.wait_until_idle()
        over = await m.post(f"/orders/{late}/confirm", "key-of-bob")
        assert (over.status_code, "over" in over.json()["detail"]) == (409, True)
        assert (await m.post(f"/orders/{late}/confirm", "key-of-bob")).status_code == 404, "it is closed"
        m.clock.ahead_s = EXPIRES_S + 1
        assert (await m.post(f"/orders/{expired}/confirm", "key-of-bob")).status_code == 404
        assert (await m.get("/orders")).json() == {"orders": []}
        refused = [each for each in await m.audited() if each[2] == "REFUSED"]
        assert ("bob", "confirm resolve", "REFUSED", "saga-0") in refused
        assert len(refused) == 3, "each once"


async def test_an_order_survives_a_restart_and_anybody_withdraws_it(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        id_ = await m.order()
    async with mesh(tmp_path, sagas=0) as m:
        assert [each["id"] for each in (await m.get("/orders")).json()["orders"]] == [id_]
        assert (await m.post(f"/orders/{id_}/withdraw", "key-of-viv")).status_code == 403
        assert (await m.post(f"/orders/{id_}/withdraw", "key-of-bob")).json() == {"withdrawn": id_}
        assert (await m.post(f"/orders/{id_}/confirm", "key-of-bob")).status_code == 404
        assert ("bob", "withdraw resolve", "DONE", "saga-0") in await m.audited()


async def test_what_is_impossible_does_not_wait(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        for more, status in (
            ({"step": "create_order"}, 409),
            ({"as": "gone"}, 400),
            ({"response": [1]}, 400),
        ):
            assert (await m.post("/sagas/saga-0/resolve", json=RESOLVE | more)).status_code == status
        assert (await m.get("/orders")).json() == {"orders": []}


async def test_what_an_order_would_record_is_shown_to_its_confirmer_and_audited(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        id_ = await m.order(response={})
        assert "response" not in (await m.get("/orders")).text.replace("has_response", "")
        shown = (await m.get(f"/orders/{id_}", "key-of-bob")).json()["order"]
        assert (shown["response"], shown["step"]) == ({}, "confirm_order")
        assert ("bob", "order resolve", "DONE", "saga-0") in await m.audited()


async def test_who_searches_by_values_of_payloads_is_audited(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        await m.get('/sagas?where=["==", "customer", "ann"]', "key-of-viv")
        await m.get("/sagas", "key-of-viv")
        assert [each[:3] for each in await m.audited()] == [("viv", "list", "DONE")]


async def test_what_cannot_be_audited_is_not_done(tmp_path: Path) -> None:
    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(tmp_path / "saga-log.db", isolation_level=None)) as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")

    async with mesh(tmp_path) as m:
        rename("audit", "elsewhere")
        for ask in (
            lambda: m.post("/sagas/saga-0/retry"),
            lambda: m.post("/sagas/saga-0/resolve", json=RESOLVE),
            lambda: m.get('/sagas?where=["==", "customer", "ann"]'),
        ):
            refused = await ask()
            assert refused.status_code == 503, refused.text
        assert await m.done_to() == []
        assert (await m.get("/sagas", "")).status_code == 401, "a refusal stands"
        rename("elsewhere", "audit")
        assert (await m.get("/orders")).json() == {"orders": []}


async def test_a_flood_of_refusals_neither_fills_the_disk_nor_hides_what_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mesh(tmp_path) as m:
        for _ in range(5 * refusals.STRANGERS):
            await m.get("/sagas", "made-up")
        for _ in range(2 * refusals.EACH_CALLER):
            await m.get("/sagas", "key-of-cust")
        await m.post("/sagas/saga-0/cancel", "key-of-viv")
        rows = await m.audited()
        assert [sum(by == who for by, *_ in rows) for who in ("", "cust", "viv")] == [
            refusals.STRANGERS,
            refusals.EACH_CALLER,
            1,
        ]
        monkeypatch.setattr(refusals, "WINDOW_S", 0.0)
        await m.get("/sagas", "made-up")
        summed = [e for e in await m.log.audit.search(AuditQuery()) if e.count > 1]
        assert {(e.by, e.count) for e in summed} == {
            ("", 4 * refusals.STRANGERS),
            ("cust", refusals.EACH_CALLER),
        }


async def test_the_stream_has_each_entry_and_no_key(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with mesh(tmp_path) as m:
            await m.get("/sagas", "made-up")
            await m.post("/sagas/saga-0/retry", json={"note": "restored"})
    audit = [line for line in lines if line.get("stream") == "audit"]
    assert [(line["did"], line["result"]) for line in audit] == [("list", "UNKNOWN"), ("retry", "DONE")]
    done = audit[1]
    assert (done["by"], done["scheme"], done["saga_id"]) == ("ann", "staff", "saga-0")
    assert "reason" not in done, "what people write may name others: it stays in the log"
    assert {"trace_id", "address", "audit_id"} <= done.keys()
    assert not any(key in str(lines) for key in (*KEYS, "made-up"))


CROSS_SITE: list[Callable[[httpx.AsyncClient], Any]] = [
    lambda c: c.post("/sagas/saga-0/cancel", content='{"by": "x"}', headers={"content-type": "text/plain"}),
    lambda c: c.post("/sagas/saga-0/cancel", data={"by": "x"}),
    lambda c: c.post("/sagas/saga-0/cancel", json={"by": "x"}, headers={"host": "evil.example:8081"}),
    lambda c: c.get("/sagas", headers={"host": "evil.example:8081"}),
]


@pytest.mark.parametrize("ask", CROSS_SITE)
async def test_a_web_page_gets_nothing_done_on_loopback(
    tmp_path: Path, ask: Callable[[httpx.AsyncClient], Any]
) -> None:
    async with mesh(tmp_path, gate=TokenGate("127.0.0.1")) as m:
        m.client.base_url = httpx.URL("http://localhost:8081")
        assert (await ask(m.client)).status_code in (400, 403)
        assert len(await m.audited()) == 1
        assert (await m.client.get("/sagas/saga-0")).json()["operators"] == []


@pytest.mark.parametrize(
    ("setting", "host", "status"),
    [("open", "0.0.0.0", 200), ("closed", "0.0.0.0", 403), ("closed", "127.0.0.1", 200)],
)
async def test_a_services_metrics_are_closed_where_the_settings_say_so(
    tmp_path: Path, setting: str, host: str, status: int
) -> None:
    settings = Settings.read({"SAGAGEN_METRICS": setting}, tmp_path)
    async with metrics_guard(Project(tmp_path, MESH), settings, host) as guard:
        app = admin_app(Readiness({}), metrics_guard=guard)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            assert (await client.get("/metrics")).status_code == status
            assert (await client.get("/readyz")).status_code == 200


def test_settings_of_no_use_are_named(tmp_path: Path) -> None:
    for variable in ("SAGAGEN_METRICS", "SAGAGEN_AUDIT_DAYS"):
        settings = Settings.read({variable: "ajar"}, tmp_path)
        with pytest.raises(SettingsError, match=variable):
            _ = settings.closes_metrics, settings.audit_s


async def test_in_an_encrypted_log_neither_orders_nor_the_audit_have_what_people_wrote(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path, keys=KEYS_OF_LOG) as m:
        id_ = await m.order(note=f"refunded {CANARY}", response={})
        (waiting,) = (await m.get("/orders")).json()["orders"]
        assert waiting["note"] == f"refunded {CANARY}"
        assert not found_in(tmp_path)
        assert (await m.post(f"/orders/{id_}/confirm", "key-of-bob")).status_code == 200
        await m.get(f'/sagas?where=["==", "customer", "{CANARY}"]')
        assert [entry.reason for entry in await m.log.audit.search(AuditQuery())] == [""] * 3
    assert not found_in(tmp_path)


async def test_without_the_keys_nobody_sees_what_waits(tmp_path: Path) -> None:
    async with mesh(tmp_path, keys=KEYS_OF_LOG) as m:
        await m.order()
    async with SagaLog.open(tmp_path / "saga-log.db", hides=True) as log:
        with pytest.raises(LogUnavailable, match="encrypted"):
            await log.audit.pending()
        assert len(await log.audit.search(AuditQuery())) == 1


def found_in(folder: Path) -> list[str]:
    """Files that have the canary."""
    return [file.name for file in folder.iterdir() if SECRET in file.read_bytes()]
