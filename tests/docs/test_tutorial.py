"""docs/tutorial.md, typed: each command prints what the page says it prints."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from stack import free_ports, heed_interrupts
from typed_page import Command, Edit, make, steps
from waiting import eventually

pytestmark = pytest.mark.slow
PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
SERVE = "sagagen up --watch"


class Reader:
    """Two terminals: one in which commands are typed, one in which the project is served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ""
        http, admin = free_ports(2)
        self.url = f"http://localhost:{http}"
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
            "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
            "SAGAGEN_LOG_FORMAT": "console",
            **{
                f"GIT_{who}_{what}": "reader@example"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.serves: subprocess.Popen[bytes] | None = None
        self.served = folder / "served.log"
        self.seen = 0
        """How much of `served` is of versions before the last edit."""

    def type(self, line: str) -> str:
        """What a command prints."""
        here, where = self._here(), self.folder / "where"
        script = f'KEY="{self.key}"\n{line.replace("http://localhost:8080", self.url)}\n(pwd; echo "$KEY") > "{where}"'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=here,
            env=self.environment,
            text=True,
            timeout=300,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.stdout.replace(self.url, "http://localhost:8080")

    def serve(self) -> None:
        """`sagagen up --watch` in the other terminal."""
        with self.served.open("wb") as told:
            self.serves = subprocess.Popen(
                [*SERVE.split()],
                cwd=self._here(),
                env=self.environment,
                stdout=told,
                stderr=told,
                preexec_fn=heed_interrupts,
            )

    def told(self) -> str:
        """What the other terminal shows since the last edit."""
        return self.served.read_text(encoding="utf-8")[self.seen :].replace(self.url, "http://localhost:8080")

    def make(self, edit: Edit) -> None:
        """Save a file, as the page shows it."""
        self.seen = len(self.served.read_text(encoding="utf-8"))
        make(edit, self._here())

    def _here(self) -> Path:
        where = self.folder / "where"
        if not where.exists():
            return self.folder
        path, self.key = where.read_text(encoding="utf-8").splitlines()
        return Path(path)

    def close(self) -> None:
        """End what is served."""
        if self.serves:
            self.serves.send_signal(signal.SIGINT)
            self.serves.wait(60)


@pytest.fixture
def reader(tmp_path: Path) -> Generator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.close()


def test_the_tutorial_is_what_happens(reader: Reader) -> None:
    for step in steps(PAGE.read_text(encoding="utf-8")):
        if isinstance(step, Edit):
            reader.make(step)
            if step.file.endswith(".sql"):  # the last one of the new service
                eventually("the new version is served", lambda: "s after the save" in reader.told())
        elif step.line == SERVE:
            reader.serve()
            eventually("it is served", lambda: " runs on " in reader.told())
        else:
            printed = reader.type(step.line)
            assert step.matches(printed), f"$ {step.line}\n{printed}\n{reader.told()}"


def test_what_a_page_shows_is_compared() -> None:
    assert Command("x", "a ... c\n...\nlast\n").matches("a b c\nmore\nand more\nlast\n")
    assert Command("x", "...\ncreated  it\n...\n").matches("created  it\n")
    assert not Command("x", "a ... c\n").matches("a b d\n")
