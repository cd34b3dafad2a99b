"""What a snapshot of a project sees: contents, whatever kind of file or link leads to them."""

import os
from pathlib import Path

import pytest

from sagagen.workspace.snapshot import has_same_contract, snapshot, state


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("contracts", "handlers"):
        (tmp_path / folder).mkdir()
    (tmp_path / "contracts/saga.yaml").write_text("version: v1\n")
    return tmp_path


def own(root: Path) -> dict[str, str]:
    return {
        name: digest
        for name, digest in snapshot(root).items()
        if name.startswith(("contracts/", "handlers/"))
    }


def test_a_change_counts_also_where_size_and_time_stay(root: Path) -> None:
    path = root / "contracts/saga.yaml"
    before, times = snapshot(root), path.stat()
    path.write_text("version: v2\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert state(snapshot(root)) != state(before)
    assert not has_same_contract(root, before)


def test_links_are_followed_and_those_in_a_circle_once(root: Path) -> None:
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "order.py").write_text("1")
    (root / "handlers/linked").symlink_to(elsewhere)
    (root / "handlers/around").symlink_to(root / "handlers")
    before = own(root)
    assert sorted(before) == ["contracts/saga.yaml", "handlers/linked/order.py"]
    (elsewhere / "order.py").write_text("2")
    assert own(root) != before


def test_what_is_no_file_is_left_alone(root: Path) -> None:
    before = own(root)
    os.mkfifo(root / "handlers/pipe")
    (root / "handlers/broken").symlink_to("nowhere")
    (root / "handlers/__pycache__").mkdir()
    (root / "handlers/__pycache__/order.py").write_text("1")
    (root / "handlers/order.pyc").write_text("1")
    assert own(root) == before
