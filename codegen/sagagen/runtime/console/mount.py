"""Where the console begins: all of it is imported when somebody first asks for one of its pages."""

import asyncio
from importlib import import_module

from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from sagagen.runtime.console.desk import Desk

PATH = "/console"


def console_at(desk: Desk) -> Mount:
    """The console as a route of the admin listener."""
    return Mount(PATH, app=_OnceAsked(desk))


class _OnceAsked:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._app: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            async with self._making:
                self._app = self._app or await asyncio.to_thread(self._made)
        await self._app(scope, receive, send)

    def _made(self) -> ASGIApp:
        # By name: templates and what reads them cost a process that nobody looks at nothing.
        return import_module("sagagen.runtime.console.site").site(self._desk)
