#!/usr/bin/env python
"""Measure what bad input costs: `python bench/proportion.py [--bytes N] [--rounds N] [--only WORD]`.

Sends one request of every shape that a body can have a lot of, 1 MiB of each, to a gateway (JSON, to a route of a
service and to one that starts a saga) and to a service (protobuf over gRPC). Prints a line of JSON for each: the
answer, seconds of CPU, MiB of memory at the peak beyond those of the idle process, and how long its loop was held: the
CPU that the process used, at most, until it answered a /healthz meanwhile. CPU, since others use this machine too; and
the least of the rounds. Exits with 1 if one is beyond a ceiling, which is given for each MiB.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
from processes import Processes, free_ports

from sagagen.contract import read_contract
from sagagen.emit.render import emit
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.workspace.writing import write

CONTRACT = Path(__file__).with_name("proportion_contract")
MIB = 2**20
CPU_S, MEMORY_MIB, HELD_S = 0.5, 40.0, 0.05
"""Ceilings: CPU and memory for each MiB of a request, and how long the loop may be held."""

HANDLER = '''"""Takes whatever it is sent."""

from generated.pb.load.v1 import Load, Nothing
from generated.services.sink import SinkHandlers
from sagagen.runtime import Call


class SinkService(SinkHandlers):
    async def take(self, request: Load, call: Call) -> Nothing:
        return Nothing()
'''


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what bad input costs.")
    parser.add_argument("--bytes", type=int, default=MIB - 64, metavar="N", help="size of each request")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="times that each is sent")
    parser.add_argument("--only", default="", metavar="WORD", help="shapes whose name holds it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        figures = asyncio.run(_measured(Path(folder), given))
    sys.exit(1 if any(each["beyond"] for each in figures) else 0)


# -- shapes --------------------------------------------------------------------------------------------------------


def json_shapes(size: int) -> Iterator[tuple[str, bytes]]:
    """Each about `size` bytes, and never more."""

    def many(before: str, each: str | Callable[[int], str], after: str, separator: str = ",") -> bytes:
        parts: list[str] = []
        left = size - len(before) - len(after)
        while left > 0:
            part = each if isinstance(each, str) else each(len(parts))
            left -= len(part) + len(separator)
            parts.append(part)
        return (before + separator.join(parts[:-1]) + after).encode()

    yield "empty items", many('{"items":[', "{}", "]}")
    yield "items", many('{"items":[', '{"name":"a","count":1}', "]}")
    yield "more items than the contract allows", many('{"few":[', "{}", "]}")
    yield "rules broken three times an item", many('{"ruled":[', "{}", "]}")
    yield "rules kept", many('{"ruled":[', '{"name":"a","count":1,"price":1}', "]}")
    yield "unknown fields", many("{", lambda number: f'"u{number}":0', "}")
    yield "unknown fields in items", many('{"items":[', '{"x":0}', "]}")
    yield "one field again and again", many("{", '"text":""', "}")
    yield "entries of a map", many('{"numbers":{', lambda number: f'"{number:x}":1', "}}")
    yield "messages in a map", many('{"by_name":{', lambda number: f'"{number:x}":{{}}', "}}")
    yield "short strings", many('{"texts":[', '"a"', "]}")
    yield "one long string", many('{"text":"', "a", '"}', "")
    yield "escapes", many('{"text":"', r"\u00e9", '"}', "")
    yield "half surrogates", many('{"texts":[', r'"\ud800"', "]}")
    yield "invalid UTF-8", b'{"text":"' + b"a" * (size - 14) + b'\xff"}'
    yield "numbers", many('{"whole":[', "1", "]}")
    yield "numbers as strings", many('{"whole":[', '"1"', "]}")
    yield "doubles", many('{"doubles":[', "1.5", "]}")
    yield "digits", b'{"count":' + b"1" * (size - 12) + b"}"
    yield "wrong types", many('{"whole":[', "{}", "]}")
    yield "nested messages", b'{"inner":' * (size // 10) + b"{}" + b"}" * (size // 10)
    yield "nested lists", b"[" * (size // 2) + b"]" * (size // 2)
    yield "lists in a Struct", many('{"extras":{"a":[', "[]", "]}}")
    yield "numbers in a Struct", many('{"extras":{"a":[', "1", "]}}")
    yield "items in an Any", many('{"any":{"@type":"type.googleapis.com/load.v1.Load","items":[', "{}", "]}}")
    yield "base64", b'{"data":"' + b"QUFB" * ((size - 12) // 4) + b'"}'
    yield "spaces", b" " * (size - 2) + b"{}"


def wire_shapes(size: int) -> Iterator[tuple[str, bytes]]:
    """As `json_shapes`, encoded as a `Load`."""

    def many(each: bytes) -> bytes:
        return each * (size // len(each))

    def delimited(number: int, content: bytes) -> bytes:
        return _varint(number << 3 | 2) + _varint(len(content)) + content

    inner = b""
    while len(inner) < size - 8:
        inner = delimited(8, inner)
    yield "empty items", many(delimited(1, b""))
    yield "items", many(delimited(1, b"\x0a\x01a\x10\x01"))
    yield "more items than the contract allows", many(delimited(2, b""))
    yield "rules broken three times an item", many(delimited(13, b""))
    yield "rules kept", many(delimited(13, b"\x0a\x01a\x10\x01\x19" + b"\x00" * 6 + b"\xf0\x3f"))
    yield "unknown fields", many(b"\xa0\x06\x00")
    yield "unknown fields in items", many(delimited(1, b"\xa0\x06\x00"))
    yield (
        "entries of a map",
        b"".join(delimited(3, b"\x0a\x06%06x\x10\x01" % number) for number in range(size // 12)),
    )
    yield (
        "messages in a map",
        b"".join(delimited(4, b"\x0a\x06%06x\x12\x00" % number) for number in range(size // 12)),
    )
    yield "short strings", many(delimited(5, b""))
    yield "one long string", delimited(12, b"a" * (size - 6))
    yield "invalid UTF-8", delimited(12, b"a" * (size - 7) + b"\xff")
    yield "numbers", delimited(6, b"\x01" * (size - 6))
    yield "doubles", delimited(7, b"\x00" * ((size - 6) // 8 * 8))
    yield "nested messages", inner
    yield "lists in a Struct", delimited(9, many(delimited(1, b"\x0a\x00\x12\x02\x32\x00"))[: size - 6])
    yield "an Any", delimited(10, delimited(2, b"a" * (size - 12)))
    yield "bytes", delimited(11, b"\x00" * (size - 6))
    yield "zeros", many(b"\x00")


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


# -- measuring -----------------------------------------------------------------------------------------------------


@dataclass
class _Target:
    """One process, and how it is asked."""

    name: str
    processes: Processes
    health: httpx.AsyncClient
    send: Callable[[bytes], Awaitable[str]]
    shapes: Callable[[int], Iterator[tuple[str, bytes]]] = field(default=json_shapes)
    idle_mib: float = 0.0
    """In memory before the first request."""


class _Round(NamedTuple):
    cpu_s: float
    memory_mib: float
    held_s: float
    answer: str


async def _measured(folder: Path, given: argparse.Namespace) -> list[dict[str, object]]:
    figures: list[dict[str, object]] = []
    async with _stack(folder) as targets:
        for target in targets:
            await target.send(b"")
            target.idle_mib = target.processes.rss_mib()
            for shape, body in target.shapes(given.bytes):
                if given.only in shape:
                    figures.append(await _of_shape(target, shape, body, given.rounds))
                    print(json.dumps(figures[-1]), flush=True)
    return figures


async def _of_shape(target: _Target, shape: str, body: bytes, rounds: int) -> dict[str, object]:
    all_rounds = [await _of_round(target, body) for _ in range(rounds)]
    mib = len(body) / MIB
    cpu_s = min(each.cpu_s for each in all_rounds)
    memory_mib = min(each.memory_mib for each in all_rounds)
    held_s = min(each.held_s for each in all_rounds)
    return {
        "to": target.name,
        "shape": shape,
        "bytes": len(body),
        "answer": all_rounds[0].answer,
        "cpu_s": round(cpu_s, 3),
        "memory_mib": round(memory_mib, 1),
        "held_ms": round(held_s * 1000, 1),
        "beyond": cpu_s > CPU_S * mib or memory_mib > MEMORY_MIB * mib or held_s > HELD_S,
    }


async def _of_round(target: _Target, body: bytes) -> _Round:
    await asyncio.sleep(0.05)
    target.processes.forget_peak()
    before_s = target.processes.exact_cpu_s()
    held = asyncio.create_task(_longest_hold(target))
    answer = await target.send(body)
    await asyncio.sleep(0.02)
    held.cancel()
    held_s = await held
    cpu_s = target.processes.exact_cpu_s() - before_s
    return _Round(cpu_s, max(0.0, target.processes.peak_rss_mib() - target.idle_mib), held_s, answer)


async def _longest_hold(target: _Target) -> float:
    """Until it is cancelled: the CPU that an answer took at most, in seconds, less what one takes anyway."""
    all_holds: list[float] = []
    with suppress(asyncio.CancelledError):
        while True:
            before_s = target.processes.exact_cpu_s()
            await target.health.get("/healthz")
            all_holds.append(target.processes.exact_cpu_s() - before_s)
            await asyncio.sleep(0.003)
    return max(all_holds) - min(all_holds) if all_holds else 0.0


# -- the stack -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _stack(folder: Path) -> AsyncGenerator[list[_Target]]:
    project = folder / "project"
    shutil.copytree(CONTRACT, project)
    project.joinpath("handlers").mkdir()
    project.joinpath("handlers", "sink.py").write_text(HANDLER)
    _generate(project)
    http, admin, grpc, service_admin = free_ports(4)
    gateway, sink = Processes(folder / "gateway.log"), Processes(folder / "sink.log")
    environment = {"SAGAGEN_DATA_DIR": str(folder / "data"), "SAGAGEN_SINK_ADDR": f"127.0.0.1:{grpc}"}
    try:
        _start(sink, project, "sink", {
            **environment,
            "SAGAGEN_GRPC_ADDR": f"127.0.0.1:{grpc}",
            "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{service_admin}",
        }, grpc)  # fmt: skip
        _start(gateway, project, "gateway", {
            **environment,
            "SAGAGEN_HTTP_ADDR": f"127.0.0.1:{http}",
            "SAGAGEN_ADMIN_ADDR": f"127.0.0.1:{admin}",
        }, http)  # fmt: skip
        url, admin_url = f"http://127.0.0.1:{http}", f"http://127.0.0.1:{service_admin}"
        async with (
            httpx.AsyncClient(base_url=url, timeout=120) as client,
            httpx.AsyncClient(base_url=url, timeout=120) as gateway_health,
            httpx.AsyncClient(base_url=admin_url, timeout=120) as sink_health,
            GrpcTransport("127.0.0.1", grpc) as transport,
        ):
            yield [
                _Target("gateway, a service's route", gateway, gateway_health, _poster(client, "/taken")),
                _Target("gateway, a saga's route", gateway, gateway_health, _poster(client, "/started")),
                _Target("service", sink, sink_health, _caller(transport), wire_shapes),
            ]
    finally:
        gateway.stop()
        sink.stop()


def _generate(project: Path) -> None:
    mesh, findings = read_contract(project)
    assert mesh, findings
    write(project, emit(mesh))


def _start(processes: Processes, project: Path, name: str, environment: Mapping[str, str], port: int) -> None:
    command = [sys.executable, "-m", "sagagen", "up", "--project", str(project), "--only", name]
    processes.start(command, environment, cwd=project)
    processes.await_port(port)


def _poster(client: httpx.AsyncClient, path: str) -> Callable[[bytes], Awaitable[str]]:
    async def send(body: bytes) -> str:
        answer = await client.post(path, content=body, headers={"content-type": "application/json"})
        reason = answer.json().get("reason", "") if answer.status_code >= 400 else ""
        return f"{answer.status_code} {reason}".strip()

    return send


def _caller(transport: GrpcTransport) -> Callable[[bytes], Awaitable[str]]:
    async def send(body: bytes) -> str:
        try:
            await transport.call("/load.v1.SinkService/Take", body, metadata={}, timeout_s=60.0)
        except RpcError as error:
            return f"{error.code.name} {error.reason}".strip()
        return "OK"

    return send


if __name__ == "__main__":
    main()
