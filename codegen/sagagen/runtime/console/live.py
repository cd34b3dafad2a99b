"""Open pages learn of changes: server-sent events, as long as somebody looks, and no longer.

A page that is live is asked for again as `text/event-stream`. Its view is then asked every half a second, and what it
shows is sent when it has changed. A view that takes longer is asked less often, so that a page that is open costs at
most a small part of one processor. Relative times are left to the browser: they are no change.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from starlette.requests import Request

from sagagen.runtime.edge.exchange import CLOSING

PAUSE_S = 0.5
"""Time in seconds between two looks, at least."""
TIMES = 20
"""And at least this many times what the last look took."""
SAYS_SOMETHING_S = 10.0
"""Time in seconds after which a stream in which nothing changes says so: proxies end what is silent."""
MAX_STREAMS = 64

_OVER = "event: over\ndata: \n\n"

Made = Callable[[], Awaitable[str]]
"""The page's main part as it is now."""


class Streams:
    def __init__(self) -> None:
        self._count = 0

    @property
    def has_room(self) -> bool:
        return self._count < MAX_STREAMS

    async def of(
        self, made: Made, closing: "asyncio.Future[None] | None", ends: tuple[type[Exception], ...]
    ) -> AsyncGenerator[str]:
        """Events: `page`, with the main part as a JSON string, or `over` where it can't be shown any more.

        It ends as soon as the server stops. It is over at once where others have taken the last room since `has_room`.
        """
        if not self.has_room:
            yield _OVER
            return
        self._count += 1
        try:
            async for event in _events(made, closing, ends):
                yield event
        finally:
            self._count -= 1


async def _events(
    made: Made, closing: "asyncio.Future[None] | None", ends: tuple[type[Exception], ...]
) -> AsyncGenerator[str]:
    last, said_s = "", time.monotonic()
    yield "retry: 2000\n\n"
    while closing is None or not closing.done():
        began_s = time.monotonic()
        try:
            page = await made()
        except ends:
            yield _OVER
            return
        now_s = time.monotonic()
        if page != last:
            yield f"event: page\ndata: {json.dumps(page)}\n\n"
            last, said_s = page, now_s
        elif now_s - said_s > SAYS_SOMETHING_S:
            yield ": nothing new\n\n"
            said_s = now_s
        await _pause(max(PAUSE_S, TIMES * (now_s - began_s)), closing)


async def _pause(seconds: float, closing: "asyncio.Future[None] | None") -> None:
    if closing is None:
        await asyncio.sleep(seconds)
    else:
        await asyncio.wait({closing}, timeout=seconds)


def closing_of(request: Request) -> "asyncio.Future[None] | None":
    """Done once the server stops. None under a server that is not ours."""
    state = request.scope.get("state")
    return state.get(CLOSING) if state else None
