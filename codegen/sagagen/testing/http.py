"""HTTP requests to an ASGI application, without a socket."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from sagagen.runtime.edge.exchange import LINKED, PARENT_SPAN, SAGA, TRACE
from sagagen.runtime.rpc.trace import TraceContext


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the edge has answered."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes
    saga_id: str = ""
    """The saga that the request started, or found under its key; empty if none."""

    @property
    def json(self) -> Any:
        """Raises ValueError if it is no JSON."""
        return json.loads(self.body)


async def asked(
    application: ASGIApp,
    method: str,
    target: str,
    body: bytes,
    headers: Mapping[str, str],
    trace: TraceContext,
) -> HttpAnswer:
    """The answer to one request; `trace` is its span."""
    scope = _scope(method, target, body, headers, trace)
    received = iter([body])
    answer: dict[str, Any] = {"body": b""}

    async def receive() -> Message:
        for chunk in received:
            return {"type": "http.request", "body": chunk, "more_body": False}
        await asyncio.get_running_loop().create_future()  # this client waits for its answer
        raise AssertionError("nothing ends that")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer["status"], answer["headers"] = message["status"], message["headers"]
        else:
            answer["body"] += message.get("body", b"")

    try:
        await application(scope, receive, send)
    except Exception:
        # Starlette answers 500 and raises for the server to log, which knows nothing better than to do so.
        if "status" not in answer:
            raise
    named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer["headers"]}
    saga = cast(Mapping[str, Any], scope.get(SAGA) or {})
    return HttpAnswer(answer["status"], named, answer["body"], saga.get("saga.id", ""))


def _scope(method: str, target: str, body: bytes, headers: Mapping[str, str], trace: TraceContext) -> Scope:
    path, _, query = target.partition("?")
    sent = {"host": "test", **{name.lower(): value for name, value in headers.items()}}
    if body:
        sent = {"content-type": "application/json", "content-length": str(len(body)), **sent}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
        "state": {},
        # Decided here, since the edge would take it from the system's randomness.
        TRACE: trace,
        PARENT_SPAN: "",
        LINKED: (),
    }
