"""`/docs` in a real browser: it shows the contract's API, takes an order, and asks no other host for anything."""

import shutil
from collections.abc import Iterator
from contextlib import closing

import pytest
from openapi_lab import document_of
from playwright.sync_api import Page, expect, sync_playwright
from stack import Stack, keyed
from waiting import LIMIT_S

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.slow
needs_browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed here")
expect.set_options(timeout=1000 * LIMIT_S)
METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with closing(Stack(tmp_path_factory.mktemp("docs") / "var")) as stack:
        stack.start("up")
        yield stack


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


@needs_browser
def test_the_page_shows_every_operation_and_asks_no_other_host(shop: Stack, page: Page) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{shop.url}/docs")
    paths = document_of("shop")["paths"]
    operations = {(verb, path) for path, verbs in paths.items() for verb in METHODS & verbs.keys()}
    for verb, path in operations:
        block = page.locator(f".opblock-{verb} [data-path='{path}']")
        expect(block).to_be_visible()
        block.click()  # its request and answers, with their schemas
    expect(page.locator(".opblock.is-open")).to_have_count(len(operations))
    assert complaints == []
    assert [url for url in asked if not url.startswith((shop.url, "data:"))] == []
    assert f"{shop.url}/openapi.json" in asked


@needs_browser
def test_an_order_can_be_placed_from_the_page(shop: Stack, page: Page) -> None:
    page.goto(f"{shop.url}/docs")
    block = page.locator(".opblock-post", has=page.locator("[data-path='/orders']"))
    block.locator("[data-path='/orders']").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_placeholder("Idempotency-Key").fill("from-the-page")
    body = '{"customer_id": "c", "items": [{"product_id": "prod_1", "quantity": 1, "price": 50.0}]}'
    block.locator("textarea.body-param__text").fill(body)
    block.get_by_role("button", name="Execute").click()
    answered = block.locator(".live-responses-table .response-col_status").nth(1)
    expect(answered).to_contain_text("201")
    again = shop.http.post(
        "/orders",
        content=body,
        headers={**keyed("from-the-page"), "content-type": "application/json"},
    )
    assert again.headers["idempotency-replayed"] == "true"


def test_the_pages_files_may_be_kept_and_the_page_may_load_nothing_else(shop: Stack) -> None:
    answer = shop.http.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    style = shop.http.get("/docs/swagger_style.css")
    assert "immutable" in style.headers["cache-control"]
    missing = shop.http.get("/docs/templates.py")
    assert (missing.status_code, missing.json()["reason"]) == (404, "NO_ROUTE")
