"""The lowest and the newest set of dependencies, made from what pyproject.toml says."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from dependency_bounds import BoundsError, lowest, newest, requirements  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def parsed(*texts: str) -> list[Requirement]:
    return [Requirement(text) for text in texts]


def test_the_lowest_set_pins_each_lower_bound():
    needed = parsed("redis[hiredis]>=6,<9", "H2>=4.4,<4.5", "uvloop>=0.21; sys_platform != 'win32'")
    assert lowest(needed) == ["H2==4.4", "redis==6", 'uvloop==0.21; sys_platform != "win32"']


def test_the_newest_set_is_the_ranges():
    assert newest(parsed("b>=1,<2", "a>=3")) == ["a>=3", "b<2,>=1"]


@pytest.mark.parametrize("text", ["grafana-foundation-sdk", "a<3", "a>=1,>=2"])
def test_a_dependency_without_one_lower_bound_is_named(text: str):
    with pytest.raises(BoundsError, match=text.partition("<")[0].partition(">")[0]):
        lowest(parsed(text))


def test_a_name_in_two_extras_has_the_same_bound_in_both():
    seen: dict[str, str] = {}
    for requirement in requirements(PROJECT):
        assert seen.setdefault(requirement.name, str(requirement.specifier)) == str(requirement.specifier)


def test_every_dependency_of_the_project_has_a_lower_bound():
    pins = lowest(requirements(PROJECT))
    assert len(pins) == len({requirement.name for requirement in requirements(PROJECT)})


def test_what_the_runtime_needs_has_an_upper_bound():
    open_ended = {
        requirement.name
        for requirement in map(Requirement, PROJECT["dependencies"])
        if not any(each.operator == "<" for each in requirement.specifier)
    }
    assert open_ended == set()


def test_every_pin_of_constraints_is_within_the_bounds():
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    names = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    outside = [
        str(requirement)
        for requirement in requirements(PROJECT)
        if not requirement.specifier.contains(names[requirement.name.lower().replace("_", "-")])
    ]
    assert outside == []


def test_the_command_prints_one_of_the_two_or_how_it_is_used():
    tool = [sys.executable, str(ROOT / "tools" / "dependency_bounds.py")]
    printed = subprocess.run([*tool, "lowest"], capture_output=True, text=True, check=True).stdout
    assert "h2==4.4\n" in printed
    assert "://" not in printed
    wrong = subprocess.run([*tool, "oldest"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr) == (2, "usage: dependency_bounds.py lowest|newest\n")
