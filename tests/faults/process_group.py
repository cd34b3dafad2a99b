"""Processes of a mesh, each by its name, that are killed, frozen and looked after."""

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

from waiting import LIMIT_S, eventually


class ProcessGroup(ABC):
    """What is in `processes` is to run: `look_after` starts it anew when it has ended by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "processes.log"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ended: list[tuple[str, int, float]] = []
        """Processes that ended by themselves: name, exit code, and how long they had run, in seconds."""
        self._began: dict[str, float] = {}

    @abstractmethod
    def command(self, name: str) -> list[str]: ...

    @abstractmethod
    def environment(self, name: str) -> Mapping[str, str]:
        """Beside that of the tests."""

    @abstractmethod
    def readiness_port(self, name: str) -> int:
        """Where the process answers /readyz."""

    def start(self, *names: str) -> None:
        """Start processes, and do not wait for them."""
        for name in names:
            with self.log.open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self.command(name),
                    env={**os.environ, **self.environment(name)},
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                )
            self._began[name] = time.monotonic()

    def signal(self, name: str, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.processes[name].send_signal(number)

    def kill(self, *names: str) -> None:
        """kill -9, and they are gone. They stay away until `start`."""
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.processes.pop(name).wait(timeout=LIMIT_S)

    def terminate(self, name: str) -> tuple[int, float]:
        """SIGTERM. Returns the exit code, and how long it took, in seconds."""
        process, begun = self.processes.pop(name), time.monotonic()
        process.terminate()
        return process.wait(timeout=LIMIT_S), time.monotonic() - begun

    def look_after(self) -> None:
        """Start anew what has ended by itself, as a supervisor does."""
        for name, process in list(self.processes.items()):
            code = process.poll()
            if code is not None:
                self.ended.append((name, code, time.monotonic() - self._began[name]))
                self.start(name)

    def starts_in_vain(self) -> int:
        """How often a process found no database when it started, said so and ended."""
        return self.log.read_text(encoding="utf-8", errors="replace").count("\nError: ")

    def await_all(self, names: Iterable[str]) -> None:
        """Wait until each of these is ready."""
        for name in names:
            eventually(f"{name} to be ready", lambda name=name: self.is_ready(name), bool)

    def is_ready(self, name: str) -> bool:
        self.look_after()
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.readiness_port(name)}/readyz", timeout=5
            ) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False
