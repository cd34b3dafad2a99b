"""The console in a real browser, on a real gateway: an order from a button, changes as they come, and no script."""

import shutil
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from stack import Stack, keyed, order_body
from waiting import LIMIT_S

from sagagen.runtime.console.views import VIEWS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed here")]
expect.set_options(timeout=1000 * LIMIT_S)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with closing(Stack(tmp_path_factory.mktemp("console") / "var")) as stack:
        stack.start("up")
        yield stack


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def _placed(shop: Stack, key: str) -> str:
    return shop.http.post("/orders", json=order_body(5.0), headers=keyed(key)).json()["order_id"]


def _watched(page: Page) -> tuple[list[str], list[str]]:
    """What it complains of, and what it asks for."""
    complaints: list[str] = []
    asked: list[str] = []
    page.set_default_timeout(1000 * LIMIT_S)
    page.on(
        "console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    return complaints, asked


def test_an_order_from_a_button_and_what_comes_of_it_without_a_reload(shop: Stack, browser: Browser) -> None:
    with closing(browser.new_context()) as context:
        page = context.new_page()
        complaints, asked = _watched(page)
        with shop.holding_writes("payment"):
            saga_id = _placed(shop, "console-1")
            page.goto(f"{shop.admin_url}/console/")
            page.keyboard.press("/")
            page.keyboard.type(saga_id[:13])
            page.keyboard.press("Enter")
            expect(page.locator("h1")).to_have_text(saga_id)
            expect(page.locator("[data-live-state]")).to_have_text("live")
            offer = page.locator("form.offer", has=page.get_by_role("button", name="Cancel"))
            offer.get_by_label("Why").fill("the customer called")
            offer.get_by_label("Your name").fill("Zoë")
            offer.get_by_role("button", name="Cancel").click()
            expect(page.get_by_text("The saga turns back.")).to_be_visible()
            page.evaluate("window.isSamePage = true")
        expect(page.locator(".head .status")).to_contain_text("compensated")
        assert page.evaluate("window.isSamePage"), "nothing was loaded again"
        expect(page.locator(".step.undo").first).to_contain_text("compensated")
        expect(page.get_by_text("the customer called")).to_be_visible()
        for view in VIEWS:
            if view.is_listed:
                page.goto(f"{shop.admin_url}/console{view.path}")
                expect(page.locator("nav.views [aria-current]")).to_have_text(view.title)
        page.goto(f"{shop.admin_url}/console/sagas/{saga_id}/payloads")
        expect(page.locator("pre").first).to_contain_text("prod_1")
        assert complaints == []
        assert [url for url in asked if not url.startswith((f"{shop.admin_url}/console", "data:"))] == []


def test_without_a_script_everything_can_be_read_and_done_on_a_phone(shop: Stack, browser: Browser) -> None:
    phone = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    with closing(phone) as context:
        page = context.new_page()
        page.set_default_timeout(1000 * LIMIT_S)
        with shop.holding_writes("payment"):
            saga_id = _placed(shop, "console-2")
            page.goto(f"{shop.admin_url}/console/sagas/{saga_id}")
            offer = page.locator("form.offer", has=page.get_by_role("button", name="Cancel"))
            offer.get_by_label("Your name").fill("Zoë")
            offer.get_by_role("button", name="Cancel").click()
            expect(page.get_by_text("The saga turns back.")).to_be_visible()
        expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
        for path in ("/", "/sagas?status=ALL", f"/sagas/{saga_id}", "/audit"):
            page.goto(f"{shop.admin_url}/console{path}")
            width = page.locator("body").bounding_box()
            assert width is not None
            assert width["width"] <= 390, path
