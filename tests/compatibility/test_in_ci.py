"""The composite action and the hooks run commands that exist, and the action's shell does what its steps say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from contract_pair import ROOT, SAGA_YAML, edited
from ruamel.yaml import YAML
from test_diff_command import git


def read(name: str) -> Any:
    return cast(Any, YAML(typ="safe", pure=True)).load((ROOT / name).read_text())


def step(name: str) -> str:
    return next(each["run"] for each in read("action.yml")["runs"]["steps"] if each.get("name") == name)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The shop in git, whole."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("contracts", "generated", "handlers", "gateway"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "-q", "-b", "main", "shop")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "as it was")
    return folder


def run(project: Path, script: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PROJECT": str(project),
        "AGAINST": "main",
        "GITHUB_STEP_SUMMARY": str(project.parent / "summary"),
        "GITHUB_OUTPUT": str(project.parent / "output"),
    }
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_actions_steps_pass_where_nothing_changed(project: Path):
    for name in (
        "check the contract",
        "the generated mesh is what the contract emits",
        "what this change breaks",
    ):
        done = run(project, step(name))
        assert done.returncode == 0, done.stderr + done.stdout
    assert (project.parent / "output").read_text() == "breaking=false\n"


def test_the_action_annotates_and_summarizes_what_breaks(project: Path):
    (project / SAGA_YAML).write_text(edited((project / SAGA_YAML).read_text(), "status: 201", "status: 200"))
    done = run(project, step("what this change breaks"))
    assert done.returncode == 1
    assert "::error file=contracts/saga.yaml" in done.stdout
    assert (project.parent / "output").read_text() == "breaking=true\n"
    assert "## Contract: 2 breaking" in (project.parent / "summary").read_text()
    assert run(project, step("the generated mesh is what the contract emits")).returncode == 1


@pytest.mark.parametrize("hook", read(".pre-commit-hooks.yaml"), ids=lambda hook: hook["id"])
def test_the_hooks_pass_where_nothing_changed(hook: dict[str, Any], project: Path):
    done = run(project, f'cd "$PROJECT" && {hook["entry"]}')
    assert done.returncode == 0, done.stderr + done.stdout
