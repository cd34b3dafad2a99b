"""What is in the place of a handler file is named, and nothing is lost."""

import shutil
from pathlib import Path

import pytest
from project_copy import WRITTEN, copy_project, edit, run_generate


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project("shop", tmp_path / "shop", (*WRITTEN, "generated"))


def test_a_file_that_may_not_be_written_is_left_as_it_is(project: Path) -> None:
    path = project / "handlers/payment.py"
    edit(path, {"    async def refund_payment": "    async def refund_everything"})
    path.chmod(0o444)
    before = path.read_bytes()
    done = run_generate(project)
    assert done.exit_code == 1
    assert "handlers/payment.py:1:1: error[SG167]: this file may not be written" in done.stderr
    assert "refund_payment" in done.stderr
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (before, 0o444)
    path.chmod(0o644)
    assert run_generate(project).exit_code == 0
    assert path.read_bytes() != before


def test_a_folder_in_its_place_is_named(project: Path) -> None:
    (project / "handlers/payment.py").unlink()
    (project / "handlers/payment.py").mkdir()
    for options in ((), ("--check",), ("--diff",)):
        done = run_generate(project, *options)
        assert done.exit_code == 1, done.output
        assert "handlers/payment.py:1:1: error[SG167]: this is a folder" in done.stderr


def test_a_package_that_hides_it_is_named(project: Path) -> None:
    (project / "handlers/payment").mkdir()
    shutil.copy(project / "handlers/payment.py", project / "handlers/payment/__init__.py")
    done = run_generate(project)
    assert done.exit_code == 1
    assert "error[SG167]: Python loads this package, and never handlers/payment.py" in done.stderr
