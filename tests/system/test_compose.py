"""The generated stack in a real container engine, as `docker compose up --build -d --wait` brings it up."""

import shutil
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from curl_lines import await_status, readme_curls, type_in
from stack import REPOSITORY

pytestmark = pytest.mark.slow

URL = "http://localhost:8080"
PROJECT = "sagagen-compose-test"


def engine_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def compose(*words: str, check: bool = True) -> str:
    done = subprocess.run(
        ["docker", "compose", "-p", PROJECT, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stack() -> Iterator[None]:
    if not engine_answers():
        pytest.skip("no container engine answers here")
    try:
        compose("up", "--build", "-d", "--wait")
        yield
    finally:
        compose("down", "-v", "--timeout", "5", check=False)


def test_both_lines_of_the_readme_work_under_compose(stack: None) -> None:
    good, bad = readme_curls()
    status, order = type_in(good, URL)
    assert (status, order["status"]) == (201, "PENDING")
    await_status(URL, order["order_id"], "CONFIRMED")

    before = httpx.get(f"{URL}/products/prod_1/stock").json()
    status, refused = type_in(bad, URL)
    assert (status, refused["status"]) == (201, "PENDING")
    cancelled = await_status(URL, refused["order_id"], "CANCELLED")
    assert cancelled["cancel_reason"] == "PAYMENT_LIMIT_EXCEEDED"
    assert httpx.get(f"{URL}/products/prod_1/stock").json() == before


def test_what_was_accepted_outlives_the_kill_of_every_container(stack: None) -> None:
    _, order = type_in(readme_curls()[0].replace("task-001", "task-002"), URL)
    compose("kill", "-s", "SIGKILL")
    compose("up", "-d", "--wait")
    await_status(URL, order["order_id"], "CONFIRMED")
