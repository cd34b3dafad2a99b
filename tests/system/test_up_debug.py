"""`sagagen up --debug` in a real terminal: a breakpoint in a handler opens a prompt, and nothing runs out meanwhile."""

import os
import sys
import threading
from pathlib import Path

import httpx
import pexpect
import pytest
from project_copy import copy_project, edit, generate
from stack import free_ports, heed_interrupts, patient_client
from waiting import LIMIT_S

pytestmark = pytest.mark.slow
PROMPT = "(Pdb) "
HURRIED = {"deadline: 10s": "deadline: 1s"}
"""A saga that would be over by the time that anybody has typed a line."""


def test_a_breakpoint_opens_a_prompt_and_nothing_runs_out_meanwhile(tmp_path: Path) -> None:
    root = copy_project("tiny", tmp_path / "tiny")
    edit(root / "contracts" / "saga.yaml", HURRIED)
    edit(
        root / "handlers" / "counter.py",
        {"        rows = await": "        breakpoint()\n        rows = await"},
    )
    generate(root)
    http, admin = free_ports(2)
    environment = {"SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}", "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}"}
    terminal: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-m", "sagagen", "up", "--debug"],
        cwd=root,
        env={**os.environ, **environment, "TERM": "dumb", "NO_COLOR": "1"},
        encoding="utf-8",
        dimensions=(50, 100),
        timeout=LIMIT_S,
        preexec_fn=heed_interrupts,
    )
    terminal.expect_exact("ready")
    answers: list[httpx.Response] = []
    client = patient_client(f"http://127.0.0.1:{http}")
    request = threading.Thread(
        target=lambda: answers.append(client.post("/count", json={"amount": 5})), daemon=True
    )
    request.start()
    terminal.expect_exact(PROMPT)
    # Longer than the saga's deadline, and than a handler may hold its service's transaction.
    terminal.sendline("import time; time.sleep(1.5)")
    terminal.expect_exact(PROMPT)
    terminal.sendintr()  # is the prompt's own
    terminal.expect_exact("KeyboardInterrupt")
    terminal.sendline("request.amount = 41; n")
    terminal.expect_exact(PROMPT)
    terminal.sendline("p request.amount + 1")
    terminal.expect_exact("42")
    terminal.sendline("c")
    terminal.expect_exact("COMPLETED")
    request.join(LIMIT_S)
    assert (answers[0].status_code, answers[0].json()) == (200, {"total": "41"})

    # One attempt: what fails is not repeated, and an operator may try it again later.
    request = threading.Thread(target=lambda: client.post("/count", json={"amount": 1}), daemon=True)
    request.start()
    terminal.expect_exact(PROMPT)
    terminal.sendline("q")
    terminal.expect_exact("the handler failed")
    terminal.expect_exact("a saga is stuck")
    terminal.sendintr()  # is the mesh's again
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
