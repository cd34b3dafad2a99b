"""The command as a user of buf or cargo expects it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sagagen.cli import main
from sagagen.scaffold.project import Template, files_of


def sagagen(*words: str) -> Result:
    return CliRunner().invoke(main, words, prog_name="sagagen")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "ein laden"
    for path, content in files_of(Template.MINIMAL, "kiosk").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize("words", [(), ("add",), ("sagas",)])
def test_alone_it_prints_its_help_and_that_is_no_mistake(words: tuple[str, ...]) -> None:
    done = sagagen(*words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {' '.join(['sagagen', *words])} [OPTIONS] COMMAND")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("generat",), 'there is no command "generat": did you mean "generate"?'),
        (("add", "stpe"), 'there is no command "stpe": did you mean "step"?'),
        (("deploy-everything",), "`sagagen --help` lists all"),
    ],
)
def test_a_misspelt_command_gets_a_hint(words: tuple[str, ...], hint: str) -> None:
    done = sagagen(*words)
    assert (done.exit_code, hint in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("joined", [True, False])
def test_the_project_may_be_named_before_the_command_or_after_it(
    before: bool, joined: bool, project: Path
) -> None:
    option = [f"--project={project}"] if joined else ["--project", str(project)]
    added = ["add", "service", "shipping"]
    done = sagagen(*option, *added) if before else sagagen(*added, *option)
    assert done.exit_code == 0, done.output
    assert "shipping" in (project / "contracts/saga.yaml").read_text()


def test_a_project_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = sagagen("--project", str(tmp_path / "none"), "check")
    assert (done.exit_code, "none" in done.stderr) == (2, True)


def test_options_alone_still_work() -> None:
    assert sagagen("--version").exit_code == 0
    assert sagagen("--project").exit_code == 2
