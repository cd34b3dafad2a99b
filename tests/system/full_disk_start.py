"""The shop on a disk of its own that is full when it starts. Run as root of a mount namespace; prints `fine`."""

import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import count
from pathlib import Path

import httpx
from small_disk import fill
from stack import Stack, post_order
from waiting import eventually, under_load

OPEN = "SELECT count(*) AS n FROM saga WHERE status IN ('RUNNING', 'COMPENSATING')"
KEYS = (f"order-{number}" for number in count())


def open_sagas(stack: Stack) -> int:
    return stack.rows("saga-log", OPEN)[0]["n"]


def readiness(stack: Stack) -> str:
    return stack.http.get("/readyz").text


def leave_one_under_way(stack: Stack, name: str) -> None:
    """All processes are killed while a saga waits for its payment."""
    stack.start(name)
    with stack.holding_writes("payment"):
        threading.Thread(target=post_order, args=(stack, next(KEYS)), daemon=True).start()
        eventually("a saga under way", lambda: open_sagas(stack) == 1)
        stack.kill(name)
    assert open_sagas(stack) == 1


def start_full(stack: Stack, name: str, filler: Path) -> None:
    """With the reserve: it starts, and ends what is under way."""
    fill(filler)
    stack.begin(name)
    eventually(
        "the full disk to be said",
        lambda: readiness(stack),
        lambda said: "the disk is full" in said,
        despite=(httpx.TransportError,),
    )
    eventually("what is under way to end", lambda: open_sagas(stack) == 0)
    assert post_order(stack, next(KEYS)).status_code == 503
    filler.unlink()
    begun_s = time.monotonic()
    eventually("an order to be accepted", lambda: post_order(stack, next(KEYS)).status_code in (201, 202))
    assert time.monotonic() - begun_s < under_load(4.0)
    stack.terminate(name)


def start_without_reserve(stack: Stack, name: str, filler: Path) -> None:
    """It says what it waits for, and starts by itself."""
    (stack.data_dir / "saga-log.db.reserve").unlink()
    fill(filler)
    said_before = len(stack.log_path.read_text())
    process = stack.begin(name)
    waits = eventually(
        "a line",
        lambda: stack.log_path.read_text()[said_before:],
        lambda said: "it starts by itself when there is room" in said,
    )
    assert ".db can't be opened: the disk is full; free some room in" in waits
    filler.unlink()
    eventually(
        "a start", lambda: readiness(stack), lambda said: said == "ready\n", despite=(httpx.TransportError,)
    )
    assert process.poll() is None
    stack.terminate(name)


def live(name: str, folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)], check=True)
    with closing(Stack(disk / "var")) as stack:
        stack.log_path = folder / "processes.log"
        try:
            leave_one_under_way(stack, name)
            start_full(stack, name, disk / "filler")
            start_without_reserve(stack, name, disk / "filler")
            assert "Traceback" not in stack.log_path.read_text()
        except BaseException:
            print(stack.log_path.read_text()[-4000:], file=sys.stderr)
            raise


if __name__ == "__main__":
    live(sys.argv[1], Path(sys.argv[2]))
    print("fine")
