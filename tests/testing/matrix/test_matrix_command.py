"""`sagagen test --matrix`, as a person or CI uses it: on the shop, a few rows at a time."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pexpect
import pytest
from click.testing import CliRunner, Result
from stack import REPOSITORY
from thorough import TRIES_ALL

from sagagen.cli import main

pytestmark = pytest.mark.slow

OF_EVERY_KIND = ("turned-back", "straight", "answer", "assign_courier", "reserve", "picked_up", "check_fraud")
ROW = "place_order/charge_payment/answer-lost"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["test", *arguments, "--project", str(REPOSITORY)])


def test_without_a_word_for_what_it_says_what_there_is() -> None:
    result = run()
    assert result.exit_code == 2
    assert "`sagagen test --matrix` plays each way" in result.output
    assert "python -m pytest" in result.output


def test_rows_are_told_and_reported(tmp_path: Path) -> None:
    junit, markdown = tmp_path / "junit.xml", tmp_path / "matrix.md"
    result = run(
        "--matrix", "--only", "*/confirm_order/crash-*", "--junit", str(junit), "--markdown", str(markdown)
    )
    assert result.exit_code == 0, result.output
    assert "confirm_order/crash-between  COMPLETED  ok" in result.output
    assert "3 rows: 3 ok" in result.output
    (suite,) = ElementTree.parse(junit).getroot()
    assert suite.attrib | {"time": ""} == {
        "name": "place_order", "tests": "3", "failures": "0", "errors": "0", "time": "",
    }  # fmt: skip
    assert [case.get("name") for case in suite] == ["crash-before", "crash-between", "crash-after"]
    assert "| confirm_order | 3 | 3 COMPLETED | ok |" in markdown.read_text()


def test_rows_are_named_and_looked_for() -> None:
    named = run("--matrix", "--list", "--only", "reserve_stock/undo").output.splitlines()
    assert "place_order/reserve_stock/undo-keeps-failing" in named
    assert len(named) == 6
    result = run("--matrix", "--only", "no_such_step")
    assert result.exit_code == 1
    assert "no row fits no_such_step; `sagagen test --matrix --list` names all rows" in result.output
    result = run("--matrix", "--only", "reserve_stock", "--debug")
    assert result.exit_code == 2
    assert (
        "--debug plays one row, and 20 fit: place_order/reserve_stock/declined:INSUFFICIENT_STOCK,"
        in result.output
    )


def test_a_breakpoint_stops_in_the_row_s_own_call_and_time_stands_still(tmp_path: Path) -> None:
    """The three plays before it, and the saga that was there before, call the same handler."""
    code = (
        "import handlers.payment as payment; from sagagen.cli import main\n"
        "plain = payment.PaymentService.charge_payment\n"
        "async def charge_payment(self, request, call):\n"
        "    breakpoint()\n"
        "    return await plain(self, request, call)\n"
        "payment.PaymentService.charge_payment = charge_payment\n"
        f"main(['test', '--matrix', '--only', {ROW!r}, '--debug'])\n"
    )
    shell: pexpect.spawn[str] = pexpect.spawn(
        sys.executable, ["-c", code], cwd=str(REPOSITORY), encoding="utf-8", timeout=120, dimensions=(50, 200)
    )
    shell.expect_exact("(Pdb)")
    shell.sendline("p call.attempt, call.step")
    shell.expect_exact("(1, 'charge_payment')")
    shell.sendline("c")
    shell.expect_exact("charge_payment #2: DONE")
    shell.expect_exact("1 row: 1 ok")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0


def test_the_delivery_template_s_matrix_is_green(tmp_path: Path) -> None:
    """A person's answer, branches, a loop and a cancellation, with the samples that the contract's examples give."""
    project, junit = tmp_path / "dinner", tmp_path / "junit.xml"
    command = [sys.executable, "-m", "sagagen"]
    subprocess.run(
        [*command, "init", str(project), "--template", "delivery"], check=True, capture_output=True
    )
    some = [] if TRIES_ALL else [f"--only=place_order/{each}" for each in OF_EVERY_KIND]
    done = subprocess.run(
        [*command, "test", "--matrix", "--junit", str(junit), *some],
        cwd=project,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (suite,) = ElementTree.parse(junit).getroot()
    assert int(suite.attrib["tests"]) >= 60
    assert "no sample reaches it" not in done.stdout
