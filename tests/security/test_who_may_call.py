"""The shop under the security section of its documents, as a real process: who sees whose orders, and what is kept."""

import json
import socket
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from oidc_issuer import Issuer, oidc_issuer
from project_copy import copy_project, edit, generate
from stack import Stack
from waiting import eventually

from sagagen.cli import main
from sagagen.runtime.access.token import SKEW_S

SECTION = """
security:
  schemes:
    customers:
      {{ type: oidc, issuer: "{issuer}", audience: shop, algorithms: [ES256, RS256], caller: sub,
        claims: {{ tenant: string }} }}
    partners: {{ type: api_key, header: X-Api-Key }}
  default: {{ any_of: [customers, partners] }}
  routes:
    shop.checkout.v1.CheckoutService/PlaceOrder: {{ scopes: [orders.write], allow: request.customer_id == caller }}
    shop.order.v1.OrderService/GetOrder:
      {{ scopes: [orders.read], allow: response.order.customer_id == caller }}
    shop.inventory.v1.InventoryService/GetStock: public
"""
Headers = Mapping[str, str]


class Shop:
    """It runs; callers are `ann` and `bob`, and the partner acme."""

    def __init__(self, stack: Stack, issuer: Issuer) -> None:
        self.stack = stack
        self.issuer = issuer
        self.key = self.new_key("acme", "--scope", "orders.read", "--scope", "orders.write")

    def new_key(self, *words: str) -> str:
        options = ["--file", str(self.key_file)]
        done = CliRunner().invoke(main, ["keys", "new", *words, *options])
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    @property
    def key_file(self) -> Path:
        return self.stack.data_dir / "api-keys"

    def ann(self, **claims: Any) -> Headers:
        return bearer(self.issuer.token(**claims))

    def bob(self) -> Headers:
        return self.ann(sub="bob")

    def acme(self) -> Headers:
        return {"X-Api-Key": self.key}

    def get(self, path: str, headers: Headers) -> httpx.Response:
        return self.stack.http.get(path, headers=headers)

    def place(self, key: str, headers: Headers, customer: str = "ann") -> httpx.Response:
        body = {"customer_id": customer, "items": [{"product_id": "prod_1", "quantity": 1, "price": 5}]}
        return self.stack.http.post("/orders", json=body, headers={**headers, "Idempotency-Key": key})

    def status(self, saga_id: str) -> str:
        """As operators see it."""
        return self.stack.admin.get(f"/sagas/{saga_id}").json()["status"]

    def is_over(self, saga_id: str) -> None:
        eventually("the saga to end", lambda: self.status(saga_id), lambda status: status == "COMPLETED")


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Shop]:
    folder = tmp_path_factory.mktemp("who-may-call")
    with oidc_issuer() as issuer:
        root = copy_project("shop", folder / "shop", ("contracts", "handlers"))
        contract = root / "contracts" / "saga.yaml"
        none = next(line for line in contract.read_text().splitlines() if line.startswith("security:"))
        edit(
            contract,
            {
                none: SECTION.format(issuer=issuer.url),
                "    deadline: 60s\n": "    deadline: 60s\n    index: { tenant: claims.tenant }\n",
                "          customer_id: input.customer_id\n": "          customer_id: caller\n",
            },
        )
        stack = Stack(folder / "var", root=generate(root))
        running = Shop(stack, issuer)
        try:
            stack.start("up")
            yield running
        finally:
            stack.close()


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("reason", "")


