"""Each command in each odd state that a project can be in: an exit code of 0, 1 or 2, a message, and no traceback.

SAGAGEN_PROOFS=all tries every state; by default a few are.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from thorough import chosen

from sagagen.cli import main
from sagagen.scaffold.project import Template, files_of

COMMANDS = [
    ("check",),
    ("generate", "--check"),
    ("diff", "--against", "HEAD"),
    ("bump", "book"),
    ("add", "service", "shipping"),
    ("add", "rpc", "booking/MoveSeat"),
    ("generate",),
]


def git(project: Path, *words: str) -> None:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
    subprocess.run(["git", *who, *words], cwd=project, check=True, capture_output=True)


def texts(project: Path) -> Iterator[Path]:
    yield from (path for path in project.rglob("*") if path.suffix in {".proto", ".yaml", ".py"})


def crlf(project: Path) -> None:
    for path in texts(project):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def byte_order_marks(project: Path) -> None:
    for path in texts(project):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def no_contracts(project: Path) -> None:
    shutil.rmtree(project / "contracts")


def no_protos(project: Path) -> None:
    shutil.rmtree(project / "contracts/booking")


def empty_files(project: Path) -> None:
    for path in texts(project):
        path.write_bytes(b"")


def no_text(project: Path) -> None:
    for path in texts(project):
        path.write_bytes(b"\xff\xfe\x00")


def folders_for_files(project: Path) -> None:
    for path in [*texts(project)]:
        path.unlink()
        path.mkdir()


def dangling_links(project: Path) -> None:
    for path in [*texts(project)]:
        path.unlink()
        path.symlink_to("nowhere")


def generated_is_a_file(project: Path) -> None:
    (project / "generated").write_text("")


def no_git(project: Path) -> None:
    shutil.rmtree(project / ".git")


def a_commit(project: Path) -> None:
    git(project, "add", "-A")
    git(project, "commit", "-qm", "as it is")


def damaged_git(project: Path) -> None:
    a_commit(project)
    shutil.rmtree(project / ".git/objects")


def as_it_is(_project: Path) -> None: ...


STATES: list[Callable[[Path], None]] = [
    *(as_it_is, no_contracts, folders_for_files),
    *(crlf, byte_order_marks, no_protos, empty_files, no_text, dangling_links, generated_is_a_file),
    *(no_git, a_commit, damaged_git),
]


@pytest.mark.parametrize("state", chosen(STATES, first=3))
def test_every_command_says_what_is_wrong(
    state: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "ein  großer laden"
    for path, content in files_of(Template.MINIMAL, "kiosk").items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes(content)
    git(project, "init", "-q", "-b", "main")
    state(project)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert "HOME" not in os.environ
    for words in COMMANDS:
        with contextlib.chdir(project):
            done = CliRunner().invoke(main, words)
        failed = done.exception
        assert failed is None or isinstance(failed, SystemExit), (words, failed)
        assert done.exit_code in {0, 1, 2}, words
        if done.exit_code:
            assert done.output.strip(), words
