"""Tasks that handlers and hooks make can end an event loop, out of which asyncio raises SystemExit: not this one."""

import signal
from contextlib import closing
from pathlib import Path

import pytest
from project_copy import WRITTEN, copy_project, edit
from stack import Stack, keyed, order_body
from waiting import eventually

pytestmark = pytest.mark.slow

ENDS = """
import asyncio
import sys


async def exit_now() -> None:
    sys.exit(3)


async def interrupt() -> None:
    raise KeyboardInterrupt


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(exit_now())
        await asyncio.sleep(3600)


async def in_a_gather() -> None:
    await asyncio.gather(exit_now(), interrupt())


async def left_behind() -> None:
    asyncio.create_task(exit_now())
    await asyncio.sleep(0.05)
    raise RuntimeError("and the handler fails as well")


async def stop_the_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.05)
    raise RuntimeError("and the handler fails as well")


WAYS = {each.__name__: each for each in (exit_now, interrupt, in_a_group, in_a_gather, left_behind, stop_the_loop)}


async def end(way: str) -> None:
    if way in WAYS:
        await WAYS[way]()
"""
WAYS = ("exit_now", "interrupt", "in_a_group", "in_a_gather", "left_behind", "stop_the_loop")
HANDLERS = {
    "from generated.services.order import": "from handlers.ends import end\nfrom generated.services.order import",
    "        now = call.now\n        order = Order(": (
        "        if call.attempt == 1:\n            await end(request.customer_id)\n"
        "        now = call.now\n        order = Order("
    ),
    '        rows = await call.db.fetch("SELECT * FROM orders WHERE order_id = ?"': (
        "        await end(request.order_id)\n"
        '        rows = await call.db.fetch("SELECT * FROM orders WHERE order_id = ?"'
    ),
}
HOOK = {
    '    return "anonymous"': '    await end(request.headers.get("x-end", ""))\n    return "anonymous"',
    "from sagagen.runtime import": "from handlers.ends import end\nfrom sagagen.runtime import",
}


@pytest.mark.parametrize("topology", ["up", "mesh"])
def test_what_ends_an_event_loop_ends_one_call(tmp_path: Path, topology: str) -> None:
    root = copy_project("shop", tmp_path / "shop", (*WRITTEN, "generated"))
    (root / "handlers" / "ends.py").write_text(ENDS)
    edit(root / "handlers" / "order.py", HANDLERS)
    edit(root / "gateway" / "app.py", HOOK)
    with closing(Stack(tmp_path / "var", root=root)) as stack:
        stack.start(topology)
        for way in WAYS:
            read = stack.http.get(f"/orders/{way}")
            assert (read.status_code, read.json()["code"]) == (500, "INTERNAL"), way
            hook = stack.http.get("/orders/x", headers={"x-end": way})
            assert (hook.status_code, hook.json()["reason"]) == (500, "GATEWAY_FAILED"), way
            write = stack.http.post("/orders", json=order_body() | {"customer_id": way}, headers=keyed(way))
            assert write.status_code == 201, f"the second attempt succeeds: {way}: {write.text}"
        eventually(
            "every order to end",
            lambda: stack.rows("saga-log", "SELECT status FROM saga"),
            lambda rows: [row["status"] for row in rows] == ["COMPLETED"] * len(WAYS),
        )
        said = stack.log_path.read_text()
        assert "code of the project tried to end the process; it goes on" in said
        assert "process ended" not in said
        code, _ = stack.terminate(topology, signal.SIGTERM)
        assert code == 0, stack.log_path.read_text()[-4000:]
