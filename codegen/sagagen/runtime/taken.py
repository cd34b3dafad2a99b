"""Whether a peer takes what is written to it. One that takes nothing would keep its connection, and all that was
written to it, until somebody ends that: closing a transport waits until all of it is taken.
"""

import asyncio

TAKEN_WITHIN_S = 30.0
"""Time in seconds for each piece, once a peer is behind."""
MIN_TAKEN_BYTES = 64 * 1024
"""A piece; or all that there is. In 30 s it is a modem's speed of thirty years ago."""


class Taken:
    """Of one connection: aborts it where the peer is behind and stays there."""

    def __init__(self, transport: asyncio.Transport, within_s: float | None = None) -> None:
        """By default TAKEN_WITHIN_S."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._within_s = TAKEN_WITHIN_S if within_s is None else within_s
        self.written_bytes = 0
        """In all, as whoever writes counts them."""
        self._timer: asyncio.TimerHandle | None = None

    def await_peer(self) -> None:
        """The peer is behind: from now on it has to take what is sent, piece by piece."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._within_s, self._look, self._taken_bytes)

    def stop_waiting(self) -> None:
        """The peer has caught up, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _taken_bytes(self) -> int:
        return self.written_bytes - unsent_bytes(self._transport)

    def _look(self, taken_before: int) -> None:
        self._timer = None
        if not unsent_bytes(self._transport):
            return
        if self._taken_bytes - taken_before < MIN_TAKEN_BYTES:
            self._transport.abort()
        else:
            self.await_peer()


def unsent_bytes(transport: asyncio.Transport) -> int:
    """What waits to be taken. Of one that was closed asyncio does not say so over TLS; there closing has a time-out."""
    try:
        return transport.get_write_buffer_size()
    except AttributeError:
        return 0
