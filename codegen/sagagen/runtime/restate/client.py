"""A client of Restate's ingress and admin listeners: HTTP/1.1 over connections that are kept.

It is small because each order waits for it: one request and one answer at a time on a connection.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from sagagen.runtime.saga.journal import JournalUnavailable

CONNECT_S = 2.0
RESTS_S = 1.0
"""How long, in seconds, a host that can't be reached is asked after all others."""
IDLE = 256
"""Connections that are kept for the next requests."""


class Unreachable(JournalUnavailable):
    """No host has answered in time."""


class Answer(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Host:
    name: str
    port: int
    is_tls: bool

    @classmethod
    def of(cls, url: str) -> "Host":
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls)

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[Answer] | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not by name

    async def ask(self, request: bytes) -> Answer:
        """Raises ConnectionError. Whoever cancels it has to close the connection."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, AttributeError):
            self.close()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.is_lost = self.is_lost or not self._parser.should_keep_alive()
        if self._answer and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), b"".join(self._body)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the connection was lost"))

    def close(self) -> None:
        self.is_lost = True
        self._transport.close()


def text(value: str) -> str:
    """As a literal of Restate's SQL."""
    return "'" + value.replace("'", "''") + "'"


class RestateClient:
    """Asks the first host that answers, taking turns."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._hosts = [Host.of(url) for url in urls]
        self._idle: dict[Host, list[_Connection]] = {host: [] for host in self._hosts}
        self._rests_until_s: dict[Host, float] = {}
        self._tls = ssl.create_default_context() if any(host.is_tls for host in self._hosts) else None
        self._turn = 0

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
        timeout_s: float = 5.0,
        host_s: float | None = None,
    ) -> Answer:
        """Raises Unreachable; then the request may have arrived all the same. It is sent again where that can help.

        `host_s` is how long, in seconds, one of several hosts has to answer until the next is asked; half `timeout_s`
        by default. A host that is frozen takes requests, and answers none.
        """
        each_s = timeout_s if len(self._hosts) == 1 else host_s or timeout_s / 2
        problem: Exception = TimeoutError("no answer in time")
        try:
            async with asyncio.timeout(timeout_s):
                for host in (
                    *self._in_turn(),
                    *self._in_turn(),
                ):  # each twice: an idle connection may just have ended
                    try:
                        async with asyncio.timeout(each_s):
                            return await self._ask(host, method, path, body, headers)
                    except OSError as error:
                        problem = error
                        self._rests_until_s[host] = asyncio.get_running_loop().time() + RESTS_S
        except TimeoutError:
            pass
        raise Unreachable(f"Restate can't be reached: {problem}") from problem

    async def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows, of the admin listener. Raises Unreachable."""
        headers = {"content-type": "application/json", "accept": "application/json"}
        answer = await self.ask("POST", "/query", json.dumps({"query": sql}).encode(), headers, 10.0)
        if answer.status != 200:
            raise Unreachable(f"Restate has refused a query: {answer.body[:200].decode(errors='replace')}")
        return answer.json()["rows"]

    def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
            connections.clear()

    def _in_turn(self) -> list[Host]:
        self._turn += 1
        first = self._turn % len(self._hosts)
        hosts = self._hosts[first:] + self._hosts[:first]
        now_s = asyncio.get_running_loop().time()
        return sorted(hosts, key=lambda host: self._rests_until_s.get(host, 0.0) > now_s)

    async def _ask(
        self, host: Host, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{head}content-length: {len(body)}\r\n\r\n"
        connection = await self._connected(host)
        try:
            answer = await connection.ask(request.encode() + body)
        except BaseException:
            connection.close()
            raise
        idle = self._idle[host]
        if connection.is_lost or len(idle) >= IDLE:
            connection.close()
        else:
            idle.append(connection)
        return answer

    async def _connected(self, host: Host) -> _Connection:
        idle = self._idle[host]
        while idle:
            if not (connection := idle.pop()).is_lost:
                return connection
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                tls = self._tls if host.is_tls else None
                _, connection = await loop.create_connection(_Connection, host.name, host.port, ssl=tls)
        except TimeoutError:
            raise ConnectionError(f"{host} does not take connections") from None
        return connection
