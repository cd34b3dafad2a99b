"""Log lines on a terminal: what a stranger put into them is shown, and obeyed by nothing."""

import subprocess
import sys

from click.testing import CliRunner

from sagagen.cli import main

HOSTILE = "\x1b]0;owned\x07 \x9b2J \u202eback\nERROR a line of its own"

SCRIPT = """
import logging, sys
import structlog
from sagagen.runtime.telemetry.logs import configure_logs
configure_logs("console", "gateway")
hostile = sys.argv[1]
structlog.get_logger().warning(hostile, saga_id=hostile, failure=ValueError(hostile))
logging.getLogger("a.library").warning("it said %s", hostile)
try:
    raise ValueError(hostile)
except ValueError:
    structlog.get_logger().exception("it failed")
"""


def test_no_line_of_a_console_log_holds_a_command_of_a_strangers() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, HOSTILE],
        capture_output=True,
        text=True,
        check=True,
        env={"NO_COLOR": "1", "PYTHONUTF8": "1"},
    )
    lines = run.stderr.split("\n")
    assert all(line.isprintable() for line in lines), lines
    assert run.stderr.count(r"\x1b]0;owned\x07") >= 4, run.stderr
    assert not any(line.startswith("ERROR a line of its own") for line in lines[:3]), "it forges no line"


FAILING = """
import structlog
from sagagen.runtime.telemetry.logs import configure_logs
configure_logs("console", "gateway")
def fail(why):
    raise ValueError(why)
for why in ("first", "first", "first", "another"):
    try:
        fail(why)
    except ValueError:
        about = {"saga_id": "5c0e2f9e-0000-5000-8000-000000000001", "rpc": "/a.B/C", "step": "s"}
        structlog.get_logger().exception("it failed", **about)
"""


def test_a_person_reads_a_traceback_that_is_repeated_once() -> None:
    run = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, check=True)
    assert run.stderr.count("Traceback") == 2
    assert [line for line in run.stderr.splitlines() if line.startswith("ValueError")] == [
        "ValueError: first",
        "ValueError: another",
    ]
    assert "saga_id=5c0e2f9e  step=s" in run.stderr, "as the lines of outcomes have it"
    assert "rpc=" not in run.stderr


def test_no_error_of_a_command_holds_one_either() -> None:
    for arguments in (["sagas", "show", HOSTILE], ["explain", HOSTILE], ["up", "--only", HOSTILE]):
        run = CliRunner().invoke(main, arguments)
        assert run.exit_code != 0
        assert all(line.isprintable() for line in run.output.split("\n")), run.output
        assert r"\x1b]0;owned" in run.output
