"""What a process keeps is its user's alone, and nobody else decides what it opens."""

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from project_copy import WRITTEN, copy_project
from stack import Stack, place_order

from sagagen.cli.sagas import sagas
from sagagen.cli.up import up
from sagagen.runtime.log.reserve import Reserve
from sagagen.runtime.sqlite.lock import OwnerLock
from sagagen.runtime.sqlite.privacy import FolderOfOthers, LinkInPlace, make_private, private_folder


def modes(folder: Path) -> dict[str, int]:
    """Of a folder and of all in it."""
    found = {path.name: path for path in folder.iterdir()} | {".": folder}
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in found.items()}


class BelowStack(Stack):
    """Keeps its data in a folder that the process makes."""

    @property
    def made(self) -> Path:
        return self.data_dir / "made"

    def environment(self, name: str) -> dict[str, str]:
        return super().environment(name) | {"SAGAGEN_DATA_DIR": str(self.made)}


@pytest.mark.slow
def test_everything_that_a_process_makes_is_its_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(BelowStack(tmp_path / "var")) as stack:
            stack.start("up")
            place_order(stack, "private")
            found = modes(stack.made)
            expected = {"saga-log.db", "saga-log.db-wal", "saga-log.db-shm", "saga-log.db.lock"}
            expected |= {"saga-log.db.reserve", "saga-log.db.deaths", "order.db", "order.db.lock"}
            assert expected <= set(found)
            assert found == {name: 0o700 if name == "." else 0o600 for name in found}

            # What an earlier version made under the user's umask.
            stack.kill("up")
            for file in stack.made.iterdir():
                file.chmod(0o644)
            stack.made.chmod(0o755)
            stack.start("up")
            found = modes(stack.made)
            assert found == {name: 0o755 if name == "." else 0o600 for name in found}
    finally:
        os.umask(before)


def test_a_folder_that_anybody_may_write_in_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copy_project("shop", tmp_path / "shop", (*WRITTEN, "generated"))
    (root / "var").mkdir()
    for mode in (0o777, 0o702):
        (root / "var").chmod(mode)
        result = CliRunner().invoke(up, ["--project", str(root)])
        assert result.exit_code == 1
        assert f"chmod go-w {root / 'var'}" in result.output
        assert "SAGAGEN_DATA_DIR" in result.output
        assert list((root / "var").iterdir()) == []
        with pytest.raises(FolderOfOthers), OwnerLock(root / "var" / "a.db"):
            pass


def test_a_folder_with_the_sticky_bit_is_taken_while_nothing_of_others_is_in_it(tmp_path: Path) -> None:
    """As a tmpfs is mounted, and /tmp is."""
    folder = tmp_path / "var"
    folder.mkdir()
    folder.chmod(0o1777)
    with OwnerLock(folder / "a.db"):
        pass
    private_folder(folder)
    if os.geteuid():
        pytest.skip("only root may make a file of another user")
    (folder / "b.db").touch()
    os.chown(folder / "b.db", 65534, 65534)
    with pytest.raises(FolderOfOthers), OwnerLock(folder / "a.db"):
        pass


def test_a_log_in_such_a_folder_is_not_read_either(tmp_path: Path) -> None:
    log = tmp_path / "saga-log.db"
    log.touch()
    tmp_path.chmod(0o777)
    asked = CliRunner().invoke(sagas, ["list", "--log", str(log)])
    assert asked.exit_code == 1
    assert asked.output.startswith(f"Error: every user of this machine may write in {tmp_path}")


def test_a_folder_of_ours_that_our_group_may_write_in_is_taken_back(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    folder.mkdir()
    folder.chmod(0o775)
    private_folder(folder)
    assert modes(folder) == {".": 0o755}


def test_a_link_is_not_followed_to_a_lock(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    (tmp_path / "a.db.lock").symlink_to(precious)
    with pytest.raises(LinkInPlace, match=r"a\.db\.lock is a symbolic link"), OwnerLock(tmp_path / "a.db"):
        pass
    assert precious.read_text() == "as it was"
    (tmp_path / "b.db.lock").symlink_to(tmp_path / "not there")
    with pytest.raises(LinkInPlace), OwnerLock(tmp_path / "b.db"):
        pass
    assert not (tmp_path / "not there").exists()


def test_a_link_is_not_followed_to_a_reserve(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    size = 64 * 1024
    precious.write_bytes(b"x" * size)  # of the reserve's size, so that it would pass for one
    (tmp_path / "log.db.reserve").symlink_to(precious)
    reserve = Reserve(tmp_path / "log.db", size)
    assert reserve.make()
    assert precious.read_bytes() == b"x" * size
    made = (tmp_path / "log.db.reserve").lstat()
    assert stat.S_ISREG(made.st_mode)
    assert stat.S_IMODE(made.st_mode) == 0o600


def test_modes_of_what_a_link_leads_to_stay(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    elsewhere.chmod(0o644)
    (tmp_path / "a.db").symlink_to(elsewhere)
    make_private(tmp_path / "a.db")
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
