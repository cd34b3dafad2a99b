"""`sagagen up --watch` in a real terminal: what is saved is served, what is broken is shown, and nothing is lost."""

import os
import re
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import httpx
import pexpect
import pytest
from project_copy import copy_project, edit, generate
from stack import free_ports, heed_interrupts, patient_client
from waiting import LIMIT_S, eventually

pytestmark = pytest.mark.slow
COLOUR = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
WIDTH = 80
IF = "if request.amount < 0"


class Watched:
    """A project under `sagagen up`, the terminal that it was typed into, and its HTTP port."""

    def __init__(self, root: Path, option: str = "--watch") -> None:
        self.root = root
        self.handler = root / "handlers" / "counter.py"
        http, admin = free_ports(2)
        self.client = patient_client(f"http://127.0.0.1:{http}")
        environment = {"SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}", "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}"}
        self.terminal: pexpect.spawn[str] = pexpect.spawn(
            sys.executable,
            ["-m", "sagagen", "up", option],
            cwd=root,
            env={**os.environ, **environment, "TERM": "xterm-256color"},
            encoding="utf-8",
            dimensions=(50, WIDTH),
            timeout=LIMIT_S,
            preexec_fn=heed_interrupts,
        )

    def says(self, *what: str) -> str:
        """Wait until the terminal has shown all of this, in this order. Returns what it showed, without colours."""
        shown = ""
        for each in what:
            self.terminal.expect_exact(each)
            shown += f"{self.terminal.before}{each}"
        return COLOUR.sub("", shown)

    def count(self, amount: int) -> tuple[int, int]:
        """The status and the total of one request."""
        answer = eventually("an answer", lambda: self._post(amount), despite=(httpx.TransportError,))
        return answer.status_code, int(answer.json().get("total", 0))

    def _post(self, amount: int) -> httpx.Response:
        return self.client.post("/count", json={"amount": amount})


@pytest.fixture
def watched(tmp_path: Path) -> Generator[Watched]:
    made = Watched(generate(copy_project("tiny", tmp_path / "tiny")))
    yield made
    made.terminal.close(force=True)


def test_what_is_saved_is_served_and_what_is_broken_is_shown(watched: Watched) -> None:
    watched.says("Try:")
    assert watched.count(5) == (200, 5)
    watched.says("add", "done", "count_up", "COMPLETED")

    # A burst of saves is served once, with the data of before.
    whole = watched.handler.read_text()
    for factor in (2, 3, 4, 5, 10):
        watched.handler.write_text(whole.replace("(request.amount,)", f"(request.amount * {factor},)"))
    shown = watched.says("saved: handlers/counter.py", "s after the save")
    assert shown.count("served") == 1
    assert watched.count(1) == (200, 15)

    # What can't be imported is shown, and the version before goes on.
    watched.handler.write_text("def broken(:\n")
    watched.says("handlers/counter.py:1: SyntaxError", "the version before goes on")
    assert watched.count(1) == (200, 25)

    # So is a contract with a mistake, beside a handler that is mended.
    edit(watched.root / "contracts" / "saga.yaml", {"counter/Add": "counter/Ad"})
    watched.says("error[SG065]", "generated/ stays as it is")
    watched.handler.write_text(whole)
    watched.says("s after the save")
    assert watched.count(1) == (200, 26)
    edit(
        watched.root / "contracts" / "saga.yaml", {"counter/Ad": "counter/Add", "status: 200": "status: 201"}
    )
    watched.says("generated: ", "s after the save")
    assert watched.count(1) == (201, 27)

    # A saga that is open at a restart goes on in the next version. Its first failure is told with its error.
    edit(
        watched.handler,
        {"if request.amount < 0": "raise OSError('no route to the bank')\n        if request.amount < 0"},
    )
    watched.says("s after the save")
    answer = watched.client.post("/count", json={"amount": 100}, headers={"Prefer": "respond-async"})
    saga_id = answer.headers.get("location", "").rpartition("/")[2] or answer.json()["saga_id"]
    watched.says("the handler failed")
    watched.handler.write_text(whole)
    watched.says("s after the save", "COMPLETED")
    assert watched.client.get(f"/sagas/{saga_id}").json()["status"] == "COMPLETED"

    # Nothing that a later save could be taken for is kept.
    assert not [*watched.root.rglob("*.pyc")]

    # Ctrl-C ends everything.
    watched.terminal.sendintr()
    watched.says("stopping")
    watched.terminal.expect(pexpect.EOF)
    watched.terminal.close()
    assert watched.terminal.exitstatus == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{watched.client.base_url}/healthz")


def test_a_handler_that_ends_the_process_is_reported_and_the_next_save_starts_it_again(
    watched: Watched,
) -> None:
    watched.says("Try:")
    whole = watched.handler.read_text()
    edit(watched.handler, {IF: f"import os; os._exit(3)\n        {IF}"})
    watched.says("s after the save")
    with pytest.raises(httpx.TransportError):
        watched.client.post("/count", json={"amount": 100})
    watched.says("the mesh has ended by itself")
    watched.handler.write_text(whole)
    watched.says("s after the save", "COMPLETED")


def test_a_project_that_has_never_been_generated_waits_for_a_contract_without_mistakes(
    watched: Watched, tmp_path: Path
) -> None:
    watched.terminal.close(force=True)
    root = copy_project("tiny", tmp_path / "new")
    shutil.rmtree(root / "handlers")
    edit(root / "contracts" / "saga.yaml", {"counter/Add": "counter/Ad"})
    new = Watched(root)
    try:
        new.says("error[SG065]")
        edit(root / "contracts" / "saga.yaml", {"counter/Ad": "counter/Add"})
        new.says("created handlers/counter.py", "Try:")
        new.client.post("/count", json={"amount": 1})
        new.says("a handler is not written yet", "handlers/counter.py:")
    finally:
        new.terminal.close(force=True)


def test_up_alone_says_when_the_contract_has_gone_on(tmp_path: Path) -> None:
    up = Watched(generate(copy_project("tiny", tmp_path / "tiny")), "--debug")
    try:
        up.says("debugging: no time-outs", "ready")
        edit(up.root / "contracts" / "saga.yaml", {"status: 200": "status: 201"})
        up.says("generated/ is behind the contract")
        edit(up.root / "contracts" / "saga.yaml", {"status: 201": "status: 2000"})
        up.says("the contract has mistakes")
    finally:
        up.terminal.close(force=True)
