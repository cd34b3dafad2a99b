"""The hooks run commands that exist, and pass where nothing changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from contract_pair import ROOT
from ruamel.yaml import YAML
from test_diff_command import git

HOOKS = cast(Any, YAML(typ="safe", pure=True)).load((ROOT / ".pre-commit-hooks.yaml").read_text())


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


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_hooks_pass_where_nothing_changed(hook: dict[str, Any], project: Path):
    done = subprocess.run(
        hook["entry"].split(),
        cwd=project,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
