"""Files rendered by this process and a copy of it: the same files, whatever becomes of the copy."""

import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from sagagen.emit import side_by_side
from sagagen.emit.files import FilePlan
from sagagen.emit.side_by_side import Rendered, rendering

COUNT = 300


@pytest.fixture(autouse=True)
def on_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def render_all(plans: list[FilePlan]) -> Rendered:
    with rendering(plans) as rendered:
        return rendered()


def plans(render: Callable[[int], str | bytes]) -> list[FilePlan]:
    return [FilePlan(f"folder/{n}.txt", lambda n=n: render(n)) for n in range(COUNT)]


def test_both_processes_take_a_share_and_every_file_is_there_once() -> None:
    def slowly(_: int) -> str:
        time.sleep(0.001)
        return str(os.getpid())

    rendered = render_all(plans(slowly))
    assert len(rendered) == COUNT
    assert len(set(rendered.values())) == 2


def test_the_copy_works_while_this_process_does_something_else(tmp_path: Path) -> None:
    last = range(side_by_side._SHARES - 1, COUNT, side_by_side._SHARES)

    def render(n: int) -> str:
        if n in last:
            (tmp_path / str(n)).touch()
        return str(os.getpid())

    with rendering(plans(render)) as rendered:
        until = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < len(last):
            assert time.monotonic() < until, "nobody has rendered all of it meanwhile"
            time.sleep(0.01)
        assert set(rendered().values()).isdisjoint({str(os.getpid())})


def test_a_copy_that_nobody_asks_ends_with_the_block() -> None:
    with pytest.raises(KeyError, match="handlers"), rendering(plans(lambda n: str(n) * 10_000)):
        raise KeyError("handlers")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_text_stays_text_and_bytes_stay_bytes() -> None:
    rendered = render_all(plans(lambda n: str(n) if n % 2 else bytes([n % 256])))
    assert rendered == {f"folder/{n}.txt": str(n) if n % 2 else bytes([n % 256]) for n in range(COUNT)}


def test_few_files_are_rendered_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("no copy is worth it"))
    few = plans(str)[: side_by_side._WORTH_A_PROCESS - 1]
    assert set(render_all(few).values()) == {str(n) for n in range(len(few))}


def test_a_copy_that_is_killed_has_done_nothing() -> None:
    parent = os.getpid()

    def dying_in_the_copy(n: int) -> str:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.001)  # so that the copy has its chance
        return str(n)

    assert render_all(plans(dying_in_the_copy)) == {f"folder/{n}.txt": str(n) for n in range(COUNT)}
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no zombie is left


def test_a_copy_that_dies_while_it_hands_over_has_done_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()

    def die_half_way(value: dict[str, str], file: BinaryIO, **_: object) -> None:
        assert os.getpid() != parent
        file.write(pickle.dumps(value)[:-20])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(pickle, "dump", die_half_way)
    assert render_all(plans(str)) == {f"folder/{n}.txt": str(n) for n in range(COUNT)}


def test_where_no_process_can_be_made_all_is_rendered_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    before = os.listdir("/dev/fd")
    monkeypatch.setattr(os, "fork", fork)
    assert render_all(plans(str)) == {f"folder/{n}.txt": str(n) for n in range(COUNT)}
    assert os.listdir("/dev/fd") == before


@pytest.mark.parametrize("broken", range(0, COUNT, 37))
def test_a_mistake_shows_as_what_it_is_wherever_it_is_made(broken: int) -> None:
    def render(n: int) -> str:
        if n == broken:
            raise ValueError(f"file {n} is wrong")
        return str(n)

    with pytest.raises(ValueError, match=f"file {broken} is wrong"):
        render_all(plans(render))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_copy_keeps_nobody_elses_input_open() -> None:
    reading, writing = os.pipe()
    parent = os.getpid()

    def render(_: int) -> str:
        time.sleep(0.001)
        try:
            os.fstat(writing)
        except OSError:
            return "closed"
        return "open here" if os.getpid() == parent else "open in the copy"

    assert set(render_all(plans(render)).values()) == {"open here", "closed"}
    os.close(reading)
    os.close(writing)
