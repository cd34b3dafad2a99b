"""What runs in CI is what was looked at: each action by its commit, with as few rights as it needs."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "codegen/sagagen/scaffold/templates/common/workflow.yml"
WORKFLOWS = [*sorted((ROOT / ".github/workflows").glob("*.yml")), TEMPLATE]
ALL = [*WORKFLOWS, ROOT / "action.yml"]
_USES = re.compile(r"uses: *(\S+)(?: +# (\S+))?")
_PINNED = re.compile(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}")


def text_of(file: Path) -> str:
    text = file.read_text()
    return text.replace("{{", "{").replace("}}", "}") if file == TEMPLATE else text


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_actions_of_others_are_pinned_by_commit_and_say_their_version(file: Path) -> None:
    found = _USES.findall(text_of(file))
    others = [(name, version) for name, version in found if not name.startswith("./")]
    assert others
    assert [each for each in others if not (_PINNED.fullmatch(each[0]) and each[1].startswith("v"))] == []


def test_one_action_has_one_commit_everywhere() -> None:
    commits: defaultdict[str, set[str]] = defaultdict(set)
    for file in ALL:
        for name, version in _USES.findall(text_of(file)):
            commits[name.partition("@")[0]].add(f"{name} {version}")
    assert {name: len(each) for name, each in commits.items() if len(each) > 1} == {}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_read_and_keeps_no_token(file: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(text_of(file))
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert all("permissions" not in job for job in workflow["jobs"].values())
