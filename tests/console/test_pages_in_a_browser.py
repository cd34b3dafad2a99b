"""All views in a real browser: nothing that keeps people out, no error, no other host, and readable without scripts."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import socket
from threading import Event, Thread
from typing import Any

import pytest
import uvicorn
from console_on_a_log import app_on_a_log
from playwright.sync_api import Browser, Page, sync_playwright
from starlette.applications import Starlette

from generated.sagas.place_order_v1 import PLACE_ORDER_V1
from sagagen.runtime.console.views import VIEWS

BROWSER = Path("/usr/bin/chromium")
STUCK, BACK = f"{1:032x}", f"{10:032x}"
SAGAS = 100
LIMIT_S = 120.0

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER.exists(), reason=f"{BROWSER} is not installed (apt-get install chromium)"),
]

LISTED = [view.path for view in VIEWS if view.is_listed]
_NEEDED = {"/find": "?id=0000000000000000000000000000000a", "/group": "?status=STUCK&act=retry"}
PATHS = [
    *(
        view.path.replace("{id}", STUCK) + _NEEDED.get(view.path, "")
        for view in VIEWS
        if "{order}" not in view.path
    ),
    f"/definition?saga={BACK}",
]


class _Server(uvicorn.Server):
    """Says when it listens, and where."""

    port = 0

    def __init__(self, app: Starlette, is_up: Event) -> None:
        super().__init__(uvicorn.Config(app, port=0, lifespan="off", log_level="warning"))
        self._is_up = is_up

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self.port = self.servers[0].sockets[0].getsockname()[1]
        self._is_up.set()


class _Served:
    """The console on a free port, in a thread of its own: playwright has the test's."""

    def __init__(self, folder: Path) -> None:
        self.server: _Server | None = None
        self._is_up = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._serve(folder)), name="console")
        self._thread.start()
        assert self._is_up.wait(LIMIT_S), "the console is served"

    async def _serve(self, folder: Path) -> None:
        try:
            async with app_on_a_log(folder, sagas=SAGAS, kept=(PLACE_ORDER_V1,)) as app:
                self.server = _Server(app, self._is_up)
                await self.server.serve()
        finally:
            self._is_up.set()

    def close(self) -> None:
        if self.server:
            self.server.should_exit = self.server.force_exit = True
        self._thread.join(LIMIT_S)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with closing(_Served(tmp_path_factory.mktemp("console"))) as served:
        assert served.server, "it could not be served"
        yield f"http://127.0.0.1:{served.server.port}/console"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


class _Opened:
    """A page, and all that went wrong in it."""

    def __init__(self, page: Page, console: str) -> None:
        self.page = page
        self.wrong: list[str] = []
        host = console.partition("//")[2].partition("/")[0]
        page.on(
            "console",
            lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on(
            "request",
            lambda asked: None if f"//{host}/" in asked.url else self.wrong.append(f"asks {asked.url}"),
        )


def test_axe_finds_nothing_serious_no_page_has_an_error_and_none_asks_another_host(
    console: str, browser: Browser
) -> None:
    """In the light on a screen, and its colours in the dark on a phone, where no page is wider than that."""
    found: list[str] = []
    for path in PATHS:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        opened = _Opened(page, console)
        response = page.goto(f"{console}{path}")
        assert response is not None
        assert response.ok, path
        found += _serious(page, path)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 390, "height": 844})
        found += _serious(page, f"{path} in the dark", {"runOnly": ["color-contrast"]})
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            found.append(f"{path} is {width} wide on a phone")
        found += [f"{path}: {wrong}" for wrong in opened.wrong]
        page.close()
    assert found == []


def _serious(page: Page, where: str, options: dict[str, Any] | None = None) -> list[str]:
    violations: list[dict[str, Any]] = axe.Axe().run(page, options=options).response["violations"]
    return [
        f"{where}: {each['id']}: {node['html'][:160]}"
        for each in violations
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_every_page_is_read_without_scripts_and_tells_its_command_line(
    console: str, browser: Browser
) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    for path in PATHS:
        page = context.new_page()
        page.goto(f"{console}{path}")
        assert page.locator("h1").first.inner_text().strip(), path
        if path in LISTED:
            assert page.get_by_text("The same on the command line").count(), path
        page.close()
    context.close()
