"""A TCP proxy between gateway and service that loses or delays what the service says."""

import asyncio
import contextlib
import threading
from collections.abc import Generator
from enum import StrEnum

from waiting import LIMIT_S


class Replies(StrEnum):
    PASS = "pass"
    DROP = "drop"
    """The service gets every request and does its work; its answer is thrown away and the connection cut."""
    DELAY = "delay"
    """Answers arrive, but later than any time-out of the contract."""


DELAY_S = 3.0
"""Longer than the shop's step time-out of 2 s."""


class Proxy:
    """Runs in a thread with a loop of its own. `replies` may be changed at any time."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self.replies = Replies.PASS
        self.tampered = 0
        """Pieces of answers that were dropped or delayed so far."""
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, up_writer}
        with contextlib.suppress(ConnectionError):
            await asyncio.wait(
                {
                    asyncio.ensure_future(self._requests(reader, up_writer)),
                    asyncio.ensure_future(self._answers(up_reader, writer)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
        for each in (writer, up_writer):
            each.close()
            self._writers.discard(each)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            # HEADERS and DATA frames of an answer; the connection's own frames (SETTINGS, PING) are let through.
            if self.replies is not Replies.PASS and _has_answer(data):
                self.tampered += 1
                if self.replies is Replies.DROP:
                    return
                await asyncio.sleep(DELAY_S)
            writer.write(data)
            await writer.drain()

    async def _run(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for writer in tuple(self._writers):
            writer.close()
        await asyncio.sleep(0.05)

    def run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run(started))
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)


def _has_answer(data: bytes) -> bool:
    """Whether a piece of an HTTP/2 stream has a HEADERS (1) or DATA (0) frame; it begins at a frame (RFC 9113, 4.1)."""
    offset = 0
    while offset + 9 <= len(data):
        length, kind = int.from_bytes(data[offset : offset + 3]), data[offset + 3]
        if kind in (0, 1):
            return True
        offset += 9 + length
    return False


@contextlib.contextmanager
def proxy_to(port: int) -> Generator[Proxy]:
    """A proxy to a loopback port, until the block is left."""
    proxy, started = Proxy(port), threading.Event()
    thread = threading.Thread(target=proxy.run, args=(started,))
    thread.start()
    assert started.wait(LIMIT_S)
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()
