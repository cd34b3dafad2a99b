"""Where `sagagen sagas` gets its answers: from a gateway's admin listener, or from a log at rest."""

import asyncio
import http.client
import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.routes import event_order_of, listed_by, order_of
from sagagen.runtime.engine.at_rest import SagasAtRest
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.process.project import Project, ProjectError
from sagagen.runtime.saga.commands import Act
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.settings import ADMIN_TOKEN, Address
from sagagen.workspace.project import ProjectNotFound, find_root

TIMEOUT_S = 30.0
"""Seconds. A command waits for the saga's current call, which may take its whole timeout."""


class AdminError(Exception):
    """The admin listener can't be reached, or refuses; the message is for the person who asked."""


class OrderRefused(AdminError):
    """This saga does not take the order; others may."""


_OF_THIS_SAGA = (400, 404, 409)
"""Statuses of the admin listener."""


def admin_token() -> str:
    """What this environment has for a gateway's admin listener; empty if it has none. Raises SettingsError."""
    token = Secret.read(os.environ, ADMIN_TOKEN, at_least=1)
    return token.current.decode(errors="surrogateescape") if token else ""


class Source(Protocol):
    async def list(self, asked: Mapping[str, str]) -> Mapping[str, Any]: ...
    async def show(self, saga_id: str) -> Mapping[str, Any]: ...
    async def command(self, saga_id: str, act: Act, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """`given` is what the admin listener takes: by, note, step, as, response."""
        ...

    async def send(self, saga_id: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """`given` is what the admin listener takes: event, by, key, payload."""
        ...

    async def stats(self) -> Mapping[str, Any]: ...


class AdminListener:
    """A running gateway, over its admin listener."""

    def __init__(self, address: Address, token: str) -> None:
        # As the address of a listener, 0.0.0.0 means every address of this machine, including loopback.
        self._host = "127.0.0.1" if address.host == "0.0.0.0" else address.host
        self._address = address
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    async def list(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        given = {name: value for name, value in asked.items() if value}
        return await self._call("GET", f"/sagas?{urlencode(given)}")

    async def show(self, saga_id: str) -> Mapping[str, Any]:
        return await self._call("GET", f"/sagas/{quote(saga_id, safe='')}")

    async def command(self, saga_id: str, act: Act | str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        body = json.dumps(given).encode()
        return await self._call("POST", f"/sagas/{quote(saga_id, safe='')}/{act}", body)

    async def send(self, saga_id: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self.command(saga_id, "send", given)

    async def stats(self) -> Mapping[str, Any]:
        return await self._call("GET", "/stats")

    async def _call(self, verb: str, path: str, body: bytes | None = None) -> Mapping[str, Any]:
        return await asyncio.to_thread(self._send, verb, path, body)

    def _send(self, verb: str, path: str, body: bytes | None) -> Mapping[str, Any]:
        connection = http.client.HTTPConnection(self._host, self._address.port, timeout=TIMEOUT_S)
        headers = self._headers | ({"content-type": "application/json"} if body is not None else {})
        try:
            connection.request(verb, path, body, headers)
            response = connection.getresponse()
            answered = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AdminError(
                f"no gateway's admin listener answers on {self._address} ({error}): is it running? Name "
                f"another one with --admin host:port, or a log at rest with --log var/saga-log.db"
            ) from error
        finally:
            connection.close()
        if response.status in _OF_THIS_SAGA:
            raise OrderRefused(str(answered.get("error", response.reason)))
        if response.status != 200:
            raise AdminError(str(answered.get("error", response.reason)))
        return answered


class LogAtRest:
    """A log that no gateway runs on."""

    def __init__(self, operations: SagaOperations) -> None:
        self._operations = operations

    async def list(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        return {"sagas": await listed_by(self._operations, asked)}

    async def show(self, saga_id: str) -> Mapping[str, Any]:
        return await self._operations.show(saga_id)

    async def command(self, saga_id: str, act: Act, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._operations.command(saga_id, order_of(act, given))

    async def send(self, saga_id: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._operations.send(saga_id, event_order_of(given))

    async def stats(self) -> Mapping[str, Any]:
        return await self._operations.stats()


@asynccontextmanager
async def at_rest(path: Path) -> AsyncGenerator[SagaOperations]:
    """The log at `path`, locked while open. Raises LogLocked if a gateway runs on it, LogCorrupted if it is damaged."""
    mesh = _mesh_of_project()
    definitions = Definitions(mesh.sagas if mesh else ())
    async with SagaLog.open(path) as log:
        schema = (lambda: Schema(mesh.descriptors.read_bytes())) if mesh else None
        yield SagaOperations(SagasAtRest(log, definitions), schema)


def _mesh_of_project() -> Mesh | None:
    """The current project's; None outside a project: then only the names of steps are known."""
    try:
        return Project.load(find_root(None)).mesh
    except (ProjectNotFound, ProjectError):
        return None
