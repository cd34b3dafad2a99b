"""One address for several servers of this machine: a connection goes to the next that takes it."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Generator, Sequence

from waiting import LIMIT_S


class Balancer:
    """Runs in a thread with a loop of its own."""

    def __init__(self, ports: Sequence[int]) -> None:
        """Of the servers."""
        self._ports = ports
        self._turns = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # One that asyncio makes itself is reported as an error when it is cancelled.
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (upstream := await self._connected()) is not None:
                await self._both_ways((reader, writer), upstream)
        finally:
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._turns)
        for number in range(len(self._ports)):
            with contextlib.suppress(OSError):
                port = self._ports[(first + number) % len(self._ports)]
                return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _both_ways(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Until either side has ended; then both have."""
        tasks = [
            asyncio.ensure_future(_copied(near[0], far[1])),
            asyncio.ensure_future(_copied(far[0], near[1])),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            far[1].close()

    async def _run(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for task in tuple(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(tuple(self._connections))

    def run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run(started))
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextlib.contextmanager
def one_address(ports: Sequence[int]) -> Generator[int]:
    """The port behind which those of `ports` are, until the block is left."""
    balancer, started = Balancer(ports), threading.Event()
    thread = threading.Thread(target=balancer.run, args=(started,))
    thread.start()
    assert started.wait(LIMIT_S)
    try:
        yield balancer.port
    finally:
        balancer.stop()
        thread.join()
