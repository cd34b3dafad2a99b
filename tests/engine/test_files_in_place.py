"""Files that are gone or replaced under a running process are noticed: in the log, in a service, and on /readyz."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_mesh import ManualClock
from test_saga_log_file import accepted
from waiting import eventually_async

from sagagen.runtime.health import Readiness
from sagagen.runtime.log.store import LogUnavailable, SagaLog
from sagagen.runtime.log.upkeep import upkeep
from sagagen.runtime.service.sqlite_store.sql_files import Scripts
from sagagen.runtime.service.sqlite_store.store import SqliteStore


def remove_folder(database: Path) -> str:
    shutil.rmtree(database.parent)
    return "gone"


def move_folder(database: Path) -> str:
    database.parent.rename(database.parent.with_name("elsewhere"))
    return "gone"


def remove_file(database: Path) -> str:
    database.unlink()
    return "gone"


def remove_lock(database: Path) -> str:
    database.with_name(database.name + ".lock").unlink()
    return "gone"


def restore_file(database: Path) -> str:
    """As from a backup, under a running process."""
    shutil.copy(database, database.with_name("copy"))
    database.with_name("copy").replace(database)
    return "another file"


HARMS = [remove_folder, move_folder, remove_file, remove_lock, restore_file]


@pytest.mark.parametrize("harm", HARMS)
async def test_a_log_whose_files_are_not_in_place_refuses_sagas_and_says_so(
    tmp_path: Path, harm: Callable[[Path], str]
) -> None:
    path = tmp_path / "var" / "saga-log.db"
    async with SagaLog.open(path) as log, upkeep(log, [], look_s=0.01):
        assert await log.accept(accepted("known"))
        readiness = Readiness({"saga log": log.check})
        assert await readiness.problems() == []
        says = harm(path)
        (problem,) = await readiness.problems()
        assert says in problem
        assert str(path) in problem
        with pytest.raises(LogUnavailable, match=says):
            await log.accept(accepted("new"))
        assert await log.accept(accepted("known")) is None, "a replay is found"


async def test_nobody_has_to_ask_for_it_to_be_noticed(tmp_path: Path) -> None:
    path = tmp_path / "var" / "saga-log.db"
    async with SagaLog.open(path) as log, upkeep(log, [], look_s=0.01):
        numbers = iter(range(1_000_000))
        remove_lock(path)

        async def is_refused() -> bool:
            try:
                await log.accept(accepted(f"saga {next(numbers)}"))
            except LogUnavailable:
                return True
            return False

        await eventually_async("a refusal", is_refused)


async def test_what_comes_back_is_ready_again(tmp_path: Path) -> None:
    path = tmp_path / "var" / "saga-log.db"
    async with SagaLog.open(path) as log:
        move_folder(path)
        assert await log.check()
        (tmp_path / "elsewhere").rename(tmp_path / "var")
        assert await log.check() == ""
        assert await log.accept(accepted("new"))


@pytest.mark.parametrize("harm", HARMS)
async def test_a_service_whose_files_are_not_in_place_says_so(
    tmp_path: Path, harm: Callable[[Path], str]
) -> None:
    path = tmp_path / "var" / "lab.db"
    scripts = Scripts(tmp_path / "lab.sql", "", {}, {})
    async with SqliteStore.open(path, scripts, ManualClock()) as store:
        assert await store.check() == ""
        assert harm(path) in await store.check()
