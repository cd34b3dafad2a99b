"""`sagagen diff` as it is typed: what it compares with, what it prints, how it exits."""

import asyncio
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from contract_pair import ROOT, SAGA_YAML, edited, write_project
from shop_mesh import PLACE_ORDER
from small_mesh import running_services
from test_diff_tells_the_truth import begin, go_on

from generated.mesh import MESH
from sagagen.cli.diff import diff as diff_command
from sagagen.runtime.saga.events import SagaStatus
from sagagen.workspace.versions import bump

REFUND = "        compensate: { call: payment/RefundPayment, request: { order_id: saga.id } }\n"
NO_REFUND = (SAGA_YAML, REFUND, "        compensate: none\n")
STATUS = (SAGA_YAML, "status: 201", "status: 200")
READERS: dict[str, Callable[[str], object]] = {
    "json": lambda text: [row["code"] for row in json.loads(text) if row["severity"] == "error"],
    "junit": lambda text: [each.attrib for each in ET.fromstring(text).iter("error")],
    "github": lambda text: [line for line in text.splitlines() if line.startswith("::error ")],
    "markdown": lambda text: text,
}


def diff(project: Path, *arguments: str) -> Result:
    """`sagagen diff`, in this process."""
    return CliRunner().invoke(diff_command, ["--project", str(project), *arguments])


def diff_as_typed(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sagagen", "diff", "--project", str(project), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)


def git(project: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=project, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The shop's contract in git, one folder down, as in a repository of several projects."""
    project = tmp_path / "repository" / "shop"
    write_project(project, [])
    git(tmp_path, "init", "-q", "-b", "main", "repository")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "as it was")
    return project


def edit(project: Path, path: str, old: str, new: str) -> None:
    (project / path).write_text(edited((project / path).read_text(), old, new))


def test_the_work_tree_is_compared_with_a_commit_and_stays_as_it_is(repository: Path):
    edit(repository, *STATUS)
    before = (repository / SAGA_YAML).read_text()
    done = diff_as_typed(repository, "--against", "main")
    assert done.returncode == 1
    assert "breaking[SD506]: place_order: status 201 -> 200" in done.stdout
    assert (repository / SAGA_YAML).read_text() == before


def test_a_contract_that_could_not_work_can_be_compared_with_its_cure(repository: Path):
    """A newer release refuses it, and the way out of it must not be barred."""
    right, wrong = "call: inventory/ReleaseStock", "call: order/ConfirmOrder"
    edit(repository, SAGA_YAML, right, wrong)
    git(repository, "commit", "-q", "-am", "undone elsewhere")
    assert "SG080" in diff(repository, "--against", "HEAD").stderr
    git(repository, "checkout", "-q", "HEAD~1", "--", SAGA_YAML)
    cured = diff(repository, "--against", "HEAD")
    assert cured.exit_code == 1
    assert "breaking[SD203]" in cured.stdout
    assert diff(repository, "--against", "HEAD~1").exit_code == 0


def test_nothing_changed_exits_0(repository: Path):
    done = diff(repository, "--against", "HEAD")
    assert (done.exit_code, done.stdout) == (0, "no changes against HEAD\n")


def test_a_warning_exits_0(repository: Path):
    edit(repository, SAGA_YAML, "key: required", "key: optional")
    assert diff(repository, "--against", "HEAD").exit_code == 0


@pytest.mark.parametrize(
    ("against", "says"),
    [
        ("nothing", "neither a folder nor a commit that git knows"),
        ("--output=x", "neither a folder nor a commit"),
        (str(ROOT / "docs"), "has no contracts/saga.yaml"),
    ],
)
def test_what_cannot_be_compared_with_exits_2(repository: Path, against: str, says: str):
    done = diff(repository, f"--against={against}")
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())


def test_a_contract_with_errors_exits_2_and_names_them(repository: Path):
    edit(repository, SAGA_YAML, "call: payment/ChargePayment", "call: payment/Charge")
    done = diff(repository, "--against", "HEAD")
    assert done.exit_code == 2
    assert "SG065" in done.stderr


@pytest.mark.parametrize(("form", "reads"), READERS.items())
def test_a_contract_with_errors_is_told_in_the_form_that_is_asked_for(
    repository: Path, form: str, reads: Callable[[str], object]
):
    edit(repository, SAGA_YAML, "payment/ChargePayment", "payment/ChargePaymnt")
    done = diff(repository, "--against", "main", "--format", form)
    assert done.exit_code == 2
    assert "Usage" not in done.stderr
    assert done.stderr.endswith("there is nothing to compare\n")
    assert "SG065" in str(reads(done.stdout))


