"""What the contract redacts is in no log line, span, error, metric or readable view, wherever it goes wrong."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from otlp_receiver import Received, http_receiver
from project_copy import copy_project, edit, generate
from shop_invariants import await_terminal
from stack import Stack, keyed
from thorough import chosen

pytestmark = pytest.mark.slow
CANARY = "canary-7f3a"
FIELD = re.compile(r"string customer_id = (\d+)(?: \[[^;]*\])?;")
CHARGE = "    async def charge_payment(self, request: ChargePaymentRequest, call: Call) -> ChargePaymentResponse:\n"
TALKATIVE = """        call.logger.warning("about to charge", request=str(request))
        if call.attempt == 1:
            raise RuntimeError(f"can't charge {request}")
"""


@pytest.fixture(scope="module")
def secretive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop, with customers redacted everywhere, and a payment service that talks about its requests."""
    root = copy_project("shop", tmp_path_factory.mktemp("secretive") / "shop")
    for proto in ("checkout", "order"):
        file = root / "contracts" / "shop" / proto / "v1" / f"{proto}.proto"
        text, count = FIELD.subn(r"string customer_id = \1 [debug_redact = true];", file.read_text())
        assert count, "the shop's contract has changed: mend this test"
        file.write_text(text)
    edit(root / "handlers" / "payment.py", {CHARGE: CHARGE + TALKATIVE})
    return generate(root)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with http_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "100")
        yield received


@pytest.mark.parametrize("topology", chosen(["mesh", "up"], first=1))
def test_a_redacted_value_is_found_in_no_sink(
    secretive: Path, tmp_path: Path, collector: Received, topology: str
) -> None:
    with closing(Stack(tmp_path / "var", root=secretive)) as stack:
        stack.start(topology)
        item = {"product_id": "prod_1", "quantity": 1, "price": 600.0}
        order = {"customer_id": CANARY, "items": [item]}
        placed = stack.http.post("/orders", json=order, headers=keyed("a"))
        saga_id = placed.json()["order_id"]
        assert await_terminal(stack, [saga_id]) == {saga_id: "COMPENSATED"}
        mistakes: list[dict[str, object]] = [
            {"customer_id": [CANARY]},
            {"customer_id": {CANARY: 1}},
            {"items": [], "customer_id": CANARY},
        ]
        seen = {
            f"problem of {bad}": stack.http.post(
                "/orders", json={**order, **bad}, headers=keyed(str(bad))
            ).text
            for bad in mistakes
        }
        seen |= {
            "metrics": stack.admin.get("/metrics").text,
            "status": stack.http.get(f"/sagas/{saga_id}").text,
            "admin": stack.admin.get(f"/sagas/{saga_id}").text,
            "list": stack.admin.get("/sagas?status=ALL").text,
        }
        collector.until(
            "the handler's failure", lambda got: any(line.body == "the handler failed" for line in got.lines)
        )
    seen["log"] = stack.log_path.read_text()
    assert "about to charge" in seen["log"]  # it did talk
    assert "[redacted]" in seen["log"]
    assert [where for where, text in seen.items() if CANARY in text] == []
    assert [data for data in collector.raw if CANARY.encode() in data] == []
    assert collector.spans
