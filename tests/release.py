"""sagagen as a user has it: a wheel, in an environment of its own."""

import os
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def wheel(folder: Path) -> Path:
    """Built of this work tree."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def released(folder: Path) -> Path:
    """The `sagagen` command of a new environment, in which a wheel is installed; its libraries are this one's."""
    environment = folder / "released"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    (own / "here.pth").write_text(f"import site; site.addsitedir({_libraries()!r})\n")
    # What is not imported is never compiled.
    install = ["-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--force-reinstall"]
    built = wheel(folder)
    subprocess.run([python, *install, "--prefix", environment, built], check=True, env=_plain())
    return environment / "bin" / "sagagen"


def at_hand() -> dict[str, str]:
    """The environment, with buf on PATH, which is no library."""
    return {**_plain(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@cache
def _libraries() -> str:
    return sysconfig.get_path("purelib")
