"""The library of tests/edge/library: generated once, imported apart from any other project, and served."""

import atexit
import importlib
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import betterproto2
import httpx
from small_mesh import running_engine, running_services
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute
from waiting import LIMIT_S

from sagagen.contract import read_contract
from sagagen.emit.render import emit
from sagagen.runtime.edge.entry import IdentityHook, Pace
from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.edge.http.connections import Peers
from sagagen.runtime.edge.http.server import DEFAULT_PEERS, serve_http
from sagagen.runtime.edge.shared_answers import SharedAnswers
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import SagaRuntime
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Mesh, Route
from sagagen.testing.callers import TestCallers
from sagagen.workspace.writing import write

ROOT = Path(__file__).with_name("library")
PROJECT_PACKAGES = ("generated", "handlers", "gateway")


@dataclass(frozen=True)
class Library:
    """The generated project."""

    mesh: Mesh
    handlers: ModuleType
    schema: Schema

    def routes(self, rpc: str) -> list[Route]:
        """The bindings of an rpc, in the proto's order."""
        return [route for route in self.mesh.routes if route.method.path.endswith(f"/{rpc}")]


@cache
def library() -> Library:
    folder = TemporaryDirectory(prefix="edge-library-")
    atexit.register(folder.cleanup)
    root = Path(folder.name, "library")
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    mesh, findings = read_contract(root)
    assert mesh, findings
    write(root, emit(mesh))
    with _imported_from(root):
        generated: Mesh = importlib.import_module("generated.mesh").MESH
        handlers = importlib.import_module("handlers.shelf")
        _resolve_messages()
    return Library(generated, handlers, Schema(generated.descriptors.read_bytes()))


@contextmanager
def _imported_from(root: Path) -> Generator[None]:
    """Every project has packages of the same names: import this one's, and leave the others' as they were."""
    others = _taken_out()
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))
        _taken_out()
        sys.modules.update(others)


def _resolve_messages() -> None:
    """betterproto2 looks a message's types up in its module when it is first used: while that is still there."""
    for name in [name for name in sys.modules if name.startswith("generated.pb.")]:
        for value in vars(sys.modules[name]).values():
            if isinstance(value, type) and issubclass(value, betterproto2.Message):
                value.parse(b"")


def _taken_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.split(".")[0] in PROJECT_PACKAGES]
    return {name: sys.modules.pop(name) for name in names}


@dataclass
class Served:
    """The library behind its gateway, on a port of this machine."""

    client: httpx.AsyncClient
    shelf: Any
    engine: EmbeddedEngine
    gateway: Gateway


async def caller(request: Request) -> str:
    """Tests say who they are."""
    name = request.headers.get("x-caller", "anonymous")
    if name == "nobody":
        raise HTTPException(401, "who are you?", {"www-authenticate": "Bearer"})
    if name == "nameless":
        raise HTTPException(401, "who are you?")
    if name == "broken":
        raise RuntimeError("the hook is broken")
    return name


@asynccontextmanager
async def served(
    data_dir: Path,
    routes: Sequence[BaseRoute] = (),
    mesh: Mesh | None = None,
    seen: Callable[[SagaRuntime], SagaRuntime] = lambda engine: engine,
    middleware: Sequence[Middleware] = (),
    peers: Peers = DEFAULT_PEERS,
    shared: SharedAnswers | None = None,
    pace: Pace | None = None,
    max_running_per_caller: int | None = None,
    identity: IdentityHook | None = None,
) -> AsyncGenerator[Served]:
    """The real thing: gateway, engine, log, and the service over the in-memory transport.

    `seen` says how the gateway sees the engine. `shared` is what it tells other gateways.
    `pace` turns away who sends too much. Where the mesh has `security`, requests say who sends them as tests do
    (`as_caller`), and `identity` is the hook.
    """
    mesh, shelf = mesh or library().mesh, library().handlers.ShelfService()
    security = mesh.security
    hook = None if security else caller
    gateway = Gateway(mesh, caller=hook, identity=identity, routes=routes, middleware=middleware)
    schemes = TestCallers(mesh, security) if security else None
    limits = mesh.limits
    async with (
        running_services(mesh, data_dir, lambda _: shelf) as transports,
        running_engine(
            data_dir,
            mesh.sagas,
            transports,
            max_running=limits.max_running,
            calls_per_service=limits.calls_per_service,
            max_running_per_caller=max_running_per_caller,
        ) as engine,
        serve_http(
            gateway.application(seen(engine), transports, shared=shared, pace=pace, authentication=schemes),
            "127.0.0.1",
            0,
            peers=peers,
        ) as listening,
        httpx.AsyncClient(base_url=listening.url, timeout=LIMIT_S) as client,
    ):
        yield Served(client, shelf, engine, gateway)
