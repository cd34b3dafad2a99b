"""A new project pins the sagagen that made it, wherever that is from."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from release import REPOSITORY, at_hand, released
from thorough import TRIES_ALL

import sagagen
from sagagen.scaffold.origin import Origin, origin, origin_of, reach

VERSION = sagagen.__version__
GIT = {"vcs": "git", "commit_id": "0123abc"}
LOCAL: list[dict[str, Any]] = [
    {"dir_info": {"editable": True}},
    {"dir_info": {}},
    {"vcs_info": GIT},
    {"archive_info": {}},
]


@pytest.mark.parametrize(
    ("said", "requirement"),
    [
        (
            {"url": "https://git.example/o/sagagen", "vcs_info": GIT},
            "git+https://git.example/o/sagagen@0123abc",
        ),
        (
            {"url": "ssh://git@git.example/o/all", "vcs_info": GIT, "subdirectory": "tools"},
            "git+ssh://git@git.example/o/all@0123abc#subdirectory=tools",
        ),
        ({"url": "https://files.example/s-1.whl", "archive_info": {}}, "https://files.example/s-1.whl"),
    ],
)
def test_what_others_can_reach_is_named(said: dict[str, Any], requirement: str) -> None:
    found = origin_of(said)
    assert found == Origin(f"sagagen @ {requirement}")
    assert reach(found) == ""


def test_a_wheel_of_this_machine_goes_into_the_project(tmp_path: Path) -> None:
    file = tmp_path / "mit leer" / "sagagen-1-py3-none-any.whl"
    file.parent.mkdir()
    file.write_bytes(b"wheel")
    found = origin_of({"url": file.as_uri(), "archive_info": {}})
    assert found == Origin("./vendor/sagagen-1-py3-none-any.whl", wheel=file)


@pytest.mark.parametrize("info", LOCAL)
def test_what_only_this_machine_can_reach_says_what_to_do(info: dict[str, Any], tmp_path: Path) -> None:
    found = origin_of({"url": tmp_path.as_uri(), **info})
    assert found.folder == tmp_path
    assert f"pip wheel --no-deps --wheel-dir vendor {tmp_path}" in reach(found)
    assert all(line.startswith("#") for line in reach(found).splitlines())


def test_of_what_runs_here_it_is_the_work_tree() -> None:
    assert origin().folder == REPOSITORY


@pytest.mark.slow
@pytest.mark.skipif(
    not TRIES_ALL, reason="SAGAGEN_PROOFS=all tries it; a new project's job on act does the same"
)
def test_a_released_one_makes_a_project_that_installs_offline_checks_and_passes_its_tests(
    tmp_path: Path,
) -> None:
    """As its README says, with make, but for the libraries, which are at hand."""
    command = released(tmp_path)
    environment = {**at_hand(), "PIP_NO_INDEX": "1"}
    new = run(tmp_path, environment, str(command), "init", "p")
    assert "can't reach" not in new
    project = tmp_path / "p"
    wheel = f"./vendor/sagagen-{VERSION}-py3-none-any.whl"
    assert (project / "requirements.txt").read_text() == f"{wheel}\nsagagen[postgres]\n"
    assert (project / wheel).is_file()
    (project / ".venv").symlink_to(tmp_path / "released")
    for target in ("check", "test"):
        run(project, environment, "make", target)


def run(folder: Path, environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
