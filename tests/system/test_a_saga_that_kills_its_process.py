"""A saga whose handler ends the process is set aside after the third time; whoever was under way beside it goes on."""

import threading
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
from project_copy import WRITTEN, copy_project, edit
from stack import Stack, keyed, order_body
from waiting import LIMIT_S, eventually

pytestmark = pytest.mark.slow

DEADLY = {
    "        if request.amount_minor > LIMIT_MINOR:": (
        '        if request.customer_id == "deadly":\n'
        "            await asyncio.sleep(0.2)\n"
        "            os._exit(9)\n"
        '        if request.customer_id == "slow":\n'
        "            await asyncio.sleep(0.2)\n"
        "        if request.amount_minor > LIMIT_MINOR:"
    ),
    "from uuid import": "import asyncio\nimport os\nfrom uuid import",
}


@pytest.fixture
def stack(tmp_path: Path) -> Generator[Stack]:
    root = copy_project("shop", tmp_path / "shop", (*WRITTEN, "generated"))
    edit(root / "handlers" / "payment.py", DEADLY)
    with closing(Stack(tmp_path / "var", root=root)) as stack:
        yield stack


def place(stack: Stack, customer: str, key: str) -> None:
    """From a thread: the answer may never come."""

    def send() -> None:
        body = order_body() | {"customer_id": customer}
        with suppress(httpx.TransportError):
            httpx.post(f"{stack.url}/orders", json=body, headers=keyed(key), timeout=LIMIT_S)

    threading.Thread(target=send, daemon=True).start()


def statuses(stack: Stack, customer: str) -> list[str]:
    """Of the sagas of a customer."""
    rows = stack.rows(
        "saga-log",
        "SELECT status, payload FROM saga JOIN event ON event.saga = saga.number WHERE event.kind = 'ACCEPTED'",
    )
    return [row["status"] for row in rows if customer.encode() in row["payload"]]


def deaths_until_set_aside(stack: Stack) -> int:
    """Start the process again whenever it dies, as a supervisor does. How often it died."""
    died = 0
    while True:
        process = stack.begin("up")
        eventually(
            "the saga to be set aside, or the process to die",
            lambda p=process: p.poll() is not None or statuses(stack, "deadly") == ["STUCK"],
        )
        if process.poll() is None:
            return died
        assert process.returncode == 9, stack.log_path.read_text()[-4000:]
        died += 1


def test_the_one_that_kills_is_set_aside_and_the_others_go_on(stack: Stack) -> None:
    stack.start("up")
    for number in range(5):
        place(stack, "slow", f"slow-{number}")
    place(stack, "deadly", "deadly")
    assert stack.processes["up"].wait(timeout=LIMIT_S) == 9
    assert deaths_until_set_aside(stack) == 2, "the first two deaths might have been anybody's"
    eventually("the others to end", lambda: statuses(stack, "slow"), lambda found: found == ["COMPLETED"] * 5)

    stuck = stack.rows("saga-log", "SELECT saga_id FROM saga WHERE status = 'STUCK'")[0]["saga_id"]
    eventually(
        "it to be ready", lambda: stack.http.get("/readyz").is_success, despite=(httpx.TransportError,)
    )
    (failing,) = [
        step for step in stack.http.get(f"/sagas/{stuck}").json()["steps"] if step["status"] == "STUCK"
    ]
    assert failing["name"] == "charge_payment"
    row = stack.rows("saga-log", "SELECT reason, message FROM event WHERE kind = 'STUCK'")[0]
    assert row["reason"] == "PROCESS_DIED"
    assert row["message"] == "the process died 3 times in a row while this call was under way"

    # A retry begins anew: it might have been mended since.
    with suppress(httpx.TransportError):
        stack.admin.post(f"/sagas/{stuck}/retry", json={"by": "test", "note": ""})
    assert stack.processes["up"].wait(timeout=LIMIT_S) == 9
    assert deaths_until_set_aside(stack) == 2


def test_kills_from_outside_set_nobody_aside_who_goes_on(stack: Stack) -> None:
    """Three kills in a row, with orders that wait for a slow payment: each has an answer after that."""
    stack.start_each()
    with stack.holding_writes("payment"):
        for number in range(3):
            place(stack, "calm", f"calm-{number}")
        eventually(
            "all to be under way", lambda: statuses(stack, "calm"), lambda found: found == ["RUNNING"] * 3
        )
        for _ in range(3):
            stack.kill("gateway")
            stack.begin("gateway")  # it is not ready while payment is away, but listens
            eventually(
                "it to have resumed its sagas",
                lambda: stack.admin.get("/healthz").is_success,
                despite=(httpx.TransportError,),
            )
    eventually("all to end", lambda: statuses(stack, "calm"), lambda found: found == ["COMPLETED"] * 3)
    assert stack.terminate("gateway")[0] == 0
    assert not list(stack.data_dir.glob("*.deaths*")), "a process that was told to stop has not died"
