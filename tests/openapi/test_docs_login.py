"""A new project is closed: what `up` prints gets in, so does whoever logs in at `/docs`, and nobody else.

What a running gateway of such a contract answers is what its document says, with a key and without.
"""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import Phase, given, settings
from playwright.sync_api import Page, Route, expect, sync_playwright
from project_copy import generate
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks
from stack import Stack
from thorough import OPENAPI_EXAMPLES, SLOW_AND_LARGE
from waiting import LIMIT_S

from sagagen.scaffold.project import Template, make_project

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.slow
needs_browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed here")
expect.set_options(timeout=1000 * LIMIT_S)
CHECKS: list[Any] = [
    checks.not_a_server_error,  # pyright: ignore[reportUnknownMemberType] - its checks have no types
    openapi_checks.status_code_conformance,  # pyright: ignore[reportUnknownMemberType]
    openapi_checks.content_type_conformance,  # pyright: ignore[reportUnknownMemberType]
    openapi_checks.response_headers_conformance,  # pyright: ignore[reportUnknownMemberType]
    openapi_checks.response_schema_conformance,  # pyright: ignore[reportUnknownMemberType]
]
ORDER = '{"customer_id": "c", "items": [{"product_id": "prod_1", "quantity": 1, "price": 50.0}]}'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("new") / "shop"
    make_project(root, Template.SHOP, "shop")
    return generate(root)


@pytest.fixture(scope="module")
def shop(root: Path) -> Iterator[Stack]:
    with closing(Stack(root / "var", root=root)) as stack:
        stack.start("up")
        yield stack


@pytest.fixture
def key(shop: Stack) -> str:
    return (shop.data_dir / "development-key").read_text().strip()


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            page.set_default_timeout(1000 * LIMIT_S)
            yield page
        finally:
            browser.close()


def type_what_is_printed(stack: Stack, key: str) -> None:
    printed = re.findall(r"^  (curl .*?)\n\n", stack.log_path.read_text(), re.MULTILINE | re.DOTALL)
    order, look = [shlex.split(command.replace("\\\n", " ")) for command in printed]
    assert f"X-Api-Key: {key}" in order
    placed, shown = [
        json.loads(subprocess.run([*command, "-sS"], capture_output=True, check=True).stdout)
        for command in (order, look)
    ]
    assert shown["id"] == placed["order_id"]


def test_what_a_mesh_of_processes_prints_gets_in(root: Path, tmp_path: Path) -> None:
    with closing(Stack(tmp_path / "var", root=root)) as stack:
        stack.start("mesh")
        type_what_is_printed(stack, (stack.data_dir / "development-key").read_text().strip())


def test_what_up_prints_gets_in(shop: Stack, key: str) -> None:
    type_what_is_printed(shop, key)
    assert shop.http.get("/sagas").status_code == 401
    assert shop.http.get("/products/prod_1/stock").status_code == 200, "public"


def log_in(page: Page, credential: str) -> None:
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    dialog.locator("input").fill(credential)
    dialog.get_by_role("button", name="Apply credentials").or_(
        dialog.get_by_role("button", name="Authorize")
    ).first.click()
    dialog.locator("button.btn-done").click()


def place(page: Page, number: int) -> None:
    block = page.locator(".opblock-post", has=page.locator("[data-path='/orders']"))
    if not block.get_by_role("button", name="Execute").is_visible():
        block.locator("[data-path='/orders']").click()
        block.get_by_role("button", name="Try it out").click()
    block.get_by_placeholder("Idempotency-Key").fill(f"from-the-page-{number}")
    block.locator("textarea.body-param__text").fill(ORDER)
    block.get_by_role("button", name="Execute").click()


def answered(page: Page, status: str) -> None:
    block = page.locator(".opblock-post", has=page.locator("[data-path='/orders']"))
    expect(block.locator(".live-responses-table .response-col_status").nth(1)).to_contain_text(status)


@needs_browser
def test_a_key_is_entered_and_sent_and_kept_nowhere(shop: Stack, page: Page, key: str) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{shop.url}/docs")
    place(page, 1)
    answered(page, "401")
    log_in(page, key)
    place(page, 2)
    answered(page, "201")
    assert complaints == []
    assert key not in page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")


@needs_browser
def test_a_token_is_entered_and_sent(shop: Stack, page: Page) -> None:
    def with_tokens(route: Route) -> None:
        document = shop.http.get("/openapi.json").json()
        document["components"]["securitySchemes"] = {
            "clients": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        }
        route.fulfill(json=document)

    page.route("**/openapi.json", with_tokens)
    page.goto(f"{shop.url}/docs")
    log_in(page, "a.b.c")
    with page.expect_request("**/orders") as sent:
        place(page, 3)
    assert sent.value.header_value("authorization") == "Bearer a.b.c"
    answered(page, "401")


@pytest.mark.parametrize("operation_id", ["CheckoutService_PlaceOrder", "OrderService_GetOrder", "listSagas"])
def test_the_gateway_answers_as_the_document_says(shop: Stack, operation_id: str, key: str) -> None:
    document: Any = schemathesis.openapi.from_url(f"{shop.url}/openapi.json")
    operation = document.find_operation_by_id(operation_id)
    statuses: dict[str, set[int]] = {"": set(), key: set()}

    @settings(
        max_examples=max(OPENAPI_EXAMPLES // 12, 3),
        database=None,
        suppress_health_check=SLOW_AND_LARGE,
        phases=[Phase.generate],
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def made_up(case: Any) -> None:
        for shown, seen in statuses.items():
            case.headers.pop("X-Api-Key", None)
            headers = {"X-Api-Key": shown} if shown else {}
            response = case.call(base_url=shop.url, timeout=LIMIT_S, headers=headers)
            seen.add(response.status_code)
            case.validate_response(response, checks=CHECKS)

    made_up()
    assert statuses[""] == {401}
    assert statuses[key]
    assert 401 not in statuses[key]
