"""Request headers of calls, encoded at the cost that they are worth.

hpack puts every header that it sends into its table, searches that table from end to end for each header, and writes
values in Huffman's code, bit by bit in Python. Most of a saga's metadata is different in every call: it is never found
there, and pushes out what is. So these headers are sent as plain literals that pass the table by (RFC 7541, 6.2.2),
and the table keeps the few that repeat. On the wire a call grows by some 150 bytes.
"""

from collections.abc import Iterable
from functools import cache

from grpclib.client import Channel
from grpclib.protocol import H2Protocol
from hpack import Encoder
from hpack.hpack import encode_integer

from sagagen.runtime.metadata import (
    IDEMPOTENCY_KEY,
    NOT_AFTER,
    RUN,
    SAGA_ID,
    STARTED,
    TRACEPARENT,
    TRACESTATE,
)

VARYING = frozenset(
    name.encode()
    for name in (IDEMPOTENCY_KEY, SAGA_ID, RUN, STARTED, NOT_AFTER, TRACEPARENT, TRACESTATE, "grpc-timeout")
)
"""Headers whose value is hardly ever that of an earlier call."""

Header = tuple[str | bytes, str | bytes]


class HeaderEncoder(Encoder):
    """Encodes header lists of tuples, as gRPC's client sends them."""

    def encode(self, headers: Iterable[Header], huffman: bool = False) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride] - h2 passes tuples only
        """The header block. `huffman` is hpack's argument, and of no effect."""
        block = bytearray()
        if self.header_table.resized:
            block += self._encode_table_size_change()
            self.header_table.resized = False
        for name, value in headers:
            pair = (_bytes(name), _bytes(value))
            if pair[0] in VARYING:
                block += _name(pair[0])
                block += _string(pair[1])
            else:
                block += self.add(pair, sensitive=False, huffman=False)
        return bytes(block)


class SparingChannel(Channel):
    """grpclib's channel with this encoder on its connections."""

    async def _create_connection(self) -> H2Protocol:
        protocol = await super()._create_connection()
        connection = protocol.connection._connection  # pyright: ignore[reportPrivateUsage]
        fresh = HeaderEncoder()
        fresh.header_table_size = connection.encoder.header_table_size
        connection.encoder = fresh
        return protocol


@cache
def _name(name: bytes) -> bytes:
    """The beginning of a literal without indexing, up to its value."""
    return b"\x00" + _string(name)


def _string(text: bytes) -> bytes:
    return bytes(encode_integer(len(text), 7)) + text


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
