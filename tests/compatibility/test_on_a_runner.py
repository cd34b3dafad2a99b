"""Workflows and the action on act, which reads them as GitHub's runner does and runs the steps on this machine.

What they use of others is not fetched. `actions/checkout` is act's own, a copy. `actions/setup-python`
is one of the test's, which makes an environment that sees what is installed here, so that pip installs offline.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from contract_pair import ROOT, SAGA_YAML, edited
from release import at_hand, released
from test_diff_command import git
from thorough import TRIES_ALL, for_a_release

RUN_WITHIN_S = 300
ACT = Path(sys.executable).with_name("act")
SETUP_PYTHON = """
name: setup-python
inputs:
  python-version: { required: true }
runs:
  using: composite
  steps:
    - shell: bash
      env: { ASKED_FOR: "${{ inputs.python-version }}" }
      run: |
        [[ "$ASKED_FOR" = 3.* ]] || { echo "::error::python-version is '$ASKED_FOR'"; exit 1; }
        "$INTERPRETER" -m venv --without-pip "$ENVIRONMENT"
        own=$("$ENVIRONMENT/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
        echo "import site; site.addsitedir('$PACKAGES')" > "$own/here.pth"
        printf '#!/bin/sh\\nexec "%s/bin/python" -m pip "$@"\\n' "$ENVIRONMENT" > "$ENVIRONMENT/bin/pip"
        chmod +x "$ENVIRONMENT/bin/pip"
        echo "$ENVIRONMENT/bin" >> "$GITHUB_PATH"
"""
SETUP_PYTHON_AT = "actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97"
WITH_DEFAULTS = """
name: saga
on: pull_request
jobs:
  saga:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v7
        with: { fetch-depth: 0 }
      - uses: ./
"""
"""As in docs: another project's, but for where the action is."""

pytestmark = pytest.mark.slow


class Ran(NamedTuple):
    """A job, as the runner tells of it."""

    has_succeeded: bool
    events: tuple[dict[str, Any], ...]
    environment: Path
    """Python's, which `actions/setup-python` has made."""

    @property
    def told(self) -> str:
        return "\n".join(event["msg"] for event in self.events)

    @property
    def annotations(self) -> list[dict[str, str]]:
        return [event["kvPairs"] for event in self.events if event.get("command") == "error"]

    @property
    def summary(self) -> str:
        return next((event["content"] for event in self.events if event.get("command") == "summary"), "")

    def output(self, name: str) -> str:
        """An output of the job's own step, which is the action."""
        told = [event for event in self.events if event.get("command") == "set-output"]
        return next(event["arg"] for event in told if event["name"] == name and len(event["stepID"]) == 1)


class Runner:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = folder / "python"
        self._setup_python = folder / "setup-python"
        self._setup_python.mkdir()
        (self._setup_python / "action.yml").write_text(SETUP_PYTHON)
        git(folder, "init", "-q", "-b", "main", "setup-python")
        git(self._setup_python, "add", ".")
        git(self._setup_python, "commit", "-q", "-m", "stand-in")

    def pull_request(self, repository: Path, job: str, *, to: str) -> Ran:
        """Run a job for what is checked out, as a pull request to a branch."""
        shutil.rmtree(self._environment, ignore_errors=True)
        event = self._folder / "event.json"
        event.write_text(json.dumps({"pull_request": {"base": {"ref": to}}, "repository": {}}))
        done = subprocess.run(
            [
                *(str(ACT), "pull_request", "--job", job, "--eventpath", str(event), "--json"),
                *("--platform", "ubuntu-latest=-self-hosted", "--no-cache-server"),
                *("--action-cache-path", str(self._folder / "cache")),
                *("--local-repository", f"{SETUP_PYTHON_AT}={self._setup_python}"),
                *self._environment_of_steps(),
            ],
            cwd=repository,
            env={**os.environ, "HOME": str(self._folder), "XDG_CACHE_HOME": str(self._folder / "cache")},
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_WITHIN_S,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        return Ran(done.returncode == 0, tuple(json.loads(line) for line in lines), self._environment)

    def _environment_of_steps(self) -> Iterator[str]:
        variables = {
            "INTERPRETER": sys.executable,
            "ENVIRONMENT": str(self._environment),
            "PACKAGES": sysconfig.get_path("purelib"),
            "PATH": f"{ACT.parent}:{os.environ['PATH']}",  # buf, which is no library
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that there is none
            "PIP_NO_COMPILE": "0",  # the same; what is not imported is never compiled
        }
        for name, value in variables.items():
            yield from ("--env", f"{name}={value}")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    folder = tmp_path / "runner"
    folder.mkdir()
    return Runner(folder)


@pytest.fixture
def branch(tmp_path: Path) -> Path:
    """A branch of this repository as it stands, checked out of an `origin` whose main it was taken from."""
    origin = tmp_path / "origin"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split():
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, origin / name)
    committed(origin)
    git(tmp_path, "clone", "-q", "origin", "branch")
    return tmp_path / "branch"


def committed(repository: Path) -> None:
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "as it is")


