"""A handler that ignores its cancellation, or holds the process, keeps no process from ending in its grace period."""

import json
import threading
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from project_copy import WRITTEN, copy_project, edit
from stack import Stack, keyed, order_body, place_order
from thorough import chosen
from waiting import LIMIT_S, eventually, under_load

pytestmark = pytest.mark.slow

DEAF = """
import asyncio
import time
from pathlib import Path

ENTERED = Path(__file__).parent / "entered"


async def be(way: str) -> None:
    if way == "deaf":
        note(way)
        while True:
            try:
                await asyncio.sleep(0.05)
            except BaseException:
                pass
    if way == "holding":
        note(way)
        time.sleep(3600)
    if way == "spinning":
        note(way)
        while True:
            pass


def note(way: str) -> None:
    with ENTERED.open("a") as file:
        file.write(f"{way}\\n")
"""
HANDLERS = {
    "from generated.services.order import": "from handlers.deaf import be\nfrom generated.services.order import",
    "        now = call.now\n        order = Order(": (
        "        await be(request.customer_id)\n        now = call.now\n        order = Order("
    ),
    '        rows = await call.db.fetch("SELECT * FROM orders WHERE order_id = ?"': (
        "        await be(request.order_id)\n"
        '        rows = await call.db.fetch("SELECT * FROM orders WHERE order_id = ?"'
    ),
}
HOOK = {
    '    return "anonymous"': '    await be(request.headers.get("x-way", ""))\n    return "anonymous"',
    "from sagagen.runtime import": "from handlers.deaf import be\nfrom sagagen.runtime import",
}


@pytest.fixture
def stack(tmp_path: Path) -> Generator[Stack]:
    root = copy_project("shop", tmp_path / "shop", (*WRITTEN, "generated"))
    (root / "handlers" / "deaf.py").write_text(DEAF)
    edit(root / "handlers" / "order.py", HANDLERS)
    edit(root / "gateway" / "app.py", HOOK)
    with closing(Stack(tmp_path / "var", root=root)) as stack:
        yield stack


def send(method: str, url: str, **options: Any) -> None:
    """From a thread: there may be no answer."""

    def ask() -> None:
        with suppress(httpx.TransportError):
            httpx.request(method, url, timeout=LIMIT_S, **options)

    threading.Thread(target=ask, daemon=True).start()


def place(stack: Stack, way: str) -> None:
    send("POST", f"{stack.url}/orders", json=order_body() | {"customer_id": way}, headers=keyed(way))


def entered(stack: Stack, count: int) -> None:
    file = stack.root / "handlers" / "entered"
    eventually(
        "the handlers to be at it",
        lambda: len(file.read_text().split()) if file.exists() else 0,
        lambda found: found >= count,
    )


def lines(stack: Stack) -> list[dict[str, Any]]:
    said = stack.log_path.read_text().splitlines()
    return [json.loads(line) for line in said if line.startswith("{")]


def of_saga(stack: Stack, saga_id: str) -> str:
    """Its trace."""
    rows = stack.rows("saga-log", "SELECT saga_id, trace_id FROM saga")
    return {row["saga_id"]: row["trace_id"] for row in rows}[saga_id]


@pytest.mark.parametrize("topology", chosen(["up", "order"], first=1))
def test_deaf_handlers_are_named_and_left_behind(stack: Stack, topology: str) -> None:
    if topology == "up":
        stack.start("up")
    else:
        stack.start_each()
    place_order(stack, "calm")  # whose turns set the timer that finds the deaf one out
    place(stack, "deaf")
    send("GET", f"{stack.url}/orders/deaf")
    send("GET", f"{stack.url}/orders/x", headers={"x-way": "deaf"})
    entered(stack, 3)
    code, took_s = stack.terminate(topology)
    said = stack.log_path.read_text()
    assert code == 0, said[-4000:]
    assert took_s < under_load(11)
    left = [line for line in lines(stack) if line["message"].endswith("it is left behind")]
    rpcs = {line["rpc"] for line in left}
    assert rpcs == {"/shop.order.v1.OrderService/CreateOrder", "/shop.order.v1.OrderService/GetOrder"}
    (write,) = [line for line in left if line["rpc"].endswith("CreateOrder")][:1]
    assert (write["step"], write["service"]) == ("create_order", "order")
    (lost,) = [line for line in lines(stack) if line["message"].endswith("it has lost its turn")][:1]
    assert {key: lost[key] for key in ("saga_id", "step", "rpc")} == {
        key: write[key] for key in ("saga_id", "step", "rpc")
    }, "the timer runs for all calls, and its line is about the one that was deaf"
    assert lost["trace_id"] == of_saga(stack, lost["saga_id"])
    assert "Timeout" not in said, "it ends by itself, not by force"


@pytest.mark.parametrize("way", chosen(["holding", "spinning"], first=1))
def test_a_handler_that_holds_the_process_does_not_hold_its_end(stack: Stack, way: str) -> None:
    """The event loop never learns of the signal; the end is by force, and says where the handler is."""
    stack.start("up")
    place(stack, way)
    entered(stack, 1)
    code, took_s = stack.terminate("up")
    said = stack.log_path.read_text()
    assert code == 1, said[-4000:]
    assert took_s < under_load(13)
    assert "deaf.py" in said, "the stack names the handler"
    assert "Timeout (0:00:11)!" in said
