"""`sagagen init`: a project that is in sync, runs, and passes its own tests."""

import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import chdir
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from thorough import TRIES_ALL, chosen
from yaml_files import read_yaml

from sagagen.cli import main
from sagagen.cli.init import init
from sagagen.scaffold.project import Template, files_of

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment)


def sagagen_as_typed(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return run(sys.executable, "-m", "sagagen", *arguments, cwd=cwd)


def sagagen(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """In this process: to import the generator takes longer than what it does."""
    with chdir(cwd):
        done = CliRunner().invoke(main, arguments)
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def steps_of_the_workflow(project: Path) -> list[str]:
    """What the project's own workflow runs, but for the installation: that of this repository is tested."""
    workflow = read_yaml((project / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    return [
        command.replace("origin/${{ github.base_ref }}", "main")
        for command in commands
        if not command.startswith("pip install")
    ]


def committed(project: Path) -> None:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.com")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*who, "commit", "-q", "-m", "new")):
        done = run("git", *words, cwd=project)
        assert done.returncode == 0, done.stderr


def changed_by_windows(project: Path, clone: Path) -> list[str]:
    """The files that a clone with core.autocrlf writes otherwise, of those whose bytes count."""
    done = run("git", "clone", "-q", "-c", "core.autocrlf=true", str(project), str(clone), cwd=project)
    assert done.returncode == 0, done.stderr
    counted = [
        path
        for folder in ("contracts", "generated")
        for path in (clone / folder).rglob("*")
        if path.is_file()
    ]
    assert len(counted) > 20
    names = [path.relative_to(clone).as_posix() for path in counted]
    return [name for name in names if (clone / name).read_bytes() != (project / name).read_bytes()]


@pytest.mark.parametrize("template", chosen([Template.DELIVERY, Template.MINIMAL, Template.SHOP], first=1))
def test_a_new_project_is_in_sync_and_its_workflow_passes(template: Template, tmp_path: Path):
    done = sagagen_as_typed("init", "my project", "--template", template, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Next: cd 'my project' && sagagen up" in done.stdout
    project = tmp_path / "my project"
    assert "project: my-project\n" in (project / "contracts" / "saga.yaml").read_text()
    committed(project)
    assert not changed_by_windows(project, tmp_path / "windows")
    steps = steps_of_the_workflow(project)
    assert [step.split()[:2] for step in steps] == [
        ["sagagen", "check"],
        ["sagagen", "generate"],
        ["python", "-m"],
        ["sagagen", "diff"],
        ["sagagen", "test"],
        ["python", "-m"],
    ]
    # On act, a new project's job runs the same steps (tests/compatibility/test_on_a_runner.py).
    for step in steps if TRIES_ALL else steps[:2]:
        done = run("bash", "-c", f'export PATH="{BIN}:$PATH"; {step}', cwd=project)
        assert done.returncode == 0, step + done.stdout + done.stderr
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


@pytest.mark.skipif(
    subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0
    if shutil.which("docker")
    else True,
    reason="no docker compose here",
)
@pytest.mark.parametrize("template", Template)
def test_compose_understands_what_is_made(template: Template, tmp_path: Path):
    assert sagagen("init", "new", "--template", template, cwd=tmp_path).returncode == 0
    done = run("docker", "compose", "config", "--services", cwd=tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert "gateway" in done.stdout.split()


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


def test_help_has_a_sentence_for_each_template() -> None:
    shown = " ".join(CliRunner().invoke(init, ["--help"]).output.split())
    assert all(f"{template} {template.summary}" in shown for template in Template)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("delivry", 'did you mean "delivery"?'), ("huge", "choose from minimal, shop, delivery")],
)
def test_an_unknown_template_gets_a_hint(typed: str, hint: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(init, [str(tmp_path / "new"), "--template", typed])
    assert done.exit_code == 2
    assert f'there is no template "{typed}": {hint}' in done.stderr


def test_the_shell_offers_templates() -> None:
    (option,) = (each for each in init.params if each.name == "template")
    offered = option.shell_complete(click.Context(init), "d")
    assert [(each.value, each.help) for each in offered] == [("delivery", Template.DELIVERY.summary)]


def test_a_release_packs_the_same_templates(tmp_path: Path):
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
    delivery = {f"sagagen/scaffold/templates/delivery/{path}" for path in _own(Template.DELIVERY)}
    assert delivery <= set(packed.namelist())


def _own(template: Template) -> set[str]:
    folders = ("contracts/", "handlers/", "gateway/", "tests/")
    return {path for path in files_of(template, "any") if path.startswith(folders)}
