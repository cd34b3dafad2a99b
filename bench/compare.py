#!/usr/bin/env python
"""Measure all stacks in rounds: `python bench/compare.py [--rounds R] [--peers DIR] [options of sagas.py]`.

A round runs the floor, the shop in one process and the shop as a mesh one after the other, so that what is compared
lies near in time. Each run's line of JSON goes to standard error as it comes; at the end a table of medians (least to
most) and ratios to the floor of the same round goes to standard output, in Markdown.

`--peers DIR` adds other systems: a folder whose `run.py PEER N CONCURRENCY` prints a line of JSON with
`cpu_ms_per_saga`, and `rss_peak_mib` by process if it likes, for each name given by `--peer` (default `sqlite`). Their
own requirements must be installed in the interpreter that `--peers-python` names.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RUN_WITHIN_S = 600.0
STACKS = {
    "floor": ["floor.py"],
    "embedded": ["sagas.py"],
    "mesh": ["sagas.py", "--mesh"],
    "mesh with Redis": ["sagas.py", "--mesh", "--redis"],
    "mesh, TLS": ["sagas.py", "--mesh", "--tls"],
    **{
        f"{stack}, telemetry {kind}": ["sagas.py", *mode, "--telemetry", kind]
        for stack, mode in (("embedded", []), ("mesh", ["--mesh"]))
        for kind in ("lost", "received")
    },
}
ROWS = {
    "cpu_ms_per_saga": "CPU, ms a saga",
    "accepted_per_s": "accepted a second",
    "completed_per_s": "completed a second",
    "accept_p50_ms": "p50 of acceptance, ms",
    "accept_p99_ms": "p99 of acceptance, ms",
    "end_to_end_p50_ms": "p50 end to end, ms",
    "end_to_end_p99_ms": "p99 end to end, ms",
    "peak_rss_mib": "peak memory, MiB, all processes",
}
_OF_PEERS = {
    "sagas_per_s": "completed_per_s",
    "post_to_terminal_p50_ms": "end_to_end_p50_ms",
    "post_to_terminal_p99_ms": "end_to_end_p99_ms",
}
"""How the peers call what we measure too, where their name differs."""

Round = dict[str, dict[str, float]]
"""Figures by stack."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Other systems that take the same orders."""

    folder: Path
    python: str
    names: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure all stacks in rounds.")
    parser.add_argument("--rounds", type=int, default=5, metavar="R")
    parser.add_argument("--stack", action="append", choices=list(STACKS), help="only these; may be repeated")
    parser.add_argument("--sagas", type=int, default=300, metavar="N")
    parser.add_argument("--concurrency", type=int, default=32, metavar="C")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="a folder with run.py")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--peer", action="append", metavar="NAME", help="which of them; may be repeated")
    given, others = parser.parse_known_args()
    size = ["--sagas", str(given.sagas), "--concurrency", str(given.concurrency)]
    peers = given.peers and Peers(given.peers.resolve(), given.peers_python, tuple(given.peer or ["sqlite"]))
    stacks = given.stack or [name for name in STACKS if "telemetry" not in name]
    rounds: list[Round] = []
    for _ in range(given.rounds):
        figures = {name: _ours(STACKS[name], [*size, *others]) for name in stacks}
        if peers:
            figures |= {name: _of_peer(peers, name, given) for name in peers.names}
        rounds.append(figures)
    print("\n".join(table(rounds)))


def _ours(command: Sequence[str], options: Sequence[str]) -> dict[str, float]:
    script, *mode = command
    return _line([sys.executable, str(HERE / script), *mode, *options], HERE)


def _of_peer(peers: Peers, name: str, given: argparse.Namespace) -> dict[str, float]:
    mode = "seq" if given.concurrency == 1 else "open"
    command = [peers.python, "run.py", name, str(given.sagas), str(given.concurrency), "--mode", mode]
    figures: dict[str, Any] = _line(command, peers.folder)
    renamed = {ours: figures[theirs] for theirs, ours in _OF_PEERS.items() if theirs in figures}
    if by_process := figures.get("rss_peak_mib"):
        renamed["peak_rss_mib"] = sum(by_process.values())
    return figures | renamed


def _line(command: Sequence[str], folder: Path) -> dict[str, Any]:
    """The figures that a run prints. Raises CalledProcessError, with its own messages already shown."""
    run = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=RUN_WITHIN_S, cwd=folder
    )
    print(run.stdout.strip(), file=sys.stderr, flush=True)
    return json.loads(run.stdout.splitlines()[-1])


def table(rounds: Sequence[Round]) -> list[str]:
    """Lines of Markdown. The first stack is what the others are relative to."""
    stacks = list(rounds[0])
    lines = ["| | " + " | ".join(stacks) + " |", "|---" * (len(stacks) + 1) + "|"]
    for key, title in ROWS.items():
        lines.append(row(title, [spread([one[name].get(key) for one in rounds]) for name in stacks]))
        if key in ("cpu_ms_per_saga", "end_to_end_p50_ms"):
            lines.append(row("relative to the first", [_relative(rounds, name, key) for name in stacks]))
    return lines


def row(title: str, cells: Sequence[str]) -> str:
    return f"| {title} | " + " | ".join(cells) + " |"


def _relative(rounds: Sequence[Round], name: str, key: str) -> str:
    first = next(iter(rounds[0]))
    return spread([one[name][key] / one[first][key] if key in one[name] else None for one in rounds], 2)


def spread(found: Sequence[float | None], digits: int = 1) -> str:
    """Median (least to most), or a dash where a stack does not tell."""
    values = [value for value in found if value is not None]
    if not values:
        return "-"
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


if __name__ == "__main__":
    main()
