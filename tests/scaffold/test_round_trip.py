"""A new user's first hour, typed into a real terminal: from `init` to a diff that says what a change breaks."""

import difflib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from stack import free_ports, heed_interrupts
from thorough import for_a_release
from waiting import LIMIT_S

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, ("bash", "git", "curl"))), reason="needs bash, git and curl"
    ),
]
SCRIPTS = Path(sys.executable).parent
PROMPT = "typed> "
COLOUR = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
WRITTEN = """
    async def create_parcel(self, request: CreateParcelRequest, call: Call) -> CreateParcelResponse:
        call.logger.info("a parcel")   # odd  spacing, which stays
        return CreateParcelResponse()
"""


class Terminal:
    """A shell on a pseudo terminal; what is typed comes back with what it printed and how it ended."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        plain = {"PS1": PROMPT, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PAGER": "cat"}
        self._shell: pexpect.spawn[str] = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile", "--noediting"],
            cwd=folder,
            env={**os.environ, **environment, **plain},
            encoding="utf-8",
            echo=False,
            dimensions=(50, 200),
            timeout=LIMIT_S,
            preexec_fn=heed_interrupts,
        )
        self._shell.expect_exact(PROMPT)

    def type(self, line: str, ends: int = 0) -> str:
        """What the command printed, with its colours; it must end with the exit code `ends`."""
        self._shell.sendline(line)
        self._shell.expect_exact(PROMPT)
        printed = str(self._shell.before)
        self._shell.sendline("echo $?")
        self._shell.expect_exact(PROMPT)
        assert (line, str(self._shell.before).strip()) == (line, str(ends)), printed
        return printed

    def begin(self, line: str, says: str) -> str:
        """Start what goes on until `interrupt`, and return all that it said up to there."""
        self._shell.sendline(line)
        self._shell.expect_exact(says)
        return str(self._shell.before) + str(self._shell.after)

    def interrupt(self) -> str:
        self._shell.sendintr()
        self._shell.expect_exact(PROMPT)
        return str(self._shell.before)

    def close(self) -> None:
        self._shell.close(force=True)


@pytest.fixture
def environment() -> dict[str, str]:
    http, admin = free_ports(2)
    return {
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
        "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
        **{
            f"GIT_{who}_{what}": f"{who}@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }


@pytest.fixture
def terminals(tmp_path: Path, environment: dict[str, str]) -> Iterator[list[Terminal]]:
    opened = [Terminal(tmp_path, environment) for _ in range(2)]
    yield opened
    for terminal in opened:
        terminal.close()


def plain(printed: str) -> str:
    return COLOUR.sub("", printed).replace("\r\n", "\n")


@for_a_release
def test_a_first_hour(terminals: list[Terminal], tmp_path: Path, environment: dict[str, str]) -> None:
    first, second = terminals
    project = tmp_path / "kiosk"
    handler = project / "handlers" / "shipping.py"

    assert "Next: cd kiosk && sagagen up" in plain(first.type("sagagen init kiosk"))
    for terminal in terminals:
        terminal.type("cd kiosk")
    first.type("git init -q && git add -A && git commit -qm 'a new project'")

    first.type("sagagen add service shipping")
    first.type("sagagen add rpc shipping/CreateParcel")
    first.type("sagagen add step book ship --call shipping/CreateParcel")
    assert "created  handlers/shipping.py\n" in plain(first.type("sagagen generate"))
    created = handler.read_text()
    begin = created.index("\n    async def create_parcel")
    handler.write_text(created[:begin] + WRITTEN)

    said = plain(first.begin("sagagen up", "Try:"))
    url = f"http://localhost:{environment['SAGAGEN_HTTP_ADDR'].partition(':')[2]}"
    assert f"kiosk runs on {url}" in said
    key = """-H "X-Api-Key: $(cat var/development-key)\""""
    post = f"""curl -s {url}/bookings {key} -H 'Content-Type: application/json' -d '{{"guest": "Ada"}}'"""
    booking = json.loads(plain(second.type(f"{post} -H 'Idempotency-Key: one'")))
    saga = json.loads(plain(second.type(f"curl -s {url}/sagas/{booking['booking_id']} {key}")))
    assert saga["status"] == "COMPLETED"
    assert [step["name"] for step in saga["steps"] if step["status"] == "DONE"] == ["hold", "confirm", "ship"]
    assert "Traceback" not in first.interrupt()
    first.type("git add -A && git commit -qm 'parcels'")

    first.type("sagagen add rpc shipping/CancelParcel")
    preview = first.type("sagagen generate --diff")
    assert "\x1b[32m+    async def cancel_parcel" in preview
    before = handler.read_text()
    assert "added    handlers/shipping.py: cancel_parcel\n" in plain(first.type("sagagen generate"))
    assert WRITTEN in handler.read_text()
    changes = difflib.ndiff(before.splitlines(), handler.read_text().splitlines())
    assert [line for line in changes if line.startswith("- ") and "import" not in line] == []
    assert "no changes against HEAD" in plain(first.type("sagagen diff --against HEAD"))
    first.type("git add -A && git commit -qm 'parcels can be cancelled'")

    first.type("sed -i 's/rpc CreateParcel/rpc MakeParcel/' contracts/shipping/v1/shipping.proto")
    assert 'service "shipping" has no rpc "CreateParcel"' in plain(first.type("sagagen generate", ends=1))
    first.type("sed -i 's#shipping/CreateParcel#shipping/MakeParcel#' contracts/saga.yaml")
    assert "create_parcel no longer handles any rpc of the contract" in plain(first.type("sagagen generate"))
    broken = first.type("sagagen diff --against HEAD", ends=1)
    assert "breaking[RPC_NO_DELETE]" in plain(broken)
    assert "breaking[SD107]: book/ship: shipping/CreateParcel -> shipping/MakeParcel" in plain(broken)
    assert COLOUR.search(broken), "a terminal has colours"

    first.type("git checkout -q contracts handlers && sagagen generate")
    assert "no changes against HEAD" in plain(first.type("sagagen diff --against HEAD"))
    assert first.type("git status --porcelain") == ""
    # The project's own test says which steps a booking takes.
    first.type("""sed -i 's/"confirm"\\]/"confirm", "ship"]/' tests/test_bookings.py""")
    assert re.search(r"\d+ passed", plain(first.type(f"{sys.executable} -m pytest -q -p no:cacheprovider")))
