"""The generated stack in a container engine: `docker compose` with some of its files, under a name of its own."""

import json
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from curl_lines import await_status, readme_curls, type_in
from stack import REPOSITORY, keyed, order_body, patient_client
from waiting import eventually


def answers(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class ComposeStack:
    project: str
    files: tuple[str, ...]

    def compose(self, *words: str, check: bool = True) -> str:
        files = [word for file in self.files for word in ("-f", file)]
        done = subprocess.run(
            ["docker", "compose", "-p", self.project, "--profile", "mesh", *files, *words],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def config(self) -> dict[str, Any]:
        """As compose reads the files. Skips where there is no compose."""
        if not (shutil.which("docker") and answers("docker", "compose", "version")):
            pytest.skip("no docker compose here")
        return json.loads(self.compose("config", "--format", "json"))

    @contextmanager
    def running(self, **images: str) -> Generator[None]:
        """Up, and down again with all it had. `images` are those that a stand-in is made for, by its folder's name."""
        if not (shutil.which("docker") and answers("docker", "info")):
            pytest.skip("no container engine answers here")
        for folder, image in images.items():
            if not (answers("docker", "image", "inspect", image) or answers("docker", "pull", image)):
                pytest.skip(f"{image} is not here, and no registry; tests/{folder} makes one")
        try:
            self.compose("up", "--build", "-d", "--wait")
            yield
        finally:
            self.compose("down", "-v", "--timeout", "5", check=False)

    def sql(self, database: str, query: str) -> list[str]:
        asked = ("psql", "-U", "sagagen", "-d", database, "-tAc", query)
        return self.compose("exec", "-T", "postgres", *asked).split()

    def orders_add_up(self, ended: list[str], *, before: int = 0) -> None:
        """What these sagas ended as, and `before` confirmed orders, is what the services' databases hold."""
        assert set(ended) <= {"COMPLETED", "COMPENSATED"}
        confirmed = int(self.sql("order", "SELECT count(*) FROM orders WHERE status = 2")[0])
        assert confirmed == before + ended.count("COMPLETED")
        charged = self.sql("payment", "SELECT count(*) FROM payments WHERE status = 'CHARGED'")
        assert int(charged[0]) == confirmed
        assert int(self.sql("inventory", "SELECT sum(reserved) FROM stock")[0]) == confirmed


def type_readme_lines(url: str) -> None:
    """The two curl lines, and what becomes of their orders."""
    good, bad = readme_curls()
    order, refused = type_in(good, url)[1], type_in(bad, url)[1]
    await_status(url, order.get("order_id") or order["id"], "CONFIRMED")
    cancelled = await_status(url, refused.get("order_id") or refused["id"], "CANCELLED")
    assert cancelled["cancel_reason"] == "PAYMENT_LIMIT_EXCEEDED"


def place_order(url: str, key: str, *, price: float = 50.0) -> str:
    """Sent again until somebody has it. Returns the saga's id."""
    with patient_client(url) as client:
        answer = eventually(
            "an order to be accepted",
            lambda: client.post("/orders", json=order_body(price), headers=keyed(key)),
            lambda answer: answer.status_code in (200, 201, 202, 409, 502),
            despite=(httpx.TransportError,),
            every_s=0.5,
        )
    body = answer.json()
    return body.get("order_id") or body.get("id") or body["saga_id"]


def ending(url: str, saga_id: str) -> str:
    """A saga's status in the end: where the machine is busy, its deadline may come first, and it is undone."""
    with patient_client(url) as client:
        return eventually(
            "the saga to end",
            lambda: client.get(f"/sagas/{saga_id}").json().get("status"),
            {"COMPLETED", "COMPENSATED"}.__contains__,
            despite=(httpx.TransportError,),
        )
