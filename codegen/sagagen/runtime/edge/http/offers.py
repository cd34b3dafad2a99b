"""httptools' parser, blind to offers of another protocol.

A server may ignore the header Upgrade, and then the request is as any other, its body included (RFC 9110, 7.8).
httptools has no way to ignore it: it takes whatever follows such a head for the other protocol. So a head with an offer
is parsed once more without it, by a new parser, which then goes on with the body and with what is pipelined behind it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import httptools

CONNECT = b"CONNECT"


class Callbacks(Protocol):
    """What the parser asks of a connection besides httptools' callbacks."""

    url: bytes
    headers: list[tuple[bytes, bytes]]
    """Of the head that was parsed last."""


class OfferBlindParser:
    """What uvicorn uses of `httptools.HttpRequestParser`.

    A head whose `has_offer` is true is about to be parsed once more: its callbacks say nothing yet.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._parser = _new(callbacks)

    def feed_data(self, data: bytes) -> None:
        """Raises httptools.HttpParserError for what is no HTTP/1.1, HttpParserUpgrade for what follows CONNECT."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if not self.has_offer:
                raise
            head = self._head_without_offer()
            self._parser = _new(self._callbacks)
            self.feed_data(head + data[offer.args[0] :])

    @property
    def has_offer(self) -> bool:
        """To be asked once a head is complete, and until the next one begins."""
        return self._parser.should_upgrade() and self._parser.get_method() != CONNECT

    def should_upgrade(self) -> bool:
        """Never: uvicorn would look for a websocket."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def _head_without_offer(self) -> bytes:
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._callbacks.url, version)]
        return b"\r\n".join([*lines, *_without_offer(self._callbacks.headers), b"", b""])


def _without_offer(headers: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    return [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]


def _new(callbacks: Callbacks) -> Any:
    parser: Any = httptools.HttpRequestParser(callbacks)
    # As uvicorn has it: a request may be answered that came behind one which says `Connection: close`.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