@pytest.mark.skipif(
    not TRIES_ALL,
    reason="SAGAGEN_PROOFS=all tries it; the two below run the same action, and most of the job",
)
def test_the_contract_job_passes_where_the_contract_is_as_it_was(runner: Runner, branch: Path):
    ran = runner.pull_request(branch, "contract", to="main")
    assert ran.has_succeeded, ran.told
    assert (ran.environment / "bin" / "sagagen").exists(), "the action installs what it runs"
    assert ran.output("breaking") == "false"
    assert ran.annotations == []
    assert ran.summary.startswith("## Contract")


def test_the_action_annotates_what_a_pull_request_breaks_against_its_base(runner: Runner, branch: Path):
    """With no more than is in the docs: what it compares with is not told."""
    (branch / ".github" / "workflows" / "ci.yml").write_text(WITH_DEFAULTS)
    saga = branch / SAGA_YAML
    saga.write_text(edited(saga.read_text(), "status: 201", "status: 200"))
    ran = runner.pull_request(branch, "saga", to="main")
    assert not ran.has_succeeded
    assert "Error: 4 files differ from what the contract emits; run `sagagen generate`" in ran.told
    assert ran.output("breaking") == "true"
    place = {"file": SAGA_YAML, "line": "16", "col": "3"}
    assert ran.annotations == [{**place, "title": "SD004"}, {**place, "title": "SD506"}]
    assert ran.summary.startswith("## Contract: 2 breaking changes against origin/main\n")


def test_the_contract_job_annotates_a_mistake_and_compares_nothing(runner: Runner, branch: Path):
    saga = branch / SAGA_YAML
    saga.write_text(edited(saga.read_text(), "call: order/CreateOrder", "call: order/MakeOrder"))
    ran = runner.pull_request(branch, "contract", to="main")
    assert not ran.has_succeeded
    assert [(each["file"], each["title"]) for each in ran.annotations] == [(SAGA_YAML, "SG065")]
    assert ran.summary == ""


@for_a_release
def test_a_new_projects_job_passes(runner: Runner, tmp_path: Path):
    init = [released(tmp_path), "init", "new"]
    made = subprocess.run(init, cwd=tmp_path, capture_output=True, check=True, env=at_hand(), text=True)
    assert "can't reach" not in made.stdout
    assert (tmp_path / "new" / "requirements.txt").read_text().startswith("./vendor/sagagen-")
    committed(tmp_path / "new")
    git(tmp_path, "clone", "-q", "new", "branch")
    ran = runner.pull_request(tmp_path / "branch", "test", to="main")
    assert ran.has_succeeded, ran.told
    assert re.search(r"[1-9]\d* passed", ran.told), ran.told
    assert (ran.environment / "bin" / "sagagen").exists(), "it was installed from what the project pins"
