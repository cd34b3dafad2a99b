#!/usr/bin/env python
"""Measure the generator: `python bench/generate.py [--services N ...]`.

For each size: a project of N services, N sagas of three steps and N proto packages is generated from nothing; again
with no change; again after a line was added to one message, and after one of a saga was changed. Beside them buf with
betterproto2's plugin alone makes the messages of the same protos. Every run is a process of its own, and prints one
line of JSON: wall time, and CPU time (user and system, of the process and all that it starts). A first line tells what
Python's start costs here.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from generating import add_a_field, lengthen_a_deadline, write_project

from sagagen.contract.buf import buf_command, open_workspace

SIZES = (3, 30, 300)
SCRIPTS = Path(sys.executable).parent
SAGAGEN = (str(SCRIPTS / "sagagen"), "generate")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure `sagagen generate` beside betterproto2's plugin.")
    parser.add_argument("--services", type=int, nargs="+", default=SIZES, metavar="N", help="sizes")
    parser.add_argument("--data", type=Path, help="folder for the projects")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.data) as folder:
        timed("python", 0, [sys.executable, "-c", "pass"], Path(folder))
        for services in given.services:
            measure(services, Path(folder, str(services)))


def measure(services: int, root: Path) -> None:
    write_project(root, services)
    timed("nothing", services, SAGAGEN, root)
    timed("no change", services, SAGAGEN, root)
    add_a_field(root)
    timed("one line", services, SAGAGEN, root)
    lengthen_a_deadline(root)
    timed("one line of a saga", services, SAGAGEN, root)
    with open_workspace(root) as workspace:
        plugin = {"local": str(SCRIPTS / "protoc-gen-python_betterproto2"), "out": "out", "strategy": "all"}
        template = json.dumps({"version": "v2", "plugins": [plugin]})
        command = [buf_command(), "generate", "contracts", "--template", template]
        timed("betterproto2", services, command, workspace.folder)


def timed(run: str, services: int, command: tuple[str, ...] | list[str], folder: Path) -> None:
    """Run a command, which must succeed, and print its figures."""
    path = os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", os.defpath)])  # the plugin calls ruff
    before, began = _cpu_s(), time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    wall_s, cpu_s = time.perf_counter() - began, _cpu_s() - before
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    figures = {"run": run, "services": services, "wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 3)}
    print(json.dumps({**figures, "load_average": round(os.getloadavg()[0], 1)}), flush=True)


def _cpu_s() -> float:
    """Of every child that has ended, and of their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
