"""What the contract redacts is in no log line, span, error, metric or readable view, wherever it goes wrong."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from otlp_receiver import Received, http_receiver
from shop_invariants import await_terminal
from stack import Stack, keyed

pytestmark = pytest.mark.slow
SHOP = Path(__file__).parents[2]
CANARY = "canary-7f3a"
FIELD = re.compile(r"string customer_id = (\d+)(?: \[[^;]*\])?;")
TALKATIVE = """    async def charge_payment(self, request: ChargePaymentRequest, call: Call) -> ChargePaymentResponse:
        call.logger.warning("about to charge", request=str(request))
        if call.attempt == 1:
            raise RuntimeError(f"can't charge {request}")
"""


@pytest.fixture
def secretive(tmp_path: Path) -> Path:
    """The shop, with customers redacted everywhere, and a payment service that talks about its requests."""
    root = tmp_path / "shop"
    for folder in ("contracts", "handlers", "gateway"):
        shutil.copytree(SHOP / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for proto in ("checkout", "order"):
        file = root / "contracts" / "shop" / proto / "v1" / f"{proto}.proto"
        text, count = FIELD.subn(r"string customer_id = \1 [debug_redact = true];", file.read_text())
        assert count, "the shop's contract has changed: mend this test"
        file.write_text(text)
    handlers = root / "handlers" / "payment.py"
    line = next(each for each in handlers.read_text().splitlines() if "async def charge_payment" in each)
    handlers.write_text(handlers.read_text().replace(line + "\n", TALKATIVE))
    subprocess.run([sys.executable, "-m", "sagagen", "generate", "--project", root], check=True)
    return root


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with http_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "100")
        yield received


@pytest.mark.parametrize("topology", ["up", "mesh"])
def test_a_redacted_value_is_found_in_no_sink(
    secretive: Path, tmp_path: Path, collector: Received, topology: str
) -> None:
    stack = Stack(tmp_path / "var", root=secretive)
    try:
        stack.start(topology)
        item = {"product_id": "prod_1", "quantity": 1, "price": 600.0}
        order = {"customer_id": CANARY, "items": [item]}
        placed = httpx.post(f"{stack.url}/orders", json=order, headers=keyed("a"), timeout=30)
        saga_id = placed.json()["order_id"]
        assert await_terminal(stack, [saga_id]) == {saga_id: "COMPENSATED"}
        seen = {
            f"problem of {bad}": httpx.post(
                f"{stack.url}/orders", json={**order, **bad}, headers=keyed(str(bad)), timeout=30
            ).text
            for bad in (
                {"customer_id": [CANARY]},
                {"customer_id": {CANARY: 1}},
                {"items": [], "customer_id": CANARY},
            )
        }
        seen |= {
            "metrics": httpx.get(f"{stack.admin_url}/metrics").text,
            "status": httpx.get(f"{stack.url}/sagas/{saga_id}").text,
            "admin": httpx.get(f"{stack.admin_url}/sagas/{saga_id}").text,
            "list": httpx.get(f"{stack.admin_url}/sagas?status=ALL").text,
        }
        collector.until(lambda got: any(line.body == "the handler failed" for line in got.lines))
    finally:
        stack.close()
    seen["log"] = stack.log_path.read_text()
    assert "about to charge" in seen["log"]  # it did talk
    assert "[redacted]" in seen["log"]
    assert [where for where, text in seen.items() if CANARY in text] == []
    assert [data for data in collector.raw if CANARY.encode() in data] == []
    assert collector.spans
