"""Neither folder, nor hash seed, locale, time zone or anybody's settings change a byte of what is emitted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project_copy import PROJECTS
from type_checker import CODEGEN

HOSTILE_RUFF = 'line-length = 40\nindent-width = 2\n[format]\nquote-style = "single"\n'


def emitted(root: Path, working_directory: Path, **environment: str) -> dict[str, bytes]:
    shutil.copytree(PROJECTS / "nested", root)
    done = subprocess.run(
        [sys.executable, "-m", "sagagen", "generate", "--project", str(root)],
        cwd=working_directory,
        env={**os.environ, "PYTHONPATH": str(CODEGEN), **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
def test_the_same_contract_gives_the_same_bytes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".config" / "ruff").mkdir(parents=True)
    (home / ".config" / "ruff" / "ruff.toml").write_text(HOSTILE_RUFF)
    (tmp_path / "ruff.toml").write_text(HOSTILE_RUFF)
    plain = emitted(tmp_path / "a", tmp_path, PYTHONHASHSEED="1", LC_ALL="C", TZ="UTC")
    other = emitted(
        tmp_path / "ein Ordner mit ä" / "b",
        Path("/"),
        PYTHONHASHSEED="4242",
        LC_ALL="tr_TR.UTF-8",
        TZ="Asia/Kolkata",
        HOME=str(home),
        XDG_CONFIG_HOME=str(home / ".config"),
        PYTHONUTF8="0",
        COLUMNS="40",
        RUFF_OUTPUT_FORMAT="json",
    )
    assert len(plain) > 40
    assert plain == other


@pytest.mark.slow
def test_no_file_says_when_or_where_it_was_made(tmp_path: Path) -> None:
    files = emitted(tmp_path / "here", tmp_path)
    assert not [path for path, content in files.items() if str(tmp_path).encode() in content]
