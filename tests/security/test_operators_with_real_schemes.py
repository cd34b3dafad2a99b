"""`sagagen sagas` against a listener that knows tokens and API keys: whom it lets in, and what people are told."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import httpx
from click.testing import CliRunner, Result
from oidc_issuer import AUDIENCE, Issuer
from shop_mesh import order
from structlog.testing import capture_logs
from test_operators import ACCESS, Forgetful

from generated.mesh import MESH
from sagagen.cli import main
from sagagen.runtime.access.schemes import Schemes
from sagagen.runtime.addresses import AccessFiles
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.edge.http.server import serve_http
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.health import Readiness
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.security import ApiKeyScheme, OidcScheme, Security
from sagagen.runtime.process.operators import operators_app
from sagagen.runtime.settings import Settings

ISSUER = Issuer(1)  # it is asked for nothing: its keys are in a file
SECURITY = Security(
    (
        OidcScheme("people", ISSUER.url, AUDIENCE, ("ES256",)),
        ApiKeyScheme("robots", "X-Ops-Key"),
    ),
    admin=ACCESS,
)
SHARED = "the-word-that-all-operators-had-before"
RESOLVE = ("resolve", "saga-0", "confirm_order", "--as", "done", "--note", "the bank says so")


@dataclass
class Listener:
    address: str
    folder: Path

    async def sagas(self, *words: str, **environment: str) -> Result:
        """In a thread, as another process would."""
        given = {"SAGAGEN_ADMIN_ADDR": self.address, "SAGAGEN_ADMIN_KEY_HEADER": "X-Ops-Key", **environment}
        return await asyncio.to_thread(lambda: CliRunner().invoke(main, ["sagas", *words], env=given))

    def token(self, sub: str, scope: str) -> Mapping[str, str]:
        """Of this person, in a file as people keep them."""
        file = self.folder / f"token-of-{sub}"
        file.write_text(ISSUER.token(sub=sub, scope=scope) + "\n")
        return {"SAGAGEN_ADMIN_TOKEN_FILE": str(file)}


@asynccontextmanager
async def listener(folder: Path) -> AsyncGenerator[Listener]:
    keys, jwks = folder / "api-keys", folder / "keys.json"
    robot = hashlib.sha256(b"key-of-robot").hexdigest()
    keys.write_text(f"ann sha256:{robot} scope=ops.write\n")
    keys.chmod(0o600)
    jwks.write_bytes(ISSUER.key_set)
    environment = {
        "SAGAGEN_API_KEYS_FILE": str(keys),
        "SAGAGEN_JWKS_FILE_PEOPLE": str(jwks),
        "SAGAGEN_ADMIN_TOKEN": SHARED,
    }
    settings = Settings.read(environment, folder)
    files = AccessFiles.read(environment, folder, folder, SECURITY)
    # A command runs in this process here, and its output must not have what the listener logs.
    with capture_logs():
        async with served(folder, settings, files) as at:
            yield Listener(at, folder)


@asynccontextmanager
async def served(folder: Path, settings: Settings, files: AccessFiles) -> AsyncGenerator[str]:
    services = Forgetful()
    transports = {service.name: services for service in MESH.services}
    async with (
        SagaLog.open(folder / "saga-log.db") as log,
        EmbeddedEngine(sagas=MESH.sagas, log=log, transports=transports, random=Random(1)) as engine,
        Auditor.open(log.audit) as auditor,
        Schemes.opened(SECURITY, files, SystemClock()) as schemes,
    ):
        await engine.accept(order(5.0, "saga-0"))
        await engine.wait_until_idle()
        schema = Schema(MESH.descriptors.read_bytes())
        secured = replace(MESH, security=SECURITY)
        app = operators_app(secured, settings, engine, auditor, schema, Readiness({}), schemes, {})
        async with serve_http(app, "127.0.0.1", 0) as at:
            yield f"127.0.0.1:{at.port}"


async def test_people_with_tokens_and_robots_with_keys_do_what_their_scopes_say(tmp_path: Path) -> None:
    async with listener(tmp_path) as ops:
        for given, says in (
            ({}, "does not know who asks"),
            ({"SAGAGEN_ADMIN_TOKEN": SHARED}, "does not know who asks"),
            ({"SAGAGEN_ADMIN_KEY": "made-up"}, "SAGAGEN_ADMIN_KEY_FILE"),
            (ops.token("cust", "orders.read orders.write"), "cust is no operator"),
        ):
            refused = await ops.sagas("list", **given)
            assert (refused.exit_code, says in refused.output) == (1, True), refused.output
            assert not any(secret in refused.output for secret in (SHARED, "made-up"))
        ann, bob = ops.token("ann", "ops.write"), ops.token("bob", "ops.write ops.read")
        viewer = ops.token("viv", "ops.read")
        assert "saga-0" in (await ops.sagas("list", **viewer)).output
        looks = await ops.sagas("hold", "saga-0", **viewer)
        assert (looks.exit_code, "takes an operator" in looks.output) == (1, True)
        forged = await ops.sagas("retry", "saga-0", "--by", "bob", **ann)
        assert "you are ann" in forged.output
        waits = await ops.sagas(*RESOLVE, **ann)
        assert (waits.exit_code, "waits for a second person" in waits.output) == (0, True), waits.output
        id_ = json.loads((await ops.sagas("orders", "--json", **viewer)).output)["orders"][0]["id"]
        robot = await ops.sagas("confirm", id_, SAGAGEN_ADMIN_KEY="key-of-robot")
        assert "you are robots:ann" in robot.output, "ann's robot is no second person"
        shown = json.loads((await ops.sagas("orders", id_, "--json", **bob)).output)
        assert shown["order"]["note"] == "the bank says so"
        done = await ops.sagas("confirm", id_, **bob)
        assert "ann, confirmed by bob resolved as done confirm_order" in done.output, done.output
        lines = (await ops.sagas("audit", "--json", **viewer)).output
        entries = json.loads(lines)["audit"]
        assert [(each["by"], each["did"], each["result"]) for each in entries[:3]] == [
            ("bob", "confirm resolve", "DONE"),
            ("robots:ann", "confirm resolve", "DENIED"),
            ("ann", "resolve", "PENDING"),
        ]
        assert {each["scheme"] for each in entries} == {"people", "robots", None}


async def test_a_token_of_long_ago_is_turned_away_with_a_challenge(tmp_path: Path) -> None:
    async with listener(tmp_path) as ops, httpx.AsyncClient(base_url=f"http://{ops.address}") as client:
        for token in (
            ISSUER.token(scope="ops.write", exp=1_000_000_000),
            ISSUER.token(scope="ops.write", aud="another"),
            ISSUER.token(scope="ops.write", by="k2"),
        ):
            refused = await client.post(
                "/sagas/saga-0/retry", headers={"authorization": f"Bearer {token}"}, json={}
            )
            assert refused.status_code == 401
            assert any("Bearer" in each for each in refused.headers.get_list("www-authenticate"))
            assert token not in refused.text
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200
