"""How an adapter tells a gateway what has become of a saga, past Restate: sooner, and cheaper, than by being asked.

It is told at best: lines of JSON over a connection that is kept, without an answer. Nothing depends on it, since all
that is told is recorded before, and a gateway that hears nothing asks. A gateway believes whoever knows its token.
"""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_urlsafe

from sagagen.runtime.addresses import Address
from sagagen.runtime.saga.result import SagaResult, of_columns, to_columns

MAX_UNSENT = 2**22
"""Bytes for one gateway that wait to be sent; beyond them it is told no more, and asks."""


GATHER_S = 0.002
"""Time in seconds in which what one gateway is told is gathered, to be sent at once."""


@dataclass(frozen=True, slots=True)
class Told:
    saga_id: str
    result: SagaResult | None
    is_resting: bool
    """Nothing is left to do for now: it is over, stuck, or waits."""
    is_stuck: bool = False


Hear = Callable[[Told], None]


def _to_line(token: str, told: Told) -> bytes:
    said: dict[str, object] = {
        "token": token,
        "id": told.saga_id,
        "rests": told.is_resting,
        "stuck": told.is_stuck,
    }
    if told.result is not None:
        status, headers, body = to_columns(told.result)
        said |= {
            "status": status,
            "headers": headers,
            "body": None if body is None else b64encode(body).decode(),
        }
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


class Replies:
    """The adapter's half. `local` are the gateways of this process."""

    def __init__(self) -> None:
        self.local: dict[str, Hear] = {}
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._unsent: dict[str, bytearray] = {}
        """Lines by place. Where some are, something is on its way that sends them."""
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, reply_to: bytes, told: Told) -> None:
        """`reply_to` is what the gateway has said of itself: `host:port token`, or a token of this process."""
        place, _, token = reply_to.decode().rpartition(" ")
        if hear := self.local.get(token):
            hear(told)
        elif place:
            self._write(place, _to_line(token, told))

    def _write(self, place: str, line: bytes) -> None:
        unsent = self._unsent.get(place)
        if unsent is None:
            self._unsent[place] = bytearray(line)
            asyncio.get_running_loop().call_later(GATHER_S, self._send, place)
        elif len(unsent) < MAX_UNSENT:
            unsent += line

    def _send(self, place: str) -> None:
        writer = self._writers.get(place)
        if place not in self._unsent:
            pass  # it was closed meanwhile
        elif writer is None or writer.is_closing():
            task = asyncio.create_task(self._connect(place), name="replies")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            lines = self._unsent.pop(place)
            if writer.transport.get_write_buffer_size() < MAX_UNSENT:
                writer.write(lines)

    async def _connect(self, place: str) -> None:
        try:
            address = Address.parse(place, "reply-to")
            with suppress(OSError):
                async with asyncio.timeout(1.0):
                    _, writer = await asyncio.open_connection(address.host, address.port)
                self._writers[place] = writer
                writer.write(self._unsent[place])
        except Exception:  # noqa: BLE001, S110 - whoever is not told asks
            pass
        finally:
            self._unsent.pop(place, None)

    def close(self) -> None:
        for place, writer in self._writers.items():
            writer.write(self._unsent.pop(place, b""))
            writer.close()
        self._unsent.clear()
        for task in self._tasks:
            task.cancel()


class ReplyListener:
    """The gateway's half. Without an address it hears only adapters of its own process."""

    def __init__(self, hear: Hear, address: Address | None) -> None:
        self._hear = hear
        self._address = address
        self._server: asyncio.Server | None = None
        self._reading: set[asyncio.Task[None]] = set()
        self.token = token_urlsafe(24)
        self.reply_to = f" {self.token}".encode()

    async def open(self) -> None:
        if self._address is None:
            return
        self._server = await asyncio.start_server(
            self._connected, self._address.host, self._address.port, limit=2**23
        )
        port = self._server.sockets[0].getsockname()[1]
        self.reply_to = f"{Address(self._address.host, port)} {self.token}".encode()

    def close(self) -> None:
        if self._server:
            self._server.close()
        for task in self._reading:
            task.cancel()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task that asyncio's streams make themselves is reported as an error when the process ends and cancels it.
        task = asyncio.create_task(self._read(reader, writer), name="replies")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                said = json.loads(line)
                if said.get("token") != self.token:
                    return
                result = None
                if "headers" in said:
                    body = None if said["body"] is None else b64decode(said["body"])
                    result = of_columns(said["status"], said["headers"], body)
                self._hear(Told(said["id"], result, said["rests"], said["stuck"]))
        except (OSError, ValueError, KeyError, TypeError):
            return
        finally:
            writer.close()
