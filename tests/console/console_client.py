"""A console on a gateway with sagas in it, and a browser without a screen.

`console` opens one on an engine in this process: `sagas` orders of the shop, stuck at their pivot until
`services.is_mended`. By default its operators have keys (`log_in("key-of-ann")`): ann and bob are operators, viv is a
viewer, cust may do nothing here. With `gate=TokenGate("127.0.0.1")` it is on loopback, and nobody logs in.
"""

import html
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import httpx
from grpclib.const import Status as Code
from shop_mesh import order

from generated.mesh import MESH
from sagagen.runtime.access.identity import CannotTell, Headers, Identity, Unauthenticated
from sagagen.runtime.admin.gate import Gate, SchemeGate
from sagagen.runtime.admin.listener import admin_app
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import Orders
from sagagen.runtime.admin.routes import SagaAdmin, saga_routes
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.audit.entry import AuditQuery
from sagagen.runtime.console.desk import Desk
from sagagen.runtime.console.mount import console_at
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.health import Readiness
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.security import AdminAccess, ApiKeyScheme, Security
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.transport import Reply

ORIGIN = "http://ops.example:8081"
ACCESS = AdminAccess(("ops.read",), ("ops.write",), ("resolve",))
SECURITY = Security((ApiKeyScheme("staff", "X-Api-Key"),), admin=ACCESS)
_OPERATOR, _VIEWER = frozenset({"ops.write"}), frozenset({"ops.read"})
KEYS = {
    "key-of-ann": Identity("ann", _OPERATOR, scheme="staff"),
    "key-of-bob": Identity("bob", _OPERATOR, scheme="staff"),
    "key-of-viv": Identity("viv", _VIEWER, scheme="staff"),
    "key-of-cust": Identity("cust", frozenset({"orders.read"}), scheme="customers"),
}


class Keyring:
    """Knows operators by a header; a test may take a key away."""

    def __init__(self) -> None:
        self.keys = dict(KEYS)

    async def identity(self, headers: Headers) -> Identity:
        (key,) = headers.getlist("x-api-key") or [""]
        if key == "down":
            raise CannotTell("the provider's keys are not here yet", 5.0)
        if key not in self.keys:
            raise Unauthenticated("no key that is known here", self.challenges())
        return self.keys[key]

    def challenges(self, error: str = "", scopes: Sequence[str] = ()) -> Sequence[str]:
        return ('ApiKey header="X-Api-Key"',)


class Forgetful:
    """Services in which sagas get stuck at their pivot."""

    def __init__(self) -> None:
        self.is_mended = False
        self.says = "unknown here"

    async def call(self, path: str, request: bytes, **_: object) -> Reply:
        if path.endswith("ConfirmOrder") and not self.is_mended:
            raise RpcError(Code.FAILED_PRECONDITION, self.says, reason="FORGOTTEN", domain=DOMAIN)
        return Reply(b"")


@dataclass
class Console:
    client: httpx.AsyncClient
    engine: EmbeddedEngine
    log: SagaLog
    services: Forgetful
    keyring: Keyring

    async def log_in(self, key: str = "key-of-ann", *, name: str = "") -> httpx.Response:
        """As the form of the log-in page does."""
        await self.client.get("/console/login")
        return await self.send("/console/login", {"secret": key, "name": name}, page="/console/login")

    async def page(self, path: str, status: int = 200) -> str:
        """HTML of a page."""
        response = await self.client.get(f"/console{path}")
        assert response.status_code == status, (response.status_code, words_of(response.text))
        return response.text

    async def send(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        page: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """A form, as a browser sends it that has it from `page`."""
        token = csrf_of((await self.client.get(page or "/console/")).text)
        return await self.client.post(
            path,
            data={"csrf": token, **(fields or {})},
            headers={"origin": ORIGIN, "sec-fetch-site": "same-origin", **(headers or {})},
        )

    async def audited(self) -> list[tuple[str, str, str, str]]:
        """By, did, result, saga; the oldest first."""
        entries = await self.log.audit.search(AuditQuery(limit=1000))
        return [(e.by, e.did, str(e.result), e.saga_id) for e in reversed(entries)]


@asynccontextmanager
async def console(
    folder: Path,
    *,
    sagas: int = 1,
    gate: Gate | None = None,
    origin: str = ORIGIN,
    key: str = "",
    says: str = "unknown here",
) -> AsyncGenerator[Console]:
    """`key`: whose page it is, logged in already. `says`: what the services say when they fail."""
    services, keyring = Forgetful(), Keyring()
    services.says = says
    transports = {service.name: services for service in MESH.services}
    async with (
        SagaLog.open(folder / "saga-log.db") as log,
        EmbeddedEngine(sagas=MESH.sagas, log=log, transports=transports, random=Random(1)) as engine,
        Auditor.open(log.audit) as auditor,
    ):
        for number in range(sagas):
            await engine.accept(order(5.0, f"saga-{number}"))
        await engine.wait_until_idle()
        schema, readiness = Schema(MESH.descriptors.read_bytes()), Readiness({})
        operations = SagaOperations(engine, lambda: schema, engine.deliver)
        orders = Orders(operations, auditor, ACCESS.four_eyes)
        gate, mesh = gate or SchemeGate(keyring, ACCESS), replace(MESH, security=None if gate else SECURITY)
        desk = Desk(mesh, gate, orders, engine, lambda: schema, readiness)
        app = admin_app(readiness, [*saga_routes(SagaAdmin(orders, gate)), console_at(desk)])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=origin) as client:
            opened = Console(client, engine, log, services, keyring)
            if key:
                assert (await opened.log_in(key)).status_code == 303
            yield opened


def csrf_of(page: str) -> str:
    """The token of the page's first form; empty if it has none."""
    found = re.search(r'name="csrf" value="([^"]*)"', page)
    return found[1] if found else ""


def words_of(page: str) -> str:
    """What a person reads of a page, on one line."""
    main = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())
