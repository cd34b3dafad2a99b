"""Whom a client of Restate asks: of several nodes one may be frozen, which takes connections and answers nothing."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from sagagen.runtime.restate.client import RestateClient, Unreachable


@asynccontextmanager
async def node(*, answers: bool) -> AsyncGenerator[str]:
    """The URL of one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            if answers:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_another_node_is_asked_where_one_answers_nothing_and_that_one_rests() -> None:
    async with node(answers=False) as frozen, node(answers=True) as other:
        client = RestateClient([other, frozen])
        try:
            for _ in range(4):
                answer = await client.ask("GET", "/", timeout_s=20.0, host_s=0.05)
                assert answer.body == b"ok"
        finally:
            client.close()


async def test_one_node_alone_has_all_the_time_there_is() -> None:
    async with node(answers=False) as frozen:
        client = RestateClient([frozen])
        try:
            with pytest.raises(Unreachable):
                await client.ask("GET", "/", timeout_s=0.1, host_s=0.01)
        finally:
            client.close()
