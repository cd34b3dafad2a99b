"""Clients that ask for much and read nothing, at a whole process: they share one copy, and others are answered."""

import resource
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from stack import Stack, post_order

pytestmark = pytest.mark.slow
CLIENTS = 150
FILE = "/docs/swagger_bundle.js"
"""The largest of the gateway's own, more than a megabyte."""


@contextmanager
def taking_nothing(url: httpx.URL, count: int) -> Generator[None]:
    with ExitStack() as crowd:
        for _ in range(count):
            client = crowd.enter_context(socket.create_connection((url.host, url.port)))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(f"GET {FILE} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 4)
        yield


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_a_crowd_that_takes_nothing_costs_no_memory_and_nobody_an_answer(stack: Stack) -> None:
    stack.start("up")
    size = len(stack.http.get(FILE).content)
    before = resident_bytes(stack.processes["up"].pid)
    with taking_nothing(httpx.URL(stack.url), CLIENTS):
        assert post_order(stack, "meanwhile").status_code == 201
        grown = resident_bytes(stack.processes["up"].pid) - before
    assert grown < CLIENTS * size / 4, f"{grown} bytes for {CLIENTS} times {size}"
