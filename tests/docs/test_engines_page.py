"""docs/engines.md, typed: its commands on a saga log in PostgreSQL, and on Restate, where there are such servers."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import postgres_server
import pytest
import restate_server
from restate_server import RestateServer
from restate_stack import RestateStack
from shop_invariants import await_terminal
from stack import REPOSITORY, Stack, place_order, post_order
from typed_page import Command, steps

pytestmark = pytest.mark.slow
PAGE = REPOSITORY / "docs" / "engines.md"
COMMANDS = [step for step in steps(PAGE.read_text(encoding="utf-8")) if isinstance(step, Command)]


def of(*programs: str) -> list[Command]:
    """Those that begin with one of these."""
    return [command for command in COMMANDS if command.line.startswith(programs)]


def type_in(command: Command, environment: Mapping[str, str], folder: Path) -> None:
    path = (
        f"{Path(sys.executable).parent}:{Path(postgres_server.binary('pg_dump')).parent}:{os.environ['PATH']}"
    )
    done = subprocess.run(
        ["bash", "-c", command.line],
        env={**environment, "PATH": path},
        cwd=REPOSITORY if command.line.startswith("sagagen") else folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"$ {command.line}\n{done.stdout}{done.stderr}"
    assert command.matches(done.stdout), f"$ {command.line}\n{done.stdout}{done.stderr}"


class OnPostgres(Stack):
    """All in one process, with its saga log in PostgreSQL."""

    engine_url = ""

    def environment(self, name: str) -> dict[str, str]:
        return {**super().environment(name), "SAGAGEN_ENGINE_URL": self.engine_url}


def test_a_log_in_postgres_is_dumped_and_restored_as_the_page_says(tmp_path: Path) -> None:
    if why := postgres_server.missing():
        pytest.skip(why)
    server = postgres_server.shared_server()
    name = sha256(bytes(tmp_path)).hexdigest()[:16]
    with closing(OnPostgres(tmp_path / "var")) as stack:
        stack.engine_url = server.database(f"engines_{name}")
        stack.start("up")
        order = place_order(stack, "task-001")
        await_terminal(stack, [order])
        restored = server.database(f"restored_{name}")
        environment = {**stack.environment("up"), "RESTORED_URL": restored}
        typed = of("pg_dump", "pg_restore", "sagagen sagas list")
        assert len(typed) == 3
        for command in typed:
            type_in(command, environment, tmp_path)
        stack.terminate("up")
        stack.engine_url = restored
        stack.start("up")
        again = post_order(stack, "task-001")
        assert (again.status_code, again.json()["order_id"]) == (201, order)


def test_restate_is_looked_at_and_copied_as_the_page_says(tmp_path: Path) -> None:
    if why := restate_server.missing():
        pytest.skip(why)
    with RestateServer() as server, closing(RestateStack(tmp_path / "var", server)) as stack:
        stack.start("up")
        order = place_order(stack, "task-001")
        await_terminal(stack, [order])
        looked = of("sagagen engine")
        assert len(looked) == 2
        for command in looked:
            type_in(command, stack.environment("up"), tmp_path)
        server.kill()
        (server.folder / "data").rename(server.folder / "restate-data")
        (copied,) = of("cp -a")
        type_in(copied, stack.environment("up"), server.folder)
        (server.folder / "restate-backup").rename(server.folder / "data")
        server.start()
        again = post_order(stack, "task-001")
        assert (again.status_code, again.json()["order_id"]) == (201, order)


def test_every_command_of_the_page_is_typed() -> None:
    known = of("pg_dump", "pg_restore", "sagagen sagas list", "sagagen engine", "cp -a")
    moving = of("sagagen sagas stats")
    assert {command.line for command in COMMANDS} == {command.line for command in (*known, *moving)}
