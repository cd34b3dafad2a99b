"""`sagagen up --postgres`: the shop on a PostgreSQL of its own, which starts, crashes and ends with it."""

import operator
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from curl_lines import await_status, readme_curls, type_in
from postgres_server import missing
from postgres_stack import PostgresStack
from shop_invariants import assert_shop_is_consistent
from waiting import eventually

from sagagen.cli.up import up
from sagagen.runtime.process.postgres_programs import NoPostgres, Programs

needs_postgres = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")
MINIMAL = Path(__file__).parents[2] / "codegen" / "sagagen" / "scaffold" / "templates" / "minimal"


@pytest.fixture(scope="module")
def shop(patient_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresStack]:
    with closing(PostgresStack(tmp_path_factory.mktemp("shop") / "var", root=patient_root)) as stack:
        stack.start("up")
        yield stack


def number_of_server(stack: PostgresStack) -> int:
    return int((stack.server_folder / "data" / "postmaster.pid").read_text().split()[0])


def await_server_gone(url: str) -> None:
    port = int(url.rpartition("/")[0].rpartition(":")[2])

    def answers() -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually("the server to end", answers, operator.not_)


@pytest.mark.slow
@needs_postgres
def test_the_lines_of_the_readme_and_whatever_is_killed(shop: PostgresStack) -> None:
    good, bad = readme_curls()
    status, order = type_in(good, shop.url)
    assert (status, order["status"]) == (201, "PENDING")
    await_status(shop.url, order["order_id"], "CONFIRMED")
    _, refused = type_in(bad, shop.url)
    cancelled = await_status(shop.url, refused["order_id"], "CANCELLED")
    assert cancelled["cancel_reason"] == "PAYMENT_LIMIT_EXCEEDED"
    assert_shop_is_consistent(shop)
    assert not (shop.data_dir / "order.db").exists()

    # The server ends by itself: it starts again, at the same place.
    os.kill(number_of_server(shop), signal.SIGKILL)
    _, second = type_in(good.replace("task-001", "task-002"), shop.url)
    await_status(shop.url, second.get("order_id") or second["id"], "CONFIRMED")  # 202 if that takes its time

    # The process is killed: the server ends too, and the next start finds what was committed.
    before = shop.database("order")
    shop.kill("up")
    await_server_gone(before)
    shop.start("up")
    assert type_in(good, shop.url)[1]["order_id"] == order["order_id"]
    assert len(shop.rows("order", "SELECT 1 FROM orders")) == 3
    assert_shop_is_consistent(shop)

    # Everything is killed, and what is left of the server is found by whoever starts next.
    server = number_of_server(shop)
    shell = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
    reader = [int(pid) for pid in Path(f"/proc/{shell}/task/{shell}/children").read_text().split()]
    for pid in {shell, *reader} - {server}:
        os.kill(pid, signal.SIGKILL)
    shop.kill("up")
    assert Path(f"/proc/{server}").exists()
    shop.start("up")
    assert number_of_server(shop) != server
    assert len(shop.rows("order", "SELECT 1 FROM orders")) == 3

    again = subprocess.run(shop.command("up"), env=shop.environment("up"), capture_output=True, text=True)
    assert again.returncode == 1
    assert f"another process keeps the PostgreSQL in {shop.server_folder}" in again.stderr

    before = shop.database("order")
    assert shop.terminate("up")[0] == 0
    await_server_gone(before)
    assert "Traceback" not in shop.log_path.read_text()


def typed(project: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(up, ["--postgres", "--project", str(project), *options])
    return done.exit_code, done.stderr


def copied(tmp_path: Path) -> Path:
    shutil.copytree(MINIMAL, tmp_path / "minimal")
    return tmp_path / "minimal"


def test_a_project_without_sql_for_it_is_told_what_to_write(tmp_path: Path) -> None:
    project = copied(tmp_path)
    (project / "handlers" / "booking.postgres.sql").unlink()
    code, said = typed(project, "--watch")
    assert code == 2
    assert "no service has SQL for PostgreSQL; write handlers/NAME.postgres.sql" in said


def test_without_asyncpg_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sagagen.runtime.process.private_postgres", raising=False)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    for name in [name for name in sys.modules if name.startswith("sagagen.runtime.postgres.")]:
        monkeypatch.delitem(sys.modules, name)
    code, said = typed(copied(tmp_path), "--watch")
    assert code == 2
    assert "pip install 'sagagen[postgres]'" in said


def test_one_process_is_told_where_its_database_is_named(tmp_path: Path) -> None:
    code, said = typed(copied(tmp_path), "--only", "booking")
    assert code == 2
    assert "set SAGAGEN_BOOKING_DATABASE_URL to one that runs" in said


def test_without_programs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sagagen.runtime.process.postgres_programs.PLACES", ("/nowhere/*/bin",))
    with pytest.raises(
        NoPostgres, match=r"PostgreSQL 14 or later is not on this machine.* apt install postgresql"
    ):
        Programs.find()


@needs_postgres
def test_data_are_opened_by_the_version_that_made_them() -> None:
    there = Programs.find()
    assert Programs.find(there.version) == there
    with pytest.raises(
        NoPostgres, match=rf"PostgreSQL 9 is not on this machine .*there is .*{there.version}"
    ):
        Programs.find(9)