def test_a_route_takes_whom_its_rule_names(shop: Shop) -> None:
    asked: list[tuple[Callable[[], httpx.Response], tuple[int, str]]] = [
        (lambda: shop.place("1", {}), (401, "CREDENTIALS_MISSING")),
        (lambda: shop.place("1", bearer("x")), (401, "CREDENTIALS_INVALID")),
        (lambda: shop.place("1", {"Authorization": "Basic YTpi"}), (401, "CREDENTIALS_INVALID")),
        (lambda: shop.place("1", {"X-Api-Key": "sgk_x"}), (401, "CREDENTIALS_INVALID")),
        (lambda: shop.place("1", {**shop.ann(), **shop.acme()}), (401, "CREDENTIALS_INVALID")),
        (lambda: shop.place("1", shop.ann(scope="orders.read")), (403, "SCOPE_MISSING")),
        (lambda: shop.place("1", shop.ann(), "bob"), (403, "NOT_ALLOWED")),
        (lambda: shop.place("1", shop.acme(), "acme"), (403, "NOT_ALLOWED")),
        (lambda: shop.place("1", shop.acme(), "partners:acme"), (201, "")),
        (
            lambda: shop.place("1", shop.ann(sub="partners:acme"), "partners:acme"),
            (401, "CREDENTIALS_INVALID"),
        ),
        (lambda: shop.get("/products/prod_1/stock", {}), (200, "")),
        (lambda: shop.get("/products/prod_1/stock", bearer("x")), (200, "")),
        (lambda: shop.get("/sagas", {}), (401, "CREDENTIALS_MISSING")),
        (lambda: shop.get("/sagas/x", {}), (401, "CREDENTIALS_MISSING")),
        (lambda: shop.get("/sagas/x", shop.ann(scope=None)), (404, "SAGA_NOT_FOUND")),
    ]
    for ask, expected in asked:
        answer = ask()
        assert reason(answer) == expected, answer.text
        challenges = answer.headers.get_list("www-authenticate")
        assert len(challenges) == (2 if answer.status_code == 401 or "SCOPE" in expected[1] else 0)
        assert "bearer x" not in answer.text.lower()
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert shop.stack.http.get(path).status_code == 200
    token = shop.issuer.token()
    for smuggled in (f"/sagas?access_token={token}", f"/sagas?authorization=Bearer%20{token}"):
        assert shop.get(smuggled, {}).status_code == 401, "a token has no place in a URL"


