"""A TCP proxy that a test can cut, as a crashing machine or a pulled cable would."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Proxy:
    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.connections = 0
        self.packets = 0
        """Pieces of data that came from either side; what is written at once is one."""
        self._target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()

    async def cut(self) -> None:
        """Reset every connection. New ones are let through."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        service_reader, service_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers |= {writer, service_writer}
        await asyncio.gather(self._pump(reader, service_writer), self._pump(service_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.packets += 1
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def proxied(target_port: int) -> AsyncGenerator[Proxy]:
    proxy = Proxy(target_port)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.cut()