def test_programs_read_json(repository: Path):
    edit(repository, *NO_REFUND)
    rows = json.loads(diff(repository, "--against", "HEAD", "--format", "json").stdout)
    assert {row["code"]: row["severity"] for row in rows} == {"SD004": "breaking", "SD201": "breaking"}
    removed = next(row for row in rows if row["code"] == "SD201")
    assert (removed["path"], removed["subject"]) == (SAGA_YAML, "place_order/charge_payment")
    assert removed["line"] > 1


def test_a_pull_request_is_annotated(repository: Path):
    edit(repository, *STATUS)
    lines = diff(repository, "--against", "HEAD", "--format", "github").stdout.splitlines()
    assert any(line.startswith(f"::error file={SAGA_YAML},line=") and "SD506" in line for line in lines)


def test_a_build_server_reads_junit(repository: Path):
    edit(repository, *STATUS)
    suites = ET.fromstring(diff(repository, "--against", "HEAD", "--format", "junit").stdout)
    (suite,) = suites.findall("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    assert {failure.get("type") for failure in suite.iter("failure")} == {"SD004", "SD506"}


def test_a_pull_request_shows_the_steps_before_and_after(repository: Path):
    edit(repository, *NO_REFUND)
    text = diff(repository, "--against", "HEAD", "--format", "markdown").stdout
    before, after = text.split("after (version 1):")
    assert "| 3 | charge_payment | `payment/ChargePayment` | `payment/RefundPayment` |" in before
    assert "| 3 | charge_payment | `payment/ChargePayment` | - |" in after


def waive(project: Path, until: str) -> None:
    text = (
        f'\nwaivers:\n  - {{ rule: SD403, at: place_order, reason: "nobody retries yet", until: {until} }}\n'
    )
    (project / SAGA_YAML).write_text((project / SAGA_YAML).read_text() + text)


def test_a_waiver_makes_a_warning_of_what_breaks(repository: Path):
    edit(repository, SAGA_YAML, "on_concurrent: conflict", "on_concurrent: wait")
    waive(repository, "2999-12-31")
    done = diff(repository, "--against", "HEAD")
    assert done.exit_code == 0
    assert "waived until 2999-12-31: nobody retries yet" in done.stdout


def test_a_waiver_that_has_expired_says_so(repository: Path):
    edit(repository, SAGA_YAML, "on_concurrent: conflict", "on_concurrent: wait")
    waive(repository, "2020-01-01")
    done = diff(repository, "--against", "HEAD")
    assert done.exit_code == 1
    assert "expired on 2020-01-01" in done.stdout


async def test_sagas_at_the_step_are_counted_and_once_they_have_drained_nothing_breaks(
    repository: Path, tmp_path: Path
):
    edit(repository, *NO_REFUND)
    log = str(tmp_path / "saga-log.db")
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports, price=50.0)
        done = await asyncio.to_thread(diff_as_typed, repository, "--against", "HEAD", "--running", log)
        assert done.returncode == 1
        assert "breaking[SD201]: place_order/charge_payment" in done.stdout
        assert "1 open saga (1 at charge_payment), the oldest for" in done.stdout
        view = await go_on(tmp_path, transports, [PLACE_ORDER])
        assert view.status is SagaStatus.COMPLETED
    done = await asyncio.to_thread(diff_as_typed, repository, "--against", "HEAD", "--running", log)
    assert done.returncode == 0
    assert "safe[SD201]" in done.stdout
    assert "no open saga is hit" in done.stdout
    assert "looked at 0 open sagas" in done.stdout


def test_what_is_no_log_is_named(repository: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("not a log")
    done = diff(repository, "--against", "HEAD", "--running", str(tmp_path / "notes.txt"))
    assert done.exit_code == 2
    assert (
        "can't be read as a saga log" in " ".join(done.stderr.split())
        or "can't be read as a database" in done.stderr
    )


def test_a_gateway_that_does_not_answer_is_named(repository: Path):
    done = diff(repository, "--against", "HEAD", "--running", "http://127.0.0.1:9")
    assert done.exit_code == 2
    assert "127.0.0.1:9" in done.stderr


def check(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sagagen", "check", "--project", str(project), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)


async def test_a_kept_version_is_needed_until_its_last_saga_is_over(repository: Path, tmp_path: Path):
    bump(repository, "place_order")
    log = str(tmp_path / "saga-log.db")
    async with running_services(MESH, tmp_path) as transports:
        await begin(tmp_path, transports, price=50.0)
        done = await asyncio.to_thread(check, repository, "--running", log)
        assert (done.returncode, done.stdout) == (0, "")
        await go_on(tmp_path, transports, [PLACE_ORDER])
    done = await asyncio.to_thread(check, repository, "--running", log)
    assert done.returncode == 0
    assert "warning[SG093]: version 1 of place_order is kept" in done.stdout
