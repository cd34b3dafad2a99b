"""Clients that others' generators make from the document: made without a warning, and used against a running shop.

What needs npm (a second generator, and a linter) is tried with SAGAGEN_PROOFS=all.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from openapi_lab import REPOSITORY, ROOTS, document_of
from stack import Stack
from thorough import TRIES_ALL, chosen

from sagagen.contract import read_contract
from sagagen.emit.openapi import openapi

pytestmark = pytest.mark.slow

GOLDEN = REPOSITORY / "tests" / "golden"
HARD = (
    "google-apis", "colliding-names", "security-documents", "messages-of-a-package-sagagen", "names-that-python-keeps",
    "validate-rules",
    "well-known-types", "services-of-one-short-name", "bindings-and-numbered-rpcs", "http-paths", "http-bodies",
    "http-path-variable-of-a-nested-field", "http-query-parameters", "maps-of-every-key", "oneofs", "proto2",
    "editions", "scalars-of-every-type", "keyword-names-in-protos", "deprecated", "no-package",
    "list-value-without-items",
)  # fmt: skip
"""Of the golden corpus: what is hard on a document."""
CONTRACTS = ("shop", *chosen(HARD, first=3), *([] if not TRIES_ALL else ["library", "nested"]))
LIMIT_S = 300
PYTHON = """
import json, sys
from client import Client
from client.api.{checkout} import checkout_service_place_order as place
from client.api.{order} import order_service_get_order as get
from client.models import ShopCheckoutV1CartItem as Item, ShopCheckoutV1PlaceOrderRequest as Order

