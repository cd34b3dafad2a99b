"""Has today's code finish a set of the corpus: as processes, over files that an earlier release left."""

import json
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from journey_project import SERVICES
from released_set import LOG, ReleasedSet
from stack import Stack, keyed

WITHIN_S = 120.0
REFUSED = "refused"


@dataclass
class Finished:
    """What became of a set. Where a saga stands is its status, by its key."""

    released: ReleasedSet
    stack: Stack
    shown: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What `show_at_rest.py` printed, before anything else happened."""
    resumed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where each saga stood once none moved any more."""
    helped: dict[str, list[tuple[str, str]]] = field(default_factory=dict[str, list[tuple[str, str]]])
    """What an operator did about a saga, and where it stood then (or REFUSED)."""
    ended: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where each stood in the end."""
    answers: Mapping[str, httpx.Response] = field(default_factory=dict[str, httpx.Response])
    """To the requests that had started them, asked again in the end."""


@contextmanager
def restored(released: ReleasedSet, root: Path, folder: Path) -> Generator[Finished]:
    """The files of a set in a new folder, and the project in `root` to run on them."""
    released.restore(folder / "var")
    stack = Stack(folder / "var", root=root, services=SERVICES)
    try:
        yield Finished(released, stack)
    finally:
        stack.close()


def show_at_rest(stack: Stack) -> Mapping[str, Any]:
    """As `sagagen sagas list` and `show` tell it, without a running gateway."""
    script = Path(__file__).with_name("show_at_rest.py")
    command = [sys.executable, str(script), str(log_of(stack))]
    shown = subprocess.run(command, cwd=stack.root, capture_output=True, text=True, check=True)
    return json.loads(shown.stdout)


def log_of(stack: Stack) -> Path:
    return stack.data_dir / f"{LOG}.db"


def statuses(stack: Stack) -> dict[str, str]:
    found = stack.rows(LOG, "SELECT idempotency_key, status FROM saga")
    return {row["idempotency_key"]: row["status"] for row in found}


def come_to_rest(stack: Stack, *, but: str = "") -> dict[str, str]:
    """Wait until no saga is active, except for `but`, which waits for something. Returns where they stand."""
    ends_s = time.monotonic() + WITHIN_S
    while True:
        found = statuses(stack)
        active = [key for key, each in found.items() if each in ("RUNNING", "COMPENSATING") and key != but]
        if not active:
            return found
        assert time.monotonic() < ends_s, f"still active: {active}"
        time.sleep(0.05)


def help_out(stack: Stack, key: str, acts: Sequence[str], *, but: str = "") -> list[tuple[str, str]]:
    """Do as an operator would, one act after the other."""
    return [(act, _act(stack, key, act, but)) for act in acts]


def _act(stack: Stack, key: str, act: str, but: str) -> str:
    url = f"{stack.admin_url}/sagas/{saga_id_of(stack, key)}/{act}"
    shown = httpx.get(url.rpartition("/")[0], timeout=60).json()
    order = {"by": "bob", "note": "by hand", "step": shown["step"]}
    answered = httpx.post(url, json=order, timeout=60)
    if answered.status_code == 409:
        return REFUSED
    answered.raise_for_status()
    return come_to_rest(stack, but=but)[key]


def saga_id_of(stack: Stack, key: str) -> str:
    (row,) = stack.rows(LOG, f"SELECT saga_id FROM saga WHERE idempotency_key = '{key}'")
    return row["saga_id"]


def ask_again(stack: Stack, requests: Iterable[Mapping[str, Any]]) -> dict[str, httpx.Response]:
    """Send the requests that had started the sagas once more. Returns what is answered, by their keys."""
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        return {
            each["key"]: client.post(each["path"], json=each["body"], headers=keyed(each["key"]))
            for each in requests
        }
