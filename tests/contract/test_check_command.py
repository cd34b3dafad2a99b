"""`sagagen check`: what a person, a program and a pull request see."""

import json
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from contract_bench import ROOT, SAGA_YAML, edited, shop_files, write_project

from sagagen.cli.check import check
from sagagen.cli.report import as_json, print_diagnostics
from sagagen.diagnostics import Diagnostic, Severity
from sagagen.source import Span

DELIVERY = Path(__file__).with_name("delivery")


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = shop_files(saga=(("call: inventory/ReserveStock", "call: inventory/ReserveStok"),))
    return write_project(tmp_path_factory.mktemp("wrong"), files)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(check, [*arguments])


def test_a_sound_contract_is_summed_up_and_exits_0() -> None:
    result = run("--project", str(ROOT))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "3 services, 1 saga, 3 routes: no findings\n"


def test_a_mistake_is_printed_with_its_place_and_hint_and_exits_1(wrong: Path) -> None:
    result = run("--project", str(wrong))
    assert result.exit_code == 1
    assert result.stdout == (
        'contracts/saga.yaml:39:25: error[SG065]: service "inventory" has no rpc "ReserveStok"\n'
        '  hint: did you mean "ReserveStock" (contracts/shop/inventory/v1/inventory.proto:11:7)?\n'
    )
    assert result.stderr == "1 error\n"


def test_errors_come_last_where_they_are_seen() -> None:
    """A terminal shows the end: one error must not hide among the remarks of a linter."""
    at = [Span(SAGA_YAML, line, 1) for line in range(1, 100)]
    remarks = [Diagnostic(one, Severity.WARNING, "SG002", "a remark") for one in at]
    remarks[40] = Diagnostic(at[40], Severity.ERROR, "SG065", "a mistake", "a cure")
    printed = StringIO()
    print_diagnostics(remarks, printed)
    assert printed.getvalue().splitlines()[-2:] == [f"{at[40]}: error[SG065]: a mistake", "  hint: a cure"]
    assert json.loads(as_json(remarks))[40]["code"] == "SG065", "programs get them by place"


def test_json_is_for_programs(wrong: Path) -> None:
    result = run("--project", str(wrong), "--format", "json")
    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)
    assert (row["path"], row["line"], row["column"]) == (SAGA_YAML, 39, 25)
    assert (row["severity"], row["code"]) == ("error", "SG065")


def test_github_gets_an_annotation(wrong: Path) -> None:
    result = run("--project", str(wrong), "--format", "github")
    assert result.stdout.startswith("::error file=contracts/saga.yaml,line=39,col=25,title=SG065::")


def test_warnings_alone_exit_0(tmp_path: Path) -> None:
    files = shop_files(order=(("  int64 total_minor = 5;", "  int64 totalMinor = 5;"),))
    files[SAGA_YAML] = edited(files[SAGA_YAML], (("total_minor", "totalMinor"),))
    result = run("--project", str(write_project(tmp_path, files)))
    assert result.exit_code == 0
    assert "warning[SG002]" in result.stdout
    assert result.stderr.endswith("1 warning\n")


def test_notes_fail_nothing_and_are_notices_on_github(tmp_path: Path) -> None:
    files = {
        path.relative_to(DELIVERY).as_posix(): path.read_text("utf-8")
        for path in DELIVERY.rglob("*")
        if path.is_file()
    }
    files[SAGA_YAML] = edited(files[SAGA_YAML], ((", allow: caller != ''", ""),))
    project = str(write_project(tmp_path, files))
    result = run("--project", project)
    assert result.exit_code == 0
    assert "note[SG223]: anybody who may call the gateway" in result.stdout
    assert result.stderr.endswith("1 note\n")
    assert run("--project", project, "--format", "github").stdout.startswith(
        "::notice file=contracts/saga.yaml,"
    )
    assert json.loads(run("--project", project, "--format", "json").stdout)[0]["severity"] == "note"


def test_a_folder_that_is_no_project_is_wrong_usage(tmp_path: Path) -> None:
    result = run("--project", str(tmp_path))
    assert result.exit_code == 2
    assert "no contracts/saga.yaml" in result.stderr