client = Client(base_url=sys.argv[1])
body = Order(customer_id="c-1", items=[Item(product_id="tea", quantity=2, price=1.5)])
placed = place.sync_detailed(client=client, body=body, idempotency_key="by-python")
again = place.sync_detailed(client=client, body=body, idempotency_key="by-python")
wrong = place.sync_detailed(client=client, body=Order(customer_id="", items=[]), idempotency_key="wrong")
read = get.sync(placed.parsed.order_id, client=client)
print(json.dumps({{
    "placed": [placed.status_code, type(placed.parsed).__name__], "again": again.parsed == placed.parsed,
    "wrong": [wrong.status_code, wrong.parsed.code, sorted(each.field for each in wrong.parsed.violations)],
    "read": [read.order_id == placed.parsed.order_id, read.customer_id, read.total_minor],
}}))
"""
TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { paths } from "./shop.js";

declare const process: { argv: string[] };

const client = createClient<paths>({ baseUrl: process.argv[2] });
const body = { customer_id: "c-1", items: [{ product_id: "tea", quantity: 2, price: 1.5 }] };
const header = (key: string) => ({ params: { header: { "Idempotency-Key": key } } });
const placed = await client.POST("/orders", { body, ...header("by-typescript") });
const again = await client.POST("/orders", { body, ...header("by-typescript") });
const wrong = await client.POST("/orders", { body: { customer_id: "", items: [] }, ...header("wrong") });
if (placed.data === undefined || !("order_id" in placed.data)) throw new Error(JSON.stringify(placed.error));
const read = await client.GET("/orders/{order_id}", { params: { path: { order_id: placed.data.order_id } } });
console.log(JSON.stringify({
  placed: placed.response.status, again: JSON.stringify(again.data) === JSON.stringify(placed.data),
  wrong: [wrong.response.status, wrong.error?.code, (wrong.error?.violations ?? []).map((each) => each.field).sort()],
  read: [read.data?.order_id === placed.data.order_id, read.data?.customer_id, read.data?.total_minor],
}));
"""
NPM = (
    "@stoplight/spectral-cli@6.16.3",
    "openapi-fetch@0.17.0",
    "openapi-typescript@7.13.0",
    "typescript@5.9.3",
)
RULES: Mapping[str, Any] = {"extends": ["spectral:oas"], "rules": {"info-contact": "off"}}
"""A contract has no place for somebody to contact."""
VIOLATIONS = ["customer_id", "items"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with closing(Stack(tmp_path_factory.mktemp("shop") / "var")) as stack:
        stack.start("up")
        yield stack


@cache
def document(name: str) -> str:
    if name in ROOTS:
        return json.dumps(document_of(name))
    mesh, findings = read_contract(GOLDEN / name)
    assert mesh, findings
    return json.dumps(openapi(mesh))


def run(command: list[str], folder: Path, **environment: str) -> str:
    """What it says. Fails if it fails."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def python_client(name: str, folder: Path) -> Path:
    (folder / "openapi.json").write_text(document(name), "utf-8")
    said = run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json",
         "--output-path", "client", "--meta", "none", "--fail-on-warning"],
        folder,
    )  # fmt: skip
    assert "Warning" not in said
    return folder / "client"


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_python_client_is_made_without_a_warning_and_can_be_imported(name: str, tmp_path: Path) -> None:
    client = python_client(name, tmp_path)
    modules = [path.relative_to(tmp_path).with_suffix("") for path in sorted(client.rglob("*.py"))]
    imports = [f"import {'.'.join(path.parts).removesuffix('.__init__')}" for path in modules]
    operations = [each for each in json.loads(document(name))["paths"].values() for _ in each]
    made = [path for path in client.glob("api/*/*.py") if path.name != "__init__.py"]
    assert len(made) == len(operations), "an operation was lost"
    run([sys.executable, "-c", "\n".join(imports)], tmp_path)


def test_a_python_client_places_an_order(shop: Stack, tmp_path: Path) -> None:
    client = python_client("shop", tmp_path)
    checkout, order = (
        next(path.name for path in client.glob("api/*") if path.name.endswith(end))
        for end in ("checkout_service", "order_service")
    )
    script = PYTHON.format(checkout=checkout, order=order)
    said: dict[str, Any] = json.loads(run([sys.executable, "-c", script, shop.url], tmp_path))
    assert said == {
        "placed": [201, "ShopOrderV1Order"],
        "again": True,
        "wrong": [400, "INVALID_ARGUMENT", VIOLATIONS],
        "read": [True, "c-1", "300"],
    }


@pytest.fixture(scope="session")
def npm(request: pytest.FixtureRequest) -> Path:
    """A folder with the packages, kept from one run to the next."""
    if not TRIES_ALL:
        pytest.skip("SAGAGEN_PROOFS=all tries what needs npm")
    assert shutil.which("npm"), "SAGAGEN_PROOFS=all needs node and npm"
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir("openapi-clients"))
    wanted = folder / "wanted.json"
    with (folder / "lock").open("w") as lock:  # another worker may be at it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists() or json.loads(wanted.read_text()) != [*NPM]:
            run(
                ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ".", *NPM],
                folder,
            )
            wanted.write_text(json.dumps(NPM))
    return folder


def test_a_linter_of_documents_finds_nothing(npm: Path, tmp_path: Path) -> None:
    (tmp_path / ".spectral.json").write_text(json.dumps(RULES))
    for name in CONTRACTS:
        (tmp_path / f"{name}.openapi.json").write_text(document(name), "utf-8")
    spectral = str(npm / "node_modules" / ".bin" / "spectral")
    run(
        [spectral, "lint", "--ruleset", ".spectral.json", "--fail-severity", "hint", "*.openapi.json"],
        tmp_path,
    )


def test_typescript_types_are_made_of_every_document(npm: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(npm / "node_modules")
    for name in CONTRACTS:
        typescript_types(name, npm, tmp_path)
    compile_typescript(npm, tmp_path, *(f"{name}.ts" for name in CONTRACTS))


def test_a_typescript_client_places_an_order(npm: Path, shop: Stack, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(npm / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    typescript_types("shop", npm, tmp_path)
    (tmp_path / "client.ts").write_text(TYPESCRIPT)
    compile_typescript(npm, tmp_path, "client.ts")
    said: dict[str, Any] = json.loads(run(["node", "client.js", shop.url], tmp_path))
    assert said == {
        "placed": 201,
        "again": True,
        "wrong": [400, "INVALID_ARGUMENT", VIOLATIONS],
        "read": [True, "c-1", "300"],
    }


def typescript_types(name: str, npm: Path, folder: Path) -> None:
    (folder / f"{name}.json").write_text(document(name), "utf-8")
    run(
        [str(npm / "node_modules" / ".bin" / "openapi-typescript"), f"{name}.json", "-o", f"{name}.ts"],
        folder,
    )


def compile_typescript(npm: Path, folder: Path, *names: str) -> None:
    settings = ["--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext"]
    run([str(npm / "node_modules" / ".bin" / "tsc"), *settings, "--lib", "es2022,dom", *names], folder)
