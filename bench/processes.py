"""A stack's processes, and what they cost: CPU time, memory and syncs to disk, read from the system."""

import os
import random
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

START_WITHIN_S = 30.0
STOP_WITHIN_S = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SYNC = re.compile(r"\b(?:fsync|fdatasync)\(\d+<([^>]*)>")


_WRITES_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


class DidNotStart(Exception):
    """A process ended, or did not listen in time; the message has the end of its output."""


class Processes:
    """Processes that belong together; their children count too."""

    def __init__(self, output: Path, start_within_s: float = START_WITHIN_S) -> None:
        self._output = output
        self._start_within_s = start_within_s
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], environment: Mapping[str, str], *, cwd: Path) -> int:
        """Returns its process id."""
        with self._output.open("ab") as output:
            process = subprocess.Popen(
                command, env=_installed(environment), stdout=output, stderr=output, cwd=cwd
            )
        self._running.append(process)
        return process.pid

    def await_port(self, port: int) -> None:
        """Return when something listens on the port. Raises DidNotStart."""
        give_up_at = time.monotonic() + self._start_within_s
        while time.monotonic() < give_up_at and all(process.poll() is None for process in self._running):
            if is_listening(port):
                return
            time.sleep(0.05)
        raise DidNotStart(f"nothing listens on port {port}:\n{self._output.read_text()[-3000:]}")

    def stop(self) -> None:
        """SIGTERM to all, the last one started first; SIGKILL to what does not end."""
        while self._running:
            process = self._running.pop()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill(self) -> None:
        """SIGKILL to all of them and their children at once."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        while self._running:
            self._running.pop().wait()

    @property
    def pids(self) -> tuple[int, ...]:
        """Of all processes and their children."""
        children = _children()
        pids = [process.pid for process in self._running]
        for pid in pids:
            pids.extend(children.get(pid, ()))
        return tuple(pids)

    def cpu_s(self) -> float:
        """User and system time so far, in seconds, of all their threads."""
        return sum(_cpu_ticks(pid) for pid in self.pids) / _TICKS_PER_S

    def exact_cpu_s(self) -> float:
        """As `cpu_s`, and to the nanosecond; of threads that live."""
        return sum(map(exact_cpu_s, self.pids))

    def with_children(self, pid: int) -> tuple[int, ...]:
        """A process and its children."""
        return (pid, *_children().get(pid, ()))

    def peak_rss_mib(self) -> float:
        """The sum of what each had in memory at its peak. Pages that they share count once for each."""
        return sum(_status_kib(pid, "VmHWM") for pid in self.pids) / 1024

    def forget_peak(self) -> None:
        """Let the peak begin anew, from what is in memory now."""
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def rss_mib(self) -> float:
        """The sum of what each has in memory now; as above."""
        return sum(map(rss_mib, self.pids))

    @contextmanager
    def counting_syncs(self, trace: Path) -> Generator[Counter[str]]:
        """Count fsync and fdatasync by file name with strace, which slows the processes down a lot."""
        counts: Counter[str] = Counter()
        command = ["strace", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
        for pid in self.pids:
            command += ["-p", str(pid)]
        with subprocess.Popen(command) as tracer:
            time.sleep(1.0)  # strace says nothing once it has attached
            try:
                yield counts
            finally:
                tracer.send_signal(signal.SIGINT)
        counts.update(Path(path).name for path in _SYNC.findall(trace.read_text()))


def free_ports(count: int) -> list[int]:
    """So many ports in a row that nobody listens on just now."""
    for _ in range(100):
        first = random.randrange(20_000, 32_000 - count)
        ports = list(range(first, first + count))
        if not any(is_listening(port) for port in ports):
            return ports
    raise DidNotStart(f"no {count} free ports in a row")


def _installed(environment: Mapping[str, str]) -> dict[str, str]:
    """This process's environment and more, without what would compile every module again at each start."""
    ours = {name: value for name, value in os.environ.items() if name != _WRITES_NO_BYTECODE}
    return {**ours, **environment}


def is_listening(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    return children


def _cpu_ticks(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, from the state on; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def exact_cpu_s(pid: int) -> float:
    """User and system time of one process so far, in seconds, of the threads that live."""
    return sum(map(_run_ns, Path(f"/proc/{pid}/task").iterdir())) / 1e9


def rss_mib(pid: int) -> float:
    """What one process has in memory now."""
    return _status_kib(pid, "VmRSS") / 1024


def pss_mib(pid: int) -> float:
    """As `rss_mib`; of pages that several processes share, its part."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[0]) / 1024


def _run_ns(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0])
    except OSError:
        return 0


def _status_kib(pid: int, name: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) if found else 0
