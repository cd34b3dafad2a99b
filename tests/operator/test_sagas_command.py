"""`sagagen sagas` as a command, against real processes and the log that they leave."""

import json
import sqlite3
import subprocess
import sys
from contextlib import chdir, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from stack import Stack, place_order, sagas_at
from waiting import LIMIT_S, eventually

from sagagen.cli import main
from sagagen.cli.sagas_place import line_of_step, place_in_contract
from sagagen.cli.sagas_table import print_saga, print_stats

pytestmark = pytest.mark.slow


class Said(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def sagas(stack: Stack, *arguments: str) -> Said:
    """In this process: to import what a command needs takes longer than the command."""
    with chdir(stack.root):
        done = CliRunner().invoke(main, ["sagas", *arguments], env=stack.environment("gateway"))
    return Said(done.exit_code, done.stdout, done.stderr)


def sagas_as_typed(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sagagen", "sagas", *arguments],
        env=stack.environment("gateway"),
        cwd=stack.root,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def asked(stack: Stack, *arguments: str) -> Any:
    answer = sagas(stack, *arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def seen(stack: Stack, path: str) -> Any:
    """What the admin listener itself says: for asking often."""
    response = stack.admin.get(path)
    return response.json() if "json" in response.headers["content-type"] else response.text


def await_status(stack: Stack, saga_id: str, status: str) -> None:
    eventually(
        f"saga {saga_id} to be {status}",
        lambda: seen(stack, f"/sagas/{saga_id}")["status"],
        lambda found: found == status,
    )


def await_payment(stack: Stack) -> None:
    eventually("a saga at its payment", lambda: sagas_at(stack, "charge_payment"))


def log_of(stack: Stack) -> Path:
    return stack.data_dir / "saga-log.db"


def set_digest(stack: Stack, digest: str) -> str:
    with closing(sqlite3.connect(log_of(stack), isolation_level=None)) as connection:
        (before,) = connection.execute("SELECT digest FROM saga WHERE status = 'RUNNING'").fetchone()
        connection.execute("UPDATE saga SET digest = ? WHERE status = 'RUNNING'", (digest,))
    return before


def test_an_operator_finds_and_cancels_an_order_and_the_log_at_rest_remembers_it(stack: Stack) -> None:
    stack.start("up")
    with stack.holding_writes("payment"):
        order_id = place_order(stack, "cancelled")
        await_payment(stack)
        listed = sagas_as_typed(stack, "list", "--service", "payment")
        assert [order_id in line for line in listed.stdout.splitlines()] == [False, True]
        assert asked(stack, "list", "--service", "order") == {"sagas": []}
        locked = sagas(stack, "list", "--log", str(log_of(stack)))
        assert (locked.returncode, "is in use by process" in locked.stderr) == (1, True)
        text = (stack.root / "contracts" / "saga.yaml").read_text().splitlines()
        line = next(n for n, each in enumerate(text, 1) if "name: charge_payment" in each)
        assert f"contracts/saga.yaml:{line}\n" in sagas(stack, "show", order_id).stdout
        cancelled = asked(stack, "cancel", order_id, "--by", "ann", "--note", "wrong address")
        assert cancelled["operators"][0]["note"] == "wrong address"
    await_status(stack, order_id, "COMPENSATED")
    assert 'sagagen_sagas_ended_total{saga="place_order",status="COMPENSATED",version="1"} 1.0' in seen(
        stack, "/metrics"
    )
    stack.terminate("up")
    at_rest = sagas(stack, "show", order_id, "--log", str(log_of(stack)))
    assert "ann cancelled: wrong address" in at_rest.stdout
    assert "cust_123" not in at_rest.stdout
    assert "COMPENSATED" in sagas(stack, "stats", "--log", str(log_of(stack))).stdout
    unreached = sagas(stack, "stats")
    assert (unreached.returncode, "--log var/saga-log.db" in unreached.stderr) == (1, True)


def test_a_version_that_the_code_lacks_is_named_and_its_saga_goes_on_after_the_deployment(
    stack: Stack,
) -> None:
    stack.start("up")
    with stack.holding_writes("payment"):
        order_id = place_order(stack, "waits")
        await_payment(stack)
        stack.kill("up")
    digest = set_digest(stack, "0" * 64)
    stack.start("up")
    shown = asked(stack, "show", order_id)
    assert (shown["status"], "place_order version 1" in shown["waiting_for"]) == ("RUNNING", True)
    refused = sagas(stack, "cancel", order_id)
    assert (refused.returncode, "deployment" in refused.stderr) == (1, True)
    waiting = 'sagagen_sagas_waiting_for_version{saga="place_order",version="1"}'
    assert f"{waiting} 1.0\n" in seen(stack, "/metrics")
    stack.terminate("up")
    set_digest(stack, digest)
    stack.start("up")
    await_status(stack, order_id, "COMPLETED")
    assert f"{waiting} 0.0\n" in seen(stack, "/metrics")


def test_a_damaged_log_stops_the_start_with_a_message(stack: Stack) -> None:
    stack.data_dir.mkdir()
    log_of(stack).write_bytes(b"no log " * 1000)
    started = subprocess.run(
        stack.command("up"),
        env=stack.environment("up"),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert started.returncode == 1
    assert "saga-log.db is damaged" in started.stderr
    assert "Traceback" not in started.stderr
    assert log_of(stack).read_bytes() == b"no log " * 1000


def test_the_step_of_the_right_saga_is_found_in_the_contract() -> None:
    text = """sagas:
  refund:
    steps:
      - name: charge
  # place: not this one
  "place":
    trigger: charge
    steps:
      - call: payment/Charge
        name: 'charge'  # here

  other:
    steps:
      - name: late"""
    lines: list[str] = [*text.splitlines()]
    assert line_of_step(lines, "place", 1, "charge") == 10
    assert line_of_step(lines, "refund", 1, "charge") == 4
    assert line_of_step(lines, "place", 1, "late") == 0
    assert line_of_step(lines, "place", 1, "") == 0


def test_the_line_is_that_of_the_saga_s_own_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept version is in a file of its own; what is in saga.yaml is another one."""
    kept = tmp_path / "contracts" / "sagas"
    kept.mkdir(parents=True)
    now = "sagas:\n  place:\n    version: 3  # now\n    steps:\n      - name: charge\n"
    (tmp_path / "contracts" / "saga.yaml").write_text(now)
    (kept / "place.v2.yaml").write_text("version: 2\nsteps:\n  - { name: charge, call: payment/Charge }\n")
    monkeypatch.chdir(tmp_path)
    assert place_in_contract("place", 3, "charge") == "contracts/saga.yaml:5"
    assert place_in_contract("place", 2, "charge") == "contracts/sagas/place.v2.yaml:3"
    assert place_in_contract("place", 1, "charge") == "", "it is kept nowhere"


def test_columns_are_plain_where_rich_is_not_installed(capsys: pytest.CaptureFixture[str]) -> None:
    stats = {
        "versions": {"1": {"unfinished": 0, "can_go": True}, "2": {"unfinished": 3, "can_go": False}},
        "in_flight": 2,
        "stuck": 1,
        "oldest_unfinished_age_s": 3700.5,
        "ended": {"COMPLETED": 7},
    }
    print_stats({"sagas": {"place_order": stats}, "log": {"size_bytes": 2_000_000, "is_disk_full": False}})
    assert capsys.readouterr().out.splitlines() == [
        "SAGA         ACTIVE  STUCK  OLDEST  COMPLETED  COMPENSATED  SUPERSEDED",
        "place_order  2       1      1h1m    7          0            0",
        "place_order version 1 can go: no open saga runs on it",
        "the log takes 2.0 MB",
    ]


def test_a_step_s_status_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    statuses = (
        ("DONE", "DONE"),
        ("PASSED_OVER", "DONE"),
        ("PASSED_OVER", "DOUBT"),
        ("NOT_CALLED", "NOT_CALLED"),
        ("IN_DOUBT", "DOUBT"),
        ("GAVE_UP", "DOUBT"),
    )
    print_saga(
        {
            **dict.fromkeys(("id", "explanation", "created_at", "updated_at", "caller", "trace_id"), "x"),
            **dict.fromkeys(("until", "then", "error", "step", "waiting_for")),
            "saga": "place_order",
            "version": 1,
            "status": "COMPENSATED",
            "age_s": 5.0,
            "steps": [
                {
                    "name": f"step_{n}",
                    "path": [],
                    "status": status,
                    "action": action,
                    "attempts": 1,
                    "compensation_attempts": n,
                    "error": None,
                }
                for n, (status, action) in enumerate(statuses)
            ],
            "starts_at": None,
            "unconsumed": [],
            "events": [],
            "commands": [],
            "operators": [],
        }
    )
    assert capsys.readouterr().out.splitlines()[-7:] == [
        "STEP    STATUS                       ATTEMPTS  UNDOING  LAST ERROR",
        "step_0  DONE                         1",
        "step_1  done, nothing to undo        1         1",
        "step_2  unknown, nothing to undo     1         2",
        "step_3  not called                   1         3",
        "step_4  unknown                      1         4",
        "step_5  SKIPPED (may have happened)  1         5",
    ]
