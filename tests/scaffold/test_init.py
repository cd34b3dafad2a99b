"""`sagagen init`: a project that is in sync, runs, and passes its own tests."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sagagen.scaffold.project import Template, files_of

ROOT = Path(__file__).parents[2]


def run(*command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment)


def sagagen(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return run(sys.executable, "-m", "sagagen", *arguments, cwd=cwd)


@pytest.mark.parametrize("template", Template)
def test_a_new_project_is_in_sync_and_passes_its_own_tests(template: Template, tmp_path: Path):
    done = sagagen("init", "my project", "--template", template, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Next: cd 'my project' && sagagen up" in done.stdout
    project = tmp_path / "my project"
    assert "project: my-project\n" in (project / "contracts" / "saga.yaml").read_text()
    checked = sagagen("generate", "--check", cwd=project)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_current_folder_will_do_if_it_is_empty(tmp_path: Path):
    folder = tmp_path / "here"
    folder.mkdir()
    assert sagagen("init", "--name", "elsewhere", cwd=folder).returncode == 0
    assert "project: elsewhere\n" in (folder / "contracts" / "saga.yaml").read_text()


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    done = sagagen("init", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not empty (notes.txt): nothing in it was touched" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_is_no_place_for_a_project(tmp_path: Path):
    (tmp_path / "shop").write_text("mine")
    done = sagagen("init", "shop", cwd=tmp_path)
    assert done.returncode == 2
    assert "shop is a file" in done.stderr


def test_a_fresh_clone_is_empty_enough(tmp_path: Path):
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    assert sagagen("init", "shop", cwd=tmp_path).returncode == 0
    header = (tmp_path / "shop" / "contracts" / "saga.yaml").read_text().splitlines()[0]
    assert header == "# yaml-language-server: $schema=../generated/saga.schema.json"
    assert (tmp_path / "shop" / "generated" / "saga.schema.json").is_file()


@pytest.mark.parametrize("arguments", [["--name", "Not A Name"], ["--template", "huge"]])
def test_what_makes_no_project_is_refused_before_anything_is_written(arguments: list[str], tmp_path: Path):
    done = sagagen("init", "new", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "new").exists()


def test_a_release_packs_the_same_shop(tmp_path: Path):
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = zipfile.ZipFile(wheel)
    shop = "sagagen/scaffold/templates/shop/"
    names = {name.removeprefix(shop) for name in packed.namelist() if name.startswith(shop)}
    wanted = {
        path for path in files_of(Template.SHOP, "shop") if path.startswith(("contracts/", "handlers/"))
    }
    assert wanted <= names
    for path in wanted - {"contracts/saga.yaml"}:
        assert packed.read(shop + path) == (ROOT / path).read_bytes()
