"""A mesh of real processes whose certificates change, and then their CA, while orders come in."""

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from placing_orders import assert_all_ended_well
from stack import REPOSITORY, Stack, keyed, order_body
from waiting import LIMIT_S, eventually_async

pytestmark = pytest.mark.slow

PER_S = 25
CALLED = 3
"""Services that the gateway has connections to."""


def certs_dev(folder: Path, *options: str) -> str:
    words = [sys.executable, "-m", "sagagen", "certs", "dev", "--project", str(REPOSITORY)]
    return subprocess.run(
        [*words, "--out", str(folder), *options], capture_output=True, text=True, check=True, timeout=LIMIT_S
    ).stdout


class Orders:
    """So many each second, and as fast as the machine is."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.accepted: list[str] = []
        self.answers: Counter[int] = Counter()

    async def send(self) -> None:
        """Until it is cancelled; then those under way are waited for."""
        async with asyncio.TaskGroup() as group:
            number = 0
            try:
                while True:
                    await asyncio.sleep(1 / PER_S)
                    number += 1
                    group.create_task(self._one(number))
            except asyncio.CancelledError:
                pass

    async def _one(self, number: int) -> None:
        answer = await self._client.post("/orders", json=order_body(0.5), headers=keyed(f"load-{number}"))
        stock = await self._client.get("/products/prod_1/stock")
        self.answers.update([answer.status_code, stock.status_code])
        if answer.status_code in (201, 202):
            body = answer.json()
            self.accepted.append(body.get("order_id") or body["id"])


async def test_no_order_fails(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "certs"
    assert f"SAGAGEN_TLS_DIR={folder} sagagen up --mesh" in certs_dev(folder)
    monkeypatch.setenv("SAGAGEN_TLS_DIR", str(folder))
    stack.start("mesh")

    def renewed() -> int:
        return stack.log_path.read_text().count("calls go by the new certificates")

    async with httpx.AsyncClient(base_url=stack.url, timeout=LIMIT_S) as client:
        orders = Orders(client)
        sending = asyncio.create_task(orders.send())
        await eventually_async("orders", lambda: len(orders.accepted), lambda count: count >= PER_S)
        await asyncio.to_thread(certs_dev, folder)
        await eventually_async("new certificates", renewed, lambda count: count >= CALLED)
        before = renewed()
        await asyncio.to_thread(certs_dev, folder, "--new-ca")
        # First the CA is believed, then certificates are by it.
        await eventually_async("a new CA", renewed, lambda count: count >= before + 2 * CALLED)
        seen = len(orders.accepted)
        await eventually_async(
            "orders after that", lambda: len(orders.accepted), lambda count: count >= seen + PER_S
        )
        sending.cancel()
        await sending
    assert set(orders.answers) <= {200, 201, 202}, orders.answers
    assert_all_ended_well(stack, orders.accepted)
    log = stack.log_path.read_text()
    for line in ("can't be renewed", "handshake failed", "Traceback", "no answer from", "calls are refused"):
        assert line not in log, next(each for each in log.splitlines() if line in each)
