"""Whatever a hook of gateway/app.py raises, that request fails, and no other."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from edge_library import library
from ends import ENDS
from small_mesh import running_engine, running_services
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from waiting import LIMIT_S

from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.edge.http.server import serve_http
from sagagen.runtime.process.project import ProjectError, named_errors

NUMBER = "x-end"
"""Header: which of ENDS the hook is to come to; none for a hook that works."""


def end(request: Request, place: str) -> None:
    """Fails if the request wants that, and at this place."""
    if request.headers.get("x-place") == place and (number := request.headers.get(NUMBER)):
        list(ENDS.values())[int(number)]()


async def caller(request: Request) -> str:
    end(request, "caller")
    await asyncio.sleep(0)
    end(request, "caller after a wait")
    return "anonymous"


def sync_caller(request: Request) -> str:
    end(request, "sync caller")
    return "anonymous"


class Hook:
    """Middleware of the project."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            end(Request(scope), "middleware")
        await self._app(scope, receive, send)


async def route(request: Request) -> Response:
    end(request, "route")
    return PlainTextResponse("fine")


def sync_route(request: Request) -> Response:
    end(request, "sync route")
    return PlainTextResponse("fine")


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"begun "
        end(request, "stream")
        yield b"ended"

    return StreamingResponse(parts())


async def background(request: Request) -> Response:
    async def later() -> None:
        end(request, "background")

    return PlainTextResponse("fine", background=BackgroundTask(later))


ROUTES = [
    Route("/route", route),
    Route("/sync", sync_route),
    Route("/stream", stream),
    Route("/background", background),
]
BOOK = "/v1/shelves/1/books/2"
OF_THE_LOOP = {"SystemExit", "KeyboardInterrupt"}
"""starlette streams in a task of its own, from which these end the loop: tests/system has a process for that."""
PLACES: dict[str, tuple[str, Callable[[Request], Any]]] = {
    "caller": (BOOK, caller),
    "caller after a wait": (BOOK, caller),
    "sync caller": (BOOK, sync_caller),
    "middleware": (BOOK, caller),
    "route": ("/route", caller),
    "sync route": ("/sync", caller),
    "stream": ("/stream", caller),
    "background": ("/background", caller),
}


@asynccontextmanager
async def served(folder: Path, hook: Callable[[Request], Any]) -> AsyncGenerator[httpx.AsyncClient]:
    mesh, shelf = library().mesh, library().handlers.ShelfService()
    gateway = Gateway(mesh, caller=hook, middleware=[Middleware(Hook)], routes=ROUTES)
    async with (
        running_services(mesh, folder, lambda _: shelf) as transports,
        running_engine(folder, mesh.sagas, transports) as engine,
        serve_http(gateway.application(engine, transports), "127.0.0.1", 0) as listening,
        httpx.AsyncClient(base_url=listening.url, timeout=LIMIT_S) as client,
    ):
        yield client


@pytest.mark.parametrize("place", PLACES)
async def test_whatever_a_hook_raises_fails_that_request_alone(tmp_path: Path, place: str) -> None:
    path, hook = PLACES[place]
    async with served(tmp_path, hook) as client:
        for number, name in enumerate(ENDS):
            if place == "stream" and name in OF_THE_LOOP:
                continue
            # A connection whose request failed after its answer is closed: nothing else is sent on it.
            headers = {"x-place": place, NUMBER: str(number), "connection": "close"}
            if place == "stream":
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get(path, headers=headers)
            elif place == "background":  # the answer has left before
                assert (await client.get(path, headers=headers)).text == "fine", name
            else:
                answer = await client.get(path, headers=headers)
                assert answer.status_code == 500, name
                if (place, name) != ("sync route", "GeneratorExit"):  # it closes every coroutine on its way
                    assert answer.json()["reason"] == "GATEWAY_FAILED", name
            assert (await client.get(path)).status_code == 200, f"the next request after {name}"


class Broken:
    def __init__(self, app: ASGIApp) -> None:
        raise SystemExit(3)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


async def test_a_middleware_that_cannot_be_made_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    mesh, shelf = library().mesh, library().handlers.ShelfService()
    gateway = Gateway(mesh, middleware=[Middleware(Broken)])
    async with (
        running_services(mesh, tmp_path, lambda _: shelf) as transports,
        running_engine(tmp_path, mesh.sagas, transports) as engine,
    ):
        with (
            pytest.raises(ProjectError, match=r"hooks_that_raise\.py:\d+: SystemExit: 3"),
            named_errors(Path(__file__).parent, "gateway/app.py"),
        ):
            gateway.application(engine, transports)
