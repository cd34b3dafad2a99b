"""The project of trees (tests/projects/tree) as one process: sagas that loop, and sagas that wait."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import Processes, free_ports

from sagagen.contract import read_contract
from sagagen.emit.render import emit
from sagagen.workspace.writing import write

PROJECT = Path(__file__).resolve().parents[1] / "tests" / "projects" / "tree"


@dataclass(frozen=True)
class Trees:
    """A stack that takes these sagas on."""

    port: int
    data: Path
    admin: int

    @property
    def log(self) -> Path:
        return self.data / "saga-log.db"

    @property
    def store(self) -> Path:
        """The database of the one service."""
        return self.data / "store.db"


def generate(root: Path) -> None:
    """Make the project in `root`."""
    shutil.copytree(PROJECT, root)
    mesh, findings = read_contract(root)
    assert mesh, findings
    write(root, emit(mesh))


def start(
    processes: Processes,
    root: Path,
    data: Path,
    *,
    environment: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
) -> Trees:
    """Start the project, and return when it listens. `under`: a command that runs it."""
    http, admin = free_ports(2)
    told = {
        "SAGAGEN_DATA_DIR": str(data),
        "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
        "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
        "SAGAGEN_LOG_FORMAT": "json",
        **(environment or {}),
    }
    command = [*under, sys.executable, "-m", "sagagen", "up", "--project", str(root)]
    processes.start(command, told, cwd=data)
    processes.await_port(http)
    return Trees(http, data, admin)


def post(path: str, key: str, body: Mapping[str, object]) -> bytes:
    """A whole HTTP request."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"x-idempotency-key: {key}\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
