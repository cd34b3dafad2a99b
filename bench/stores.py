#!/usr/bin/env python
"""Measure a service's store in rounds: `python bench/stores.py [--hot] [--rounds R] [--store NAME] ...`.

The shop's inventory on SQLite and on PostgreSQL in each isolation, each in a process of its own, all of them running;
a round asks one after the other for the same calls (ReserveStock), so that what is compared lies near in time. Both
databases are on the same disk (`--data`). Without a network: what a transport costs is not in it.

By default each call takes another product, at 1, 16 and 32 at once, on an empty database and on one with 300,000 rows
in the barrier and in each table. With `--hot` all calls take one product, at 16 and 48 at once, by a handler that
computes in the database and by one that reads, computes and writes; what is turned away is sent again.

Prints a table of medians of at most R rounds (least to most) in Markdown. CPU is that of the service's process, who
calls it included, and of the server's processes behind it: those that serve connections, and the rest.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from postgres_server import PostgresServer

STORES = ("sqlite", "read_committed", "repeatable_read", "serializable")
ROWS = 300_000
PRODUCTS = 10_000
"""Of an empty database: stock is not empty even there, and nobody waits for anybody."""
CALLS = {1: 150, 16: 800, 32: 1200, 48: 700}
"""By how many are at once: enough for some hundredths of a second of CPU each."""
WARM_UP = 300
HERE = Path(__file__).resolve().parent
SERVICE = HERE / "stored_service.py"
Figures = dict[str, float]


class Shape(NamedTuple):
    """What is compared over stores."""

    rows: int
    concurrency: int
    reads_first: bool = False
    is_hot: bool = False

    def __str__(self) -> str:
        what = f"{self.rows:,} rows, {self.concurrency} at once"
        if self.is_hot:
            what = f"{'reads, then writes' if self.reads_first else 'computes in SQL'}, {self.concurrency} at once"
        return what


class Case(NamedTuple):
    """A store in one of its sizes."""

    store: str
    rows: int


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a service's store, on SQLite and on PostgreSQL.")
    parser.add_argument("--rounds", type=int, default=5, metavar="R")
    parser.add_argument(
        "--seconds",
        type=float,
        default=120,
        metavar="S",
        help="after which no round begins; the first one does",
    )
    parser.add_argument("--hot", action="store_true", help="all calls change one row")
    parser.add_argument("--store", action="append", choices=STORES, help="which; may be repeated")
    parser.add_argument("--concurrency", type=int, action="append", metavar="C", help="may be repeated")
    parser.add_argument("--rows", type=int, action="append", metavar="N", help="rows before; may be repeated")
    parser.add_argument(
        "--data", type=Path, help="folder for the data; on a real disk, or syncs cost nothing"
    )
    given = parser.parse_args()
    stores: Sequence[str] = given.store or STORES
    shapes = _shapes(given)
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer.running(given.data))
        cases = [
            Case(store, rows) for rows in dict.fromkeys(shape.rows for shape in shapes) for store in stores
        ]
        services = {case: stack.enter_context(_service(case, server, given.data)) for case in cases}
        for service in services.values():
            service.run("warm", WARM_UP, 16, PRODUCTS)
        measured: dict[tuple[Shape, str], list[Figures]] = {}
        begun_s = time.monotonic()
        for number in range(given.rounds):
            if number and time.monotonic() - begun_s > given.seconds:
                break
            for shape in shapes:
                for store in stores:
                    figures = _measure(services[Case(store, shape.rows)], server, shape, f"r{number}")
                    measured.setdefault((shape, store), []).append(figures)
                    print(json.dumps({"shape": str(shape), "store": store, **figures}), file=sys.stderr)
    print("\n".join(_table(measured)))


def _shapes(given: argparse.Namespace) -> list[Shape]:
    if given.hot:
        at_once = given.concurrency or (16, 48)
        return [Shape(0, each, reads_first, True) for reads_first in (False, True) for each in at_once]
    at_once = given.concurrency or (1, 16, 32)
    return [Shape(rows, each) for rows in given.rows or (0, ROWS) for each in at_once]


class Service:
    """A process of `stored_service.py`."""

    def __init__(self, process: subprocess.Popen[str], rows: int) -> None:
        self._process = process
        self.rows = rows
        self._number = 0

    def run(
        self, name: str, calls: int, concurrency: int, products: int, reads_first: bool = False
    ) -> Figures:
        self._number += 1
        return self.ask([f"{name}-{self._number}", calls, concurrency, products, reads_first])

    def ask(self, what: object) -> Figures:
        """One line to it, if there is anything to ask, and one from it."""
        assert self._process.stdin, "a pipe"
        assert self._process.stdout, "a pipe"
        if what:
            self._process.stdin.write(f"{json.dumps(what)}\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{SERVICE.name} ended with {self._process.wait()}")
        return json.loads(line)


@contextmanager
def _service(case: Case, server: PostgresServer, under: Path | None) -> Generator[Service]:
    """It runs, and its tables are filled."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=under)))
        database = f"{case.store}_{case.rows}"
        place = str(folder) if case.store == "sqlite" else server.make_database(database)
        process = subprocess.Popen(
            [sys.executable, SERVICE, case.store, place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
        stack.callback(_end, process)
        service = Service(process, case.rows)
        service.ask(None)
        if case.store == "sqlite":
            _fill_sqlite(folder / "inventory.db", case.rows)
        else:
            server.sql(_filling_postgres(case.rows), database)
        yield service


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _fill_sqlite(database: Path, rows: int) -> None:
    numbers = "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < {})"
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.execute(
            f"INSERT INTO stock {numbers.format(max(rows, PRODUCTS))} SELECT 'bench_' || n, 1000000000, 0 FROM number"
        )
        if rows:
            numbers = numbers.format(rows)
            connection.execute(
                f"INSERT INTO reservations {numbers} SELECT 'old-' || n, 'bench_' || n, 1 FROM number"
            )
            connection.execute(
                "INSERT INTO sagagen_barrier (saga, step, direction, run, started_ms, not_after_ms, digest, state, "
                f"outcome, trace_id) {numbers} SELECT lower(hex(randomblob(16))), 'reserve', 'action', "
                f"'0000000000000000', {_now_ms()} - n, 0, randomblob(32), 'DONE', x'', lower(hex(randomblob(16))) "
                "FROM number"
            )


def _filling_postgres(rows: int) -> str:
    text = (
        "INSERT INTO stock SELECT 'bench_' || n, 1000000000, 0 "
        f"FROM generate_series(0, {max(rows, PRODUCTS) - 1}) AS n;\n"
    )
    if rows:
        text += (
            "INSERT INTO reservations SELECT 'old-' || n, 'bench_' || n, 1 "
            f"FROM generate_series(0, {rows - 1}) AS n;\n"
            "INSERT INTO sagagen_inventory.barrier (saga, step, direction, run, started_ms, not_after_ms, digest, "
            "state, outcome, trace_id) SELECT md5(n::text), 'reserve', 'action', '0000000000000000', "
            f"{_now_ms()} - n, 0, sha256(n::text::bytea), 'DONE', '', md5('t' || n) "
            f"FROM generate_series(0, {rows - 1}) AS n;\n"
        )
    return text + "VACUUM ANALYZE;\n"


def _measure(service: Service, server: PostgresServer, shape: Shape, name: str) -> Figures:
    products = 1 if shape.is_hot else max(shape.rows, PRODUCTS)
    calls = CALLS.get(shape.concurrency, 800)
    served_s, others_s = server.cpu_s()
    figures = service.run(name, calls, shape.concurrency, products, shape.reads_first)
    served, others = server.cpu_s()
    figures["postgres_ms"] = (served - served_s) / calls * 1000
    figures["postgres_others_ms"] = (others - others_s) / calls * 1000
    return figures


COLUMNS = {
    "calls_per_s": ("calls/s", 0),
    "cpu_ms": ("CPU in the service, ms", 2),
    "postgres_ms": ("in PostgreSQL, ms", 2),
    "p50_ms": ("p50, ms", 1),
    "p99_ms": ("p99, ms", 1),
    "repeated_per_call": ("repeats a call", 2),
    "refused_per_call": ("turned away a call", 3),
}


def _table(measured: dict[tuple[Shape, str], list[Figures]]) -> list[str]:
    titles = [title for title, _ in COLUMNS.values()]
    lines = ["| | store | " + " | ".join([*titles, "calls/s, of the first"]) + " |"]
    lines.append("|---" * (len(titles) + 3) + "|")
    first = next(store for _, store in measured)
    for (shape, store), rounds in measured.items():
        cells = [_spread([each[key] for each in rounds], digits) for key, (_, digits) in COLUMNS.items()]
        beside = measured[shape, first]
        ratios = [
            one["calls_per_s"] / other["calls_per_s"] for one, other in zip(rounds, beside, strict=True)
        ]
        lines.append(f"| {shape} | {store} | " + " | ".join([*cells, _spread(ratios, 2)]) + " |")
    return lines


def _spread(values: Sequence[float], digits: int) -> str:
    """Median (least to most)."""
    if not any(values):
        return "0"
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def _now_ms() -> int:
    return round(time.time() * 1000)


if __name__ == "__main__":
    main()
