"""The README's curl lines, typed at a running stack."""

import json
import re
import subprocess
from typing import Any

from stack import REPOSITORY, patient_client
from waiting import LIMIT_S, eventually


def readme_curls() -> list[str]:
    """The two lines that place an order: one that is confirmed, one that is cancelled."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    lines = re.findall(
        r"^ *(curl -X POST http://localhost:8080/orders .*?\}')$", text, re.MULTILINE | re.DOTALL
    )
    assert len(lines) == 2
    return lines


def type_in(command: str, url: str) -> tuple[int, dict[str, Any]]:
    """Run a curl line against `url`. Returns the HTTP status and the JSON body."""
    command = command.replace("http://localhost:8080", url)
    done = subprocess.run(
        ["bash", "-c", f"{command} -sS -w '\\n%{{http_code}}'"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def await_status(url: str, order_id: str, status: str) -> dict[str, Any]:
    """Read an order until it has this status. Returns it."""
    with patient_client(url) as client:
        return eventually(
            f"the order to be {status}",
            lambda: client.get(f"/orders/{order_id}").json(),
            lambda order: order.get("status") == status,
        )