def test_nothing_of_a_body_is_read_before_it_is_known_who_sends_it(shop: Shop) -> None:
    port = int(shop.stack.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(4096).startswith(b"HTTP/1.1 401"), "although no byte of the body has come"


@pytest.mark.parametrize(
    "lines",
    [
        b"Authorization: Bearer GOOD\r\nAuthorization: Bearer bad",
        b"Authorization: Bearer bad\r\nAuthorization: Bearer GOOD",
        b"Authorization : Bearer GOOD",
        b"Authorization:\r\n Bearer GOOD",
        b"Authorization: Basic x, Bearer GOOD",
        b"X-Authorization: Bearer GOOD",
        b"X_Api_Key: KEY",
        b"X-Api-Key: KEY\r\nX-Api-Key: KEY",
        b"X-Api-Key: x\nX-Api-Key: KEY",
        b"Connection: X-Api-Key\r\nAuthorization: Bearer\0GOOD",
    ],
)
def test_headers_that_two_programs_read_differently_let_nobody_in(lines: bytes, shop: Shop) -> None:
    sent = lines.replace(b"GOOD", shop.issuer.token().encode()).replace(b"KEY", shop.key.encode())
    port = int(shop.stack.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /sagas HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + sent + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 401"), answer


def test_a_customer_sees_nothing_of_another(shop: Shop) -> None:
    placed = shop.place("theirs", shop.ann(tenant="north"))
    order = placed.json()["order_id"]
    shop.is_over(order)
    assert shop.get(f"/orders/{order}", shop.ann()).json()["status"] == "CONFIRMED"
    assert shop.get(f"/sagas/{order}", shop.ann()).json()["status"] == "COMPLETED"
    assert shop.place("theirs", shop.ann(tenant="south")).headers["idempotency-replayed"] == "true"
    for other in (shop.bob(), shop.acme()):
        hidden, missing = (shop.get(f"/orders/{each}", other) for each in (order, "none"))
        assert (hidden.status_code, shown(hidden)) == (404, shown(missing)), "the same as what is not there"
        hidden, missing = (shop.get(f"/sagas/{each}", other) for each in (order, "none"))
        assert (hidden.status_code, shown(hidden)) == (404, shown(missing))
        assert order not in shop.get("/sagas", other).text
    assert order in shop.get("/sagas", shop.ann()).text
    own = shop.place("theirs", shop.bob(), "bob")
    assert (own.status_code, "idempotency-replayed" in own.headers) == (201, False)
    assert own.json()["order_id"] != order, "another's key names another saga"


def shown(answer: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "trace_id"}


def test_a_saga_ends_though_its_caller_may_do_nothing_any_more(shop: Shop) -> None:
    """The token expires, the key is taken out, the process dies and the issuer with it, all in the middle of a saga."""
    going = {"X-Api-Key": shop.new_key("going", "--scope", "orders.write")}
    eventually("the new key to be known", lambda: shop.get("/sagas", going).status_code, lambda n: n == 200)
    with shop.stack.holding_writes("payment"):
        short = shop.ann(exp=int(time.time()) - SKEW_S + 5, tenant="west")
        placed = [shop.place("short", short), shop.place("going", going, "partners:going")]
        orders = [answer.json()["order_id"] for answer in placed]
        lines = shop.key_file.read_text().splitlines(keepends=True)
        shop.key_file.write_text("".join(line for line in lines if not line.startswith("going ")))
        for headers in (short, going):
            eventually(
                "a refusal",
                lambda headers=headers: shop.get("/sagas", headers).status_code,
                lambda status: status == 401,
            )
        assert {shop.status(order) for order in orders} == {"RUNNING"}
        shop.stack.kill("up")
    shop.issuer.status = 503
    try:
        shop.stack.begin("up")
        eventually(
            "orders that are confirmed",
            lambda: [shop.status(order) for order in orders],
            lambda all_: set(all_) == {"COMPLETED"},
            despite=(httpx.TransportError,),
        )
        again = shop.get(f"/orders/{orders[0]}", shop.ann())
        assert reason(again) == (503, "CALLERS_UNKNOWN")
        assert int(again.headers["retry-after"]) >= 1
        assert "no keys of" in shop.stack.http.get("/readyz").json()["detail"]
        assert reason(shop.get("/sagas", shop.acme())) == (200, ""), "keys need no issuer"
    finally:
        shop.issuer.status = 200
    eventually(
        "the gateway to be ready", lambda: shop.stack.http.get("/readyz").status_code, lambda n: n == 200
    )
    assert shop.get(f"/orders/{orders[0]}", shop.ann()).json()["customer_id"] == "ann"


def test_claims_are_kept_and_tokens_are_not(shop: Shop) -> None:
    secret = shop.issuer.token(tenant="east")
    order = shop.place("kept", bearer(secret)).json()["order_id"]
    shop.is_over(order)
    query = f"SELECT caller, claims FROM saga WHERE saga_id = '{order}'"
    ((caller, claims),) = map(tuple, shop.stack.rows("saga-log", query))
    assert (caller, json.loads(claims)) == ("ann", {"tenant": "east"})
    seen = shop.stack.admin.get(f"/sagas/{order}").json()
    assert (seen["caller"], seen["claims"]) == ("ann", ["tenant"]), "operators see that there is one"
    assert "east" not in json.dumps(seen)
    found = shop.stack.rows("saga-log", "SELECT value FROM saga_index WHERE value = 'east'")
    assert len(found) == 1, "the index reads claims"
    shop.get("/sagas", {"X-Api-Key": shop.key})
    for file in shop.stack.data_dir.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        for part in (*secret.split("."), shop.key):
            assert part.encode() not in content, (file.name, "tokens and keys are stored and logged nowhere")
