"""The HTTP endpoint that Restate calls: discovery, and one stream for each attempt of an invocation."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any

import structlog
from restate.vm import VMWrapper

from sagagen.runtime.restate.failing import is_deployment, said_of
from sagagen.runtime.restate.http2 import Stream
from sagagen.runtime.restate.invocation import Attempt, Gone

Handler = Callable[[Attempt], Awaitable[bytes]]

_core: Any = import_module("restate._internal")
_DISCOVERY = "application/vnd.restate.endpointmanifest.v4+json"
_SERVER = ("x-restate-server", "sagagen")
_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Endpoint:
    """Serves streams. `handlers` are by service and handler; `keys` are those of which one has to sign requests."""

    def __init__(
        self, manifest: dict[str, Any], handlers: dict[tuple[str, str], Handler], keys: Sequence[str] = ()
    ) -> None:
        self._manifest = json.dumps(manifest).encode()
        self._handlers = handlers
        self._verifier = _core.PyIdentityVerifier(list(keys))

    async def serve(self, stream: Stream) -> None:
        parts = stream.path.split("/")
        if parts[-1] == "health":
            await _answer(stream, 200, b'{"status":"ok"}', "application/json")
            return
        try:
            self._verifier.verify([*stream.headers], stream.path)
        except _core.IdentityVerificationException:
            await _answer(stream, 401, b"", "text/plain")
            return
        if parts[-1] == "discover":
            await self._discover(stream)
            return
        handler = (
            self._handlers.get((parts[-2], parts[-1])) if len(parts) > 3 and parts[-3] == "invoke" else None
        )
        if handler is None:
            await _answer(stream, 404, b"", "text/plain")
            return
        await _attempt(stream, handler)

    async def _discover(self, stream: Stream) -> None:
        accepted = next((value for name, value in stream.headers if name == "accept"), "")
        if _DISCOVERY not in accepted:
            said = b"this adapter speaks version 4 of the discovery; Restate 1.6 and later do"
            await _answer(stream, 415, said, "text/plain")
            return
        await _answer(stream, 200, self._manifest, _DISCOVERY)


async def _answer(stream: Stream, status: int, body: bytes, content_type: str) -> None:
    stream.respond(status, [("content-type", content_type), _SERVER])
    if body:
        await stream.write(body)
    stream.end()


async def _attempt(stream: Stream, handler: Handler) -> None:
    vm = VMWrapper([*stream.headers])
    status, headers = vm.get_response_head()
    stream.respond(status, [*headers, _SERVER])
    if status != 200:
        stream.end()
        return
    while not vm.is_ready_to_execute():
        chunk = await stream.read()
        if chunk is None:
            vm.notify_input_closed()
            break
        vm.notify_input(chunk)
    attempt = Attempt(vm, stream.write)
    stream.give_to(attempt.received)
    try:
        try:
            output = await handler(attempt)
            vm.sys_write_output_success(output)
            vm.sys_end()
        except Gone:
            pass
        except asyncio.CancelledError:
            stream.reset()
            raise
        except Exception as error:
            if not is_deployment(error):
                _logger.exception("an attempt has failed, and is repeated", saga_id=attempt.key)
            vm.notify_error(said_of(error), "")
        await attempt.flush()
        stream.end()
    except ConnectionError:
        pass  # Restate has gone, or has given the attempt up
    finally:
        stream.give_to(_nobody)


def _nobody(_: bytes | None) -> None:
    """What comes after the end of an attempt."""
